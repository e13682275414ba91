"""Frameworks that are tables: which key fills what, what stands there if nothing is said, and what goes wrong.

A framework whose config is keys and values is a class with these tables and no code; where one has a trick of its own,
it overrides the one method that the trick is about. What is written comes from the same tables as what is read.

Reading goes `find` (where the keys are), `fields` (all of them, by `number`, `word`, `betas`, `grouped`, `schedule`,
`task`, `packed`), then `traps`. Writing goes `write`, `rows`, and for each key `spelled`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, NamedTuple

from adamw_scale.errors import SpecError
from adamw_scale.formats.document import Document
from adamw_scale.frameworks.config import Config, Mend, Severity, finding, same_decay
from adamw_scale.frameworks.framework import Framework
from adamw_scale.frameworks.optimizer_calls import Constructor
from adamw_scale.frameworks.reading import Keys, chosen, keys_of
from adamw_scale.frameworks.spelling import betas_of, eps_of, final_lr, lr_of, value, whole, yaml_number
from adamw_scale.theory.schedules import OPTIONS, SCHEDULES


class Key(NamedTuple):
    """Spellings of a field, that which is written first, and the framework's default, or what tells it."""

    names: tuple[str, ...]
    default: Any = None


class Trap(NamedTuple):
    """What a config may do that its author does not mean: where `when` finds something, or else where the key is there.

    {value} in the message is what stands at the key, {found} what `when` found. A mend is for what is certain, and
    renames no key to one that is there.
    """

    severity: Severity
    code: str
    key: str
    message: str
    fix: str
    when: Callable[[Keys], object] | None = None
    mend: Mend | None = None


def key(*names: str, default: Any = None) -> Key:
    """A row of a key table; a default is only for what the framework's own source says."""
    return Key(names, default)


def note_traps(keys: Keys, traps: Iterable[Trap]) -> None:
    """Remember the traps that a config is in."""
    for trap in traps:
        if found := trap.when(keys) if trap.when else trap.key in keys:
            message = trap.message.format(value=str(keys.raw(trap.key))[:60], found=found)
            mend = trap.mend if trap.mend is None or trap.mend.name is None or trap.mend.name not in keys else None
            keys.findings.append(finding(trap.severity, trap.code, trap.key, message, trap.fix, mend))


