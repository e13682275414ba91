"""Commands of bash itself, and commands that neither train nor set anything."""

import re
from collections.abc import Callable

from adamw_scale.formats.bash.assignments import Assignments
from adamw_scale.formats.bash.conditions import EXTERNAL, NO, UNKNOWN, YES, Truth, fields_tested
from adamw_scale.formats.bash.values import WIDE, plain

QUIET = re.compile(
    "alias|apt|apt-get|awk|cat|cd|chmod|conda|cp|curl|date|df|du|echo|find|git|grep|hash|head|hostname|jobs|kill|ln|ls"
    "|mkdir|ml|module|mv|nvidia-smi|pgrep|pip|pip3|pkill|popd|pushd|rm|rsync|scancel|scp|sed|shopt|sleep|tar|tee|touch"
    "|trap|type|ulimit|umask|unzip|wait|wget|which|xargs"
)
# Of the machine and not of a training; what they set is no value of it.
_ENVIRONMENT = re.compile(r"(^|/)(activate|conda\.sh|\.\w*rc|\.\w*profile|profile|profile\.d/[\w.]+)$")


class EndError(Exception):
    """The script, a function or a round of a loop ends here."""

    def __init__(self, what: str) -> None:
        self.what = what


def _source(script: Assignments, words: list[str]) -> Truth:
    file = script.unknowns.shown(words[1]) if len(words) > 1 else ""
    if not _ENVIRONMENT.search(file):
        script.lose_all(f"source {file}")
    return EXTERNAL


def _end(_script: Assignments, words: list[str]) -> Truth:
    raise EndError(plain(words[0]))


def _set(script: Assignments, words: list[str]) -> Truth:
    if "--" in words:
        script.scope.positional = tuple(words[words.index("--") + 1 :])
    elif len(words) > 1 and not words[1].startswith(("-", "+")):
        script.scope.positional = tuple(words[1:])
    return YES


def _shift(script: Assignments, words: list[str]) -> Truth:
    count, given = plain(words[1]) if len(words) > 1 else "1", script.scope.positional
    if given is None:
        return YES
    if not count.isdigit() or any(WIDE in each for each in given):
        script.scope.positional = (script.unknowns.mark('"$@"') + WIDE,)
    elif int(count) <= len(given):
        script.scope.positional = given[int(count) :]
    return YES


def _read(script: Assignments, words: list[str]) -> Truth:
    """read, mapfile, getopts, printf -v: what they name is not known."""
    for word in words[1:]:
        name = plain(word).partition("[")[0]
        if re.fullmatch(r"[A-Za-z_]\w*", name):
            script.forget(name, f"by {plain(words[0])}")
    return UNKNOWN


def _printf(script: Assignments, words: list[str]) -> Truth:
    return _read(script, [words[0], words[2]]) if len(words) > 2 and words[1] == "-v" else EXTERNAL


def _let(script: Assignments, words: list[str]) -> Truth:
    return [script.run_arithmetic(word) for word in words[1:] or ["0"]][-1]


BUILTINS: dict[str, Callable[[Assignments, list[str]], Truth]] = {
    **dict.fromkeys((":", "true"), lambda _script, _words: YES),
    "false": lambda _script, _words: NO,
    "test": lambda script, words: fields_tested(script, words[1:]),
    "[": lambda script, words: fields_tested(script, words[1:-1]),
    **dict.fromkeys(("source", "."), _source),
    **dict.fromkeys(("exit", "return", "break", "continue"), _end),
    "set": _set,
    "shift": _shift,
    **dict.fromkeys(("read", "mapfile", "readarray", "getopts"), _read),
    "printf": _printf,
    "let": _let,
    "unset": lambda script, words: script.unset([plain(word) for word in words[1:]]),
    **dict.fromkeys(("export", "declare", "local", "readonly"), lambda script, words: script.declare(words[1:])),
}
