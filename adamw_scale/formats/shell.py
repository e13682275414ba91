"""The launches of a training in shell text, and the arguments of one of them; nothing is run."""

import re
from collections.abc import Iterator
from itertools import takewhile
from typing import NamedTuple

from adamw_scale.errors import SpecError
from adamw_scale.formats.bash.script import Script
from adamw_scale.formats.bash.syntax import words_of
from adamw_scale.formats.bash.values import BY_DEFAULT, PRIVATE, WIDE, Unknown, Unknowns, is_known, plain
from adamw_scale.formats.document import Document, Unread
from adamw_scale.formats.launchers import DEVICES, launched

_FLAG = re.compile(r"--?[A-Za-z]")
_ASSIGNED = re.compile(r"\+{0,2}([A-Za-z_][\w./@-]*)=(.*)", re.DOTALL)
_MENTIONED = re.compile(r"(?:^|[\s\"'(+=]|:-)(?:--?([A-Za-z][\w.-]*)|([A-Za-z_][\w.]*)=)")
_SEVERAL = re.compile(
    r"\$\{?[@*]|\[[@*]\]|(args|opts|options|flags|extra|arguments|params|overrides)(?![a-z])", re.IGNORECASE
)
_RATE = re.compile(r"(peak|max|base|adam)?_?b?(lr|learning_rate)")
_DECAY = re.compile(r"(\w+_)?(weight_decay|wd)")
_OF_THE_OPTIMIZER = re.compile(r"(\w+_)?(lr|blr|learning_rate|weight_decay|wd)(_\w+)?")
_STEPS = re.compile(
    r"(?!.*(accum|warmup|eval|save|log|decay))(\w+_)?(steps|iters|iterations|epochs?|updates?|train_samples|train_tokens|max_duration|total_tokens)"
)
_EPOCHS = re.compile(r"(?!.*(warmup|eval|save|log|decay))(\w+_)?epochs?")
_STEPS_ALONE = re.compile(rf"(?!.*epochs?$){_STEPS.pattern}")
_CONFIG = frozenset({"config", "config_file", "config_path", "cfg", "conf", "job.config_file", "yaml"})
_FILE = re.compile(r"\.(ya?ml|json|toml)$|(^|/)configs?/.*\.py$")
_BATCH = re.compile(r"(\w+_)?(batch_size|batch_size_per_\w+|bsz|batch)(_\w+)?")
_TOLD = {
    "lr": _RATE,
    "weight decay": _DECAY,
    "steps": _STEPS_ALONE,
    "epochs": _EPOCHS,
    "batch": _BATCH,
    "accumulation": re.compile(r"(\w+_)?(accumulation_steps|accumulation|accum_iter|update_freq)"),
}
_NO_TRAINING = re.compile(
    r"(^|[/_.-])(eval|test|generate|infer|inference|predict|preprocess|tokenize|convert|download|serve|merge|export|"
    r"bench|benchmark|prepare|score|sample|plot|demo|chat)",
    re.IGNORECASE,
)
_TRAINING = re.compile(r"(^|[/_.-])(pre|fine|re)?_?(train|tun|sft|dpo|grpo|ppo|rlhf)", re.IGNORECASE)
MOST_SHOWN = 8  # launches in a message


class Launch(NamedTuple):
    """Arguments of a program, by name; `line` is where it is launched, 0 for arguments that no program gets."""

    program: str
    line: int
    document: Document

    def says(self, name: re.Pattern[str]) -> str:
        """The first value whose key has such a name."""
        for key, value in self.document.content.items():
            if name.fullmatch(_last(key)) and value != "true":
                return str(value)
        return ""


def shell_arguments(text: str, command: int | None = None) -> Document:
    """Arguments of the one launch of a training that is in a shell text, or of number `command`, from 1.

    Raises:
        SpecError: there are several, or not as many.
        ValueError: no shell text, or one beyond reason.
    """
    launches = launches_of(text)
    if command is not None and not 1 <= command <= len(launches):
        raise SpecError(f"--command {command}: launches of a training that are in it: {len(launches)}")
    if command is None and len(launches) > 1:
        raise SpecError(_choice(launches))
    if not launches:
        return Document("shell arguments", {})
    chosen = launches[(command or 1) - 1]
    return chosen.document if len(launches) > 1 else chosen.document._replace(text="")


def launches_of(text: str) -> list[Launch]:
    """Every launch of a training in a shell text, in order; without one, the arguments that the text prepares.

    Raises:
        ValueError: no shell text, or one beyond reason.
    """
    script = Script(text)
    if found := _trainings(script):
        return found
    script.go_through_functions()
    if found := _trainings(script):
        return found
    loose = _loose(script)
    others = [each for each in _commands(script) if each.document.content]
    if loose is not None and (_known_to_frameworks(loose) or not others):
        return [loose]
    return others if len(others) == 1 else _different([each for each in others if _TRAINING.search(each.program)])


