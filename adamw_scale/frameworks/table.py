"""Frameworks that are tables: which key fills what, what stands there if nothing is said, and what goes wrong.

A framework whose config is keys and values is a class with these tables and no code; where one has a trick of its own,
it overrides the one method that the trick is about. What is written comes from the same tables as what is read.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

from adamw_scale.errors import SpecError
from adamw_scale.formats.document import Document
from adamw_scale.frameworks.config import Config, Severity, finding, same_decay
from adamw_scale.frameworks.framework import Framework
from adamw_scale.frameworks.reading import Keys, chosen, keys_of
from adamw_scale.frameworks.spelling import betas_of, eps_of, final_lr, lr_of, value, whole, yaml_number
from adamw_scale.theory.schedules import OPTIONS, SCHEDULES


class Key(NamedTuple):
    """Spellings of a field, that which is written first, and the framework's default, or what tells it."""

    names: tuple[str, ...]
    default: Any = None


class Trap(NamedTuple):
    """What a config may do that its author does not mean; {value} in the message is what stands at the key.

    It is one where `when` says so, or without that where the key is there.
    """

    severity: Severity
    code: str
    key: str
    message: str
    fix: str
    when: Callable[[Keys], object] | None = None


def key(*names: str, default: Any = None) -> Key:
    """A row of a key table; a default is only for what the framework's own source says."""
    return Key(names, default)


class Table(Framework):
    """A framework whose config is keys and values.

    Attributes:
        keys: By field of `Config`; "beta1" and "beta2" where they are apart, "final_lr" where the end is no fraction.
        traps: What is said of a config, each where it applies.
        optimizers: Conventions, by the framework's words for them; a word that is not here is refused.
        words: The framework's words for schedules, by their names here; that which is written first.
        not_adamw: Switches that put something in AdamW's place whose decay is not known here, and what.
        besides: What is written whatever the run.
        launch: A line below shell arguments, which are "${ADAMW_ARGS[@]}" there.
    """

    keys: ClassVar[Mapping[str, Key]]
    traps: ClassVar[tuple[Trap, ...]] = ()
    optimizers: ClassVar[Mapping[str, str]] = {}
    words: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    not_adamw: ClassVar[Mapping[str, str]] = {}
    besides: ClassVar[Mapping[str, str]] = {}
    launch: ClassVar[str] = ""

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
        for trap in self.traps:
            if trap.when(keys) if trap.when else trap.key in keys:
                message = trap.message.format(value=str(keys.raw(trap.key))[:60])
                keys.findings.append(finding(trap.severity, trap.code, trap.key, message, trap.fix))
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
        if steps is None or steps <= 0:
            steps = self._default(keys, "total_steps")
        counted = ("batch_size", "per_device_batch_size", "devices", "sequence_length")
        fields = {
            "convention": chosen(self.keys["optimizer"].names[0], optimizer, dict(self.optimizers), None)
            if self.optimizers and optimizer is not None
            else self.convention,
            "optimizer": optimizer or "adamw",
            "peak_lr": peak_lr or None,
            **self.grouped(keys, document, peak_lr, decay, eps),
            "betas": self.betas(keys),
            "eps": eps,
            **self.schedule(keys, peak_lr, steps),
            "total_steps": steps,
            "epochs": None if steps else self.number(keys, "epochs"),
            **{name: self.number(keys, name) or None for name in counted},
            "accumulation": accumulation or None,
            "task": self.task(keys, document),
        }
        if "accumulation" in self.keys and accumulation is None:
            fields["per_device_batch_size"] = None  # part of a batch of which nobody knows how many there are
        return fields

    def grouped(
        self, keys: Keys, document: Document, peak_lr: float | None, weight_decay: float | None, eps: float | None
    ) -> dict[str, Any]:
        """What decays, by `Config`'s fields."""
        return {
            "groups": same_decay(weight_decay, self.undecayed),
            "weight_decay_known": weight_decay is not None,
        }

    def task(self, keys: Keys, document: Document) -> str | None:
        """Pretraining, finetuning or lora, where the config shows it."""
        return None

    def schedule(self, keys: Keys, peak_lr: float | None, steps: float | None) -> dict[str, Any]:
        """Schedule fields: the shape by its word, and what such a shape takes."""
        word = self.word(keys, "schedule")
        known = {spelled: name for name, spellings in self.words.items() for spelled in spellings}
        if word is not None and word.lower() not in known:
            message = f"the schedule {word[:60]!r} is not known here"
            keys.note(
                "schedule-unread", self.keys["schedule"].names[0], message, fix="pass --schedule with the nearest"
            )
            return {"schedule": None}
        name = chosen("schedule", word, known, None)
        if name is None:
            return {}
        takes = (*SCHEDULES[name].takes, "warmup_steps", "decay_steps")
        fields = {option: self.number(keys, option) for option in self.keys if option in takes}
        if "final_lr" in self.keys and "final_lr_fraction" in takes:
            end = self.number(keys, "final_lr", filling="final_lr_fraction")
            fields["final_lr_fraction"] = None if end is None or not peak_lr else end / peak_lr
        if not SCHEDULES[name].takes or fields.get("warmup_steps"):
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
        return keys.filled(filling or field, default(keys) if callable(default) else default, *names)

    def write(self, config: Config) -> str:
        """The keys: nested YAML, or an array of shell arguments above the launch."""
        rows = {**self.rows(config), **self.besides}
        if self.language == "yaml":
            return _yaml(rows)
        arguments = "".join(f"    --{name} {text}\n" for name, text in rows.items())
        return f"ADAMW_ARGS=(\n{arguments})\n{self.launch}"

    def rows(self, config: Config) -> dict[str, str]:
        """What is written, by the first spelling of each field."""
        found = {}
        for field, (names, _) in self.keys.items():
            text = self.spelled(field, config)
            if text is not None:
                is_number = self.language == "yaml" and field not in ("optimizer", "schedule")
                found[names[0]] = yaml_number(text) if is_number else text
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
            return ("[{}, {}]" if self.language == "yaml" else "{} {}").format(*betas_of(config))
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
        return texts[field]()


def _yaml(rows: Mapping[str, str]) -> str:
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
    return "".join(
        f"{indent}{name}:\n{_nested(each, indent + '  ')}" if isinstance(each, dict) else f"{indent}{name}: {each}\n"
        for name, each in content.items()
    )