class Table(Framework):
    """A framework whose config is keys and values.

    Attributes:
        keys: By field of `Config`; "beta1" and "beta2" where they are apart, "final_lr" where the end is no fraction,
            and names of the framework's own, which `spelled` writes. A default is said only if nothing of the text is
            lost, such as a config that a launch names.
        packing: Keys of which one packs the rows of the data set.
        traps: What is said of a config, each where it applies.
        optimizers: Conventions, or classes with defaults of their own, by the framework's words for them; a word that
            is not here is refused.
        words: The framework's words for schedules, by their names here, each of `schedules`; that which is written
            first.
        not_adamw: Switches that put something in AdamW's place whose decay is not known here, and what.
        besides: What is written whatever the run.
        launch: A line below shell arguments, which are "${ADAMW_ARGS[@]}" there.
        dashed: Whether shell arguments have dashes for the underscores in their keys.
        unit: Tokens or samples, where the framework tells what it counts.
    """

    keys: ClassVar[Mapping[str, Key]]
    packing: ClassVar[tuple[str, ...]] = ()
    traps: ClassVar[tuple[Trap, ...]] = ()
    optimizers: ClassVar[Mapping[str, str | Constructor]] = {}
    words: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    not_adamw: ClassVar[Mapping[str, str]] = {}
    besides: ClassVar[Mapping[str, str]] = {}
    launch: ClassVar[str] = ""
    dashed: ClassVar[bool] = False
    unit: ClassVar[str | None] = None

    def read(self, document: Document) -> Config:
        """The keys, with the framework's defaults where they say nothing."""
        keys = self.find(document)
        for switch, what in self.not_adamw.items():
            said = keys.raw(switch)
            if said is not None and str(said).lower() not in ("false", "0", "no", "default"):
                raise SpecError(
                    f"{switch} = {str(said)[:40]}: {what} trains here and no AdamW, and how it decays is "
                    "not known; look at the training itself: adamw-scale audit -- COMMAND"
                )
        fields = self.fields(keys, document)
        note_traps(keys, self.traps)
        return Config(**fields, **keys.noted())

    def find(self, document: Document) -> Keys:
        """Where the values of a document are."""
        return keys_of(document)

    def fields(self, keys: Keys, document: Document) -> dict[str, Any]:
        """Fields of the config."""
        optimizer = self.word(keys, "optimizer")
        peak_lr, decay = self.number(keys, "peak_lr"), self.number(keys, "weight_decay")
        if decay is None and "weight_decay" not in keys.unknown:
            keys.unknown.append("weight_decay")
        eps, accumulation = self.number(keys, "eps"), self.number(keys, "accumulation")
        steps = keys.signed(*self.keys["total_steps"].names) if "total_steps" in self.keys else None
        steps = self._default(keys, "total_steps") if steps is None else max(0.0, steps) or None
        counted = ("batch_size", "per_device_batch_size", "devices", "sequence_length")
        known, task = self.known(optimizer), self.task(keys, document)
        fields = {
            "convention": known if isinstance(known, str) else known.convention,
            "optimizer": optimizer or next(iter(self.optimizers), "adamw"),
            "peak_lr": peak_lr or None,
            **self.grouped(keys, document, peak_lr, decay, eps),
            "betas": self.betas(keys),
            "eps": eps,
            **self.schedule(keys, peak_lr, steps),
            "total_steps": steps,
            "epochs": None if steps else self.number(keys, "epochs"),
            **{name: self.number(keys, name) or None for name in counted},
            "accumulation": accumulation or None,
            "unit": self.unit,
            "task": task,
            "packed": self.packed(keys, document) if task else None,
        }
        if "accumulation" in self.keys and accumulation is None:
            fields["per_device_batch_size"] = None  # part of a batch of which nobody knows how many there are
        return fields

    def known(self, optimizer: str | None) -> str | Constructor:
        """What a word for an optimizer stands for; SpecError where nobody knows."""
        if optimizer is None or not self.optimizers:
            return self.convention
        return chosen(self.keys["optimizer"].names[0], optimizer, dict(self.optimizers), None) or self.convention

    def grouped(
        self, keys: Keys, document: Document, peak_lr: float | None, weight_decay: float | None, eps: float | None
    ) -> dict[str, Any]:
        """What decays, by `Config`'s fields."""
        return {
            "groups": same_decay(weight_decay, self.spares(keys)),
            "weight_decay_known": weight_decay is not None,
        }

    def spares(self, keys: Keys) -> frozenset[str]:
        """Groups that do not decay; those of the framework, where its configs have no say in it."""
        return self.undecayed

    def task(self, keys: Keys, document: Document) -> str | None:
        """Pretraining, finetuning or lora, where the config shows it."""
        return None

    def packed(self, keys: Keys, document: Document) -> bool | None:
        """Whether rows are packed to full sequences, which they are where it says so."""
        return keys.yes_or("packed", False, *self.packing) if self.packing else None

    def schedule(self, keys: Keys, peak_lr: float | None, steps: float | None) -> dict[str, Any]:
        """Schedule fields: the shape by its word, and what such a shape takes."""
        word = self.word(keys, "schedule")
        known = {spelled.lower(): name for name, spellings in self.words.items() for spelled in spellings}
        if word is not None and word.lower() not in known:
            message = f"the schedule {word[:60]!r} is not known here"
            keys.note(
                "schedule-unread", self.keys["schedule"].names[0], message, fix="pass --schedule with the nearest"
            )
            return {"schedule": None}
        name = chosen("schedule", word, known, None)
        takes = SCHEDULES[name or "linear"].takes  # what is said is read, although the shape is not known
        takes += ("warmup_steps", "decay_steps") if "decay_fraction" in takes else ("warmup_steps",)
        fields = {option: self.number(keys, option) for option in self.keys if option in takes}
        if "final_lr" in self.keys and "final_lr_fraction" in takes:
            end = self.number(keys, "final_lr", filling="final_lr_fraction")
            fields["final_lr_fraction"] = keys.fraction("final_lr_fraction", end, peak_lr)
        if fields.get("warmup_steps"):
            fields.pop("warmup_fraction", None)
        return {"schedule": name, **{option: each for option, each in fields.items() if each is not None}}

    def number(self, keys: Keys, field: str, filling: str | None = None) -> float | None:
        """The number of a field, or its default, which is remembered; None where neither is there."""
        if field not in self.keys:
            return None
        found = keys.number(*self.keys[field].names)
        return self._default(keys, field, filling) if found is None else found

    def word(self, keys: Keys, field: str) -> str | None:
        """The word of a field, or its default."""
        if field not in self.keys:
            return None
        return keys.text(*self.keys[field].names) or self._default(keys, field)

    def betas(self, keys: Keys) -> tuple[float, float] | None:
        """Both betas, of one key or of two."""
        if "betas" in self.keys:
            return keys.pair(*self.keys["betas"].names) or self._default(keys, "betas")
        one, two = (self.keys[name] for name in ("beta1", "beta2"))
        if one.default is None:
            first, second = keys.number(*one.names), keys.number(*two.names)
            return None if first is None or second is None else (first, second)
        return keys.betas((one.default, two.default), one.names[0], two.names[0])

    def _default(self, keys: Keys, field: str, filling: str | None = None) -> Any:
        """The default of a field that the config does not say, which is then remembered."""
        if field not in self.keys:
            return None
        names, default = self.keys[field]
        named = self.keys.get("optimizer", key())
        own = getattr(self.known(keys.text(*named.names) or named.default), field, None)
        default = default if own is None else own
        return keys.filled(filling or field, default(keys) if callable(default) else default, *names)

    def write(self, config: Config) -> str:
        """The keys: nested YAML, or an array of shell arguments above the launch; other languages override this."""
        rows = {**self.rows(config), **self.besides}
        if self.language == "yaml":
            return _yaml(rows)
        names = {name: name.replace("_", "-") if self.dashed else name for name in rows}
        arguments = "".join(f"    {f'--{names[name]} {text}'.rstrip()}\n" for name, text in rows.items())
        return f"ADAMW_ARGS=(\n{arguments})\n{self.launch}"

    def rows(self, config: Config) -> dict[str, Any]:
        """What is written, by the first spelling of each field; a list of mappings is one of YAML."""
        found: dict[str, Any] = {}
        for field, (names, _) in self.keys.items():
            text = self.spelled(field, config)
            if text is not None:
                found[names[0]] = yaml_number(text) if self.language == "yaml" else text
        return found

    def spelled(self, field: str, config: Config) -> str | None:
        """A field in the framework's words; None where it is not written."""
        taken, batch = SCHEDULES[config.schedule or "constant"].takes, config.batch_size
        if field in OPTIONS and field not in taken:
            return None
        if field == "accumulation":
            return None if batch is None or "batch_size" in self.keys else str(whole(batch))
        if field in ("per_device_batch_size", "devices"):
            return None if batch is None or "batch_size" in self.keys else "1"
        if field in ("batch_size", "sequence_length", "decay_steps"):
            counted = getattr(config, field)
            return None if counted is None else str(whole(counted))
        if field == "warmup_fraction":
            return value(whole(config.warmup_steps) / whole(config.total_steps))
        if field == "schedule":
            return self.words[config.schedule or "constant"][0]
        if field == "optimizer":
            return next(iter(self.optimizers))
        if field == "betas":
            beta1, beta2 = betas_of(config)
            return f"[{yaml_number(beta1)}, {yaml_number(beta2)}]" if self.language == "yaml" else f"{beta1} {beta2}"
        if field == "epochs" and "total_steps" in self.keys:
            return None
        texts: dict[str, Callable[[], str | None]] = {
            "peak_lr": lambda: lr_of(config),
            "weight_decay": lambda: value(config.weight_decay),
            "beta1": lambda: betas_of(config)[0],
            "beta2": lambda: betas_of(config)[1],
            "eps": lambda: eps_of(config),
            "warmup_steps": lambda: str(whole(config.warmup_steps)),
            "final_lr": lambda: value(final_lr(config)),
            "final_lr_fraction": lambda: value(config.lr_schedule.floor),
            "total_steps": lambda: str(whole(config.total_steps)),
            "epochs": lambda: value(config.epochs or 1.0),
        }
        return texts[field]() if field in texts else None


def note_other_end(
    keys: Keys, code: str, at: str, end: float, steps: float, fix: str, stays: str = "its last learning rate stays"
) -> None:
    """Warn that a schedule ends before or after the run, in steps; `stays` is what follows its end."""
    what = stays if end < steps else "it has not come down by then"
    keys.warning(code, at, f"the schedule takes {end:g} steps and the run {steps:g}: {what}", fix)


def _yaml(rows: Mapping[str, Any]) -> str:
    """Dotted keys as nested mappings."""
    content: dict[str, Any] = {}
    for path, text in rows.items():
        *before, last = path.split(".")
        inner = content
        for part in before:
            inner = inner.setdefault(part, {})
        inner[last] = text
    return _nested(content, "")


def _nested(content: Mapping[str, Any], indent: str) -> str:
    text = ""
    for name, each in content.items():
        if isinstance(each, dict):
            text += f"{indent}{name}:\n{_nested(each, indent + '  ')}"
        elif isinstance(each, list):
            items = (_nested(item, indent + "    ").lstrip() for item in each)
            text += f"{indent}{name}:\n" + "".join(f"{indent}  - {item}" for item in items)
        else:
            text += f"{indent}{name}: {each}\n"
    return text