def _choice(launches: list[Launch]) -> str:
    """What to choose from, with the numbers of each."""
    choices = []
    for number, launch in enumerate(launches[:MOST_SHOWN], 1):
        said = {name: launch.says(keys) for name, keys in _TOLD.items()}
        values = ", ".join(f"{name} {value[:40]}" for name, value in said.items() if value)
        choices.append(f"{number} for {launch.program[:60]} in line {launch.line}{values and f' ({values})'}")
    more = "" if len(launches) <= MOST_SHOWN else f", and {len(launches) - MOST_SHOWN} more"
    return (
        f"{len(launches)} launches are in it, and each is a config of its own: pass --command "
        f"{', --command '.join(choices)}{more}"
    )


def _trainings(script: Script) -> list[Launch]:
    """Launches with an argument that sets an optimizer, and others of their program; failing that, with a length."""
    commands = _commands(script)
    sure = [each for each in commands if _has(each, _OF_THE_OPTIMIZER)]
    programs = {each.program for each in sure}
    also = [
        each
        for each in commands
        if (_has(each, _STEPS) or _has(each, _BATCH))
        and (each.program in programs if sure else not _NO_TRAINING.search(each.program))
    ]
    return _different([each for each in commands if each in sure or each in also])


def _known_to_frameworks(launch: Launch) -> bool:
    return any(_has(launch, names) for names in (_OF_THE_OPTIMIZER, _STEPS, _BATCH))


def _has(launch: Launch, names: re.Pattern[str]) -> bool:
    return any(names.fullmatch(_last(key)) for key in launch.document.content)


def _last(key: str) -> str:
    return re.split(r"[./]", key)[-1].lower().replace("-", "_")


def _different(launches: list[Launch]) -> list[Launch]:
    """Each launch once; of the same one on other machines, what both say of them."""
    found: dict[tuple[str, str], Launch] = {}
    for launch in launches:
        content = launch.document.content
        arguments = {name: value for name, value in content.items() if name not in DEVICES}
        first = found.setdefault((launch.program.rpartition("/")[2], repr(arguments)), launch)
        for name in DEVICES & first.document.content.keys():
            if content.get(name) != first.document.content[name]:
                del first.document.content[name]
    return list(found.values())


def _commands(script: Script) -> list[Launch]:
    """Commands that have a program, with their arguments by name."""
    found = []
    for words, line in script.commands:
        if plain(words[0]).startswith("-"):
            continue
        program, arguments, devices = launched(words)
        document = _document(script, arguments)
        for name, value in devices.items():
            document.content.setdefault(name, _shown(script, [value]))
        found.append(Launch(script.unknowns.shown(program), line, document))
    return found


def _loose(script: Script) -> Launch | None:
    """Arguments that stand alone, or in variables that no command uses."""
    words = [word for each in script.commands if plain(each.words[0]).startswith("-") for word in each.words]
    for value in script.scope.variables.values():
        if isinstance(value, dict):
            items = list(value.values())
        elif isinstance(value, str):
            try:
                items = [] if is_known(value) and not re.search(r"(^|\s)-", plain(value)) else _split(value)
            except ValueError:
                items = []
        else:
            items = []
        if any(_FLAG.match(plain(item)) for item in items):
            words += items
    return Launch("", 0, _document(script, tuple(words))) if words else None


def _split(value: str) -> list[str]:
    """The words of a text, quotes taken off as eval would."""
    return [word.strip("\"'") for word in words_of(value)]


class _Arguments:
    """--flag value, --flag=value and key=value, word by word.

    Without a value a flag is true, with several it is a list; the last of a name wins.
    """

    def __init__(self, script: Script) -> None:
        self._unknowns = script.unknowns
        self.values: dict[str, list[str]] = {}
        self.by_default: set[str] = set()
        self.unread: dict[str, str] = {}  # what an unknown word may set, as written
        self.lost = list(script.lost)
        self._open: str | None = None  # the flag that the next word may be a value of
        self._doubt: tuple[str, str] | None = None  # the same behind an unknown word, and that word

    def add(self, word: str) -> None:
        """The next word."""
        assigned = _ASSIGNED.fullmatch(plain(word))
        alone = self._unknowns.alone(word) if WIDE in word else None
        doubt, self._doubt = self._doubt, None
        if _FLAG.match(plain(word)):
            name, equals, value = word.replace(WIDE, "").partition("=")
            self._begin(_key(plain(name)), [value] if equals else [], name)
            self._open = _key(plain(name)) if not equals and is_known(name) else None
            return
        if assigned and not self._is_value(assigned):
            flag = self._open or (doubt[0] if doubt else "")
            before = self.values.get(flag, [])
            self._begin(assigned[1], [word[word.index("=") + 1 :]], word)
            self._open = None
            if before and not any(map(is_known, before)):  # nothing, and this is the value of the flag
                self.unread[assigned[1]] = self._unknowns.shown(word)
                self.lost += [unknown.why for each in before for unknown in self._unknowns.within(each)]
            return
        self._follow(word, is_first=self._open is not None and not self.values[self._open])
        if self._open is not None and not (alone and self._has_value() and _is_more(alone)):
            self.values[self._open].append(word)
        elif alone:
            self._doubt = doubt if self._open is None else (self._open, word)
            self._open = None
            if doubt and not _is_more(alone):
                self.values[doubt[0]] += [doubt[1], word]
        elif doubt:
            self.values[doubt[0]] += [doubt[1], word]

    def _follow(self, word: str, *, is_first: bool) -> None:
        """Whether a word may bring further arguments: as the first value of a flag it is one word.

        In double quotes it is so anywhere. Neither holds for a list, nor for what is called as a list of arguments is.
        """
        unknowns = _within(self._unknowns, word)
        known = PRIVATE.sub("", word)
        mentioned = [
            each for unknown in unknowns for text in unknown.alternatives for each in _MENTIONED.finditer(text)
        ]
        mentioned += [each for each in (_MENTIONED.match(known),) if each and unknowns]
        self.unread |= {_key(each[1] or each[2]): self._unknowns.shown(word) for each in mentioned}
        several = WIDE in word
        called = any(_SEVERAL.search(unknown.written) for unknown in unknowns)
        alone = not known and (several or called) and not (is_first and not (several and called))
        if mentioned or alone or known.startswith("-"):
            self.lost += [unknown.why for unknown in self._unknowns.within(word)]

    def _begin(self, name: str, values: list[str], said_by: str) -> None:
        if is_known(name):
            self.values[name] = values
            self.unread.pop(name, None)
            (self.by_default.add if BY_DEFAULT in said_by else self.by_default.discard)(name)
        else:
            self.lost += [unknown.why for unknown in self._unknowns.within(said_by)]

    def _has_value(self) -> bool:
        """Whether the flag that is open has all that most flags take."""
        return bool(self._open and self.values[self._open] and "beta" not in self._open)

    def _is_value(self, assigned: re.Match[str]) -> bool:
        """Whether key=value belongs to the flag before it, as in --kwargs a=1 b=2."""
        if self._open is None:
            return False
        before = self.values[self._open]
        return not before or _ASSIGNED.fullmatch(plain(before[0])) is not None


def _is_more(unknown: Unknown) -> bool:
    """Whether an unknown word is other arguments, as a $EXTRA_ARGS, and no value of the flag before it."""
    starts = [alternative.split()[0] for alternative in unknown.alternatives if alternative.strip()]
    flags = all(_FLAG.match(plain(start)) or _ASSIGNED.fullmatch(plain(start)) for start in starts)
    return flags and bool(unknown.name or starts)


def _within(unknowns: Unknowns, word: str) -> list[Unknown]:
    """What is not known of a word, and of what that might be."""
    found = dict.fromkeys(unknowns.within(word))
    waiting = list(found)
    while waiting:
        new = dict.fromkeys(each for text in waiting.pop().alternatives for each in unknowns.within(text))
        waiting += new.keys() - found.keys()
        found |= new
    return list(found)


def _document(script: Script, words: tuple[str, ...]) -> Document:
    """Arguments by name, with what of them is a default or not known."""
    arguments = _Arguments(script)
    for word in words:
        arguments.add(word)
    content: dict[str, object] = {name: _shown(script, values) for name, values in arguments.values.items()}
    by_default = {name for name, values in arguments.values.items() if any(BY_DEFAULT in value for value in values)}
    content |= {name: Unread(shown) for name, shown in arguments.unread.items()}
    return Document(
        "shell arguments",
        content,
        text=script.unknowns.shown(" ".join(words)),
        overridable=frozenset((by_default | arguments.by_default) - arguments.unread.keys()),
        lost=tuple(dict.fromkeys((*arguments.lost, *_files(content, words)))),
    )


def _files(content: dict[str, object], words: tuple[str, ...]) -> Iterator[str]:
    """Configs that a launch names, each of which says what it does not; what MaxText calls base.yml is its defaults."""
    first = takewhile(lambda word: not word.startswith("-"), map(plain, words))
    named = (str(value) for name, value in content.items() if name.lower() in _CONFIG and isinstance(value, str))
    for file in (*first, *named):
        if _FILE.search(file) and not file.endswith("base.yml"):
            yield file


def _key(flag: str) -> str:
    return flag.lstrip("-").replace("-", "_")


def _shown(script: Script, values: list[str]) -> str | list[str] | Unread:
    """Values as data; as their source where something of them is not known."""
    if not all(map(is_known, values)):
        return Unread(" ".join(map(script.unknowns.shown, values)))
    found = [plain(value) for value in values]
    return found[0] if len(found) == 1 else found or "true"
