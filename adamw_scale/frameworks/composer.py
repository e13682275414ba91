"""Composer: DecoupledAdamW, whose decay is lr / initial_lr * weight_decay (optim/decoupled_weight_decay.py).

The value is that of one step at peak lr, whatever the lr of its group is, and everything it is given decays. The
Trainer steps its schedulers before its clock (trainer/trainer.py), so each step runs at the lr of the one before, and
the first two are alike.
"""

import re
from contextlib import suppress
from typing import Any, NamedTuple

from adamw_scale.errors import SpecError
from adamw_scale.formats.document import Document
from adamw_scale.frameworks.config import Config
from adamw_scale.frameworks.framework import Framework
from adamw_scale.frameworks.optimizer_calls import Constructor, read_groups
from adamw_scale.frameworks.pytorch import multiplier_source, param_groups_source
from adamw_scale.frameworks.reading import Keys, keys_of, sane
from adamw_scale.frameworks.spelling import betas_of, eps_of, exact, lr_of, one_for_all, value, whole
from adamw_scale.theory.schedules import SCHEDULES

# Shapes that Composer has a class for, without and with warm-up; others are written as a function.
_CLASSES = {
    "constant": ("ConstantScheduler", "ConstantWithWarmupScheduler"),
    "linear": ("LinearScheduler", "LinearWithWarmupScheduler"),
    "cosine": ("CosineAnnealingScheduler", "CosineAnnealingWithWarmupScheduler"),
    "polynomial": ("PolynomialScheduler", "PolynomialWithWarmupScheduler"),
}
_STATE = "import math\n\nfrom composer.core import State\n"
_SCHEDULES = {spelled: name for name, both in _CLASSES.items() for spelled in both}
DECOUPLED_ADAMW = Constructor(1e-3, 1e-5, (0.9, 0.95), convention="composer")


class Composer(Framework):
    """DecoupledAdamW with explicit parameter groups, and a scheduler for Composer's Trainer."""

    name = "composer"
    title = "Composer"
    language = "python"
    convention = "composer"
    undecayed_by_default = "nothing: every parameter of a group decays"
    grouping = "all"
    schedules = tuple(SCHEDULES)
    reads = "Python source with a call of DecoupledAdamW"
    signs = frozenset({"DecoupledAdamW", "t_warmup", "alpha_f", *_SCHEDULES})
    packages = frozenset({"composer"})
    formats = frozenset({"Python"})
    proven = "mosaicml 0.32"

    def write(self, config: Config) -> str:
        """A module with build_optimizer(model), `scheduler` and MAX_DURATION, which go to the Trainer."""
        by_group, (beta1, beta2) = not one_for_all(config), betas_of(config)
        imported, source = _scheduler(config)
        names = ", ".join(sorted(("DecoupledAdamW", *imported)))
        batch = f"GLOBAL_BATCH_SIZE = {whole(config.batch_size)}  # each DataLoader has its device's share\n"
        model = "model, output_layer" if by_group else "model"
        return f"""{"" if imported else _STATE}from composer.optim import {names}
from torch import nn

TOTAL_STEPS = {whole(config.total_steps)}
MAX_DURATION = f"{{TOTAL_STEPS}}ba"
{batch if config.batch_size else ""}

{param_groups_source(config)}

def build_optimizer({", ".join(f"{each}: nn.Module" for each in model.split(", "))}) -> DecoupledAdamW:
    \"\"\"Trainer(optimizers=build_optimizer({model}), schedulers=scheduler, max_duration=MAX_DURATION, ...).\"\"\"
    return DecoupledAdamW(
        param_groups({model}),
        lr={lr_of(config)},
        betas=({beta1}, {beta2}),
        eps={eps_of(config)},
        weight_decay={value(config.weight_decay)},
    )


{source}"""

    def read(self, document: Document) -> Config:
        """Arguments of DecoupledAdamW and of a scheduler, and groups beside them; a schedule in code is not known."""
        keys, usual = keys_of(document, ("DecoupledAdamW",)), DECOUPLED_ADAMW
        assigned = Keys(document.content)
        peak_lr = keys.number_or("peak_lr", usual.peak_lr, "lr")
        weight_decay = keys.number_or("weight_decay", usual.weight_decay, "weight_decay")
        eps = keys.number_or("eps", usual.eps, "eps")
        called = [call.keywords for call in document.calls if "max_duration" in call.keywords]
        total = read_time(keys.within(called[-1] if called else {}), "max_duration")
        steps = assigned.number("TOTAL_STEPS")
        return Config(
            convention=self.convention,
            peak_lr=peak_lr,
            **read_groups(document, keys, peak_lr, weight_decay, eps),
            betas=keys.pair_or("betas", usual.betas, "betas"),
            eps=eps,
            **_read_scheduler(document, keys, total),
            **({"total_steps": steps} if steps else run_length(total)),
            batch_size=assigned.number("GLOBAL_BATCH_SIZE"),
            **keys.noted(),
        )


class Duration(NamedTuple):
    """Composer's times: "10ba", "1ep", "4e9tok", "0.1dur"; steps, epochs, tokens, samples, or a part of the run."""

    amount: float
    unit: str

    @classmethod
    def of(cls, text: str) -> "Duration":
        """A time from its text.

        Raises:
            SpecError: it is no time of Composer's.
        """
        found = re.fullmatch(r"\s*([\d._]+(?:[eE][-+]?\d+)?)\s*(ep|ba|tok|sp|dur|iter|sec)\s*", text)
        if found is None:
            raise SpecError(
                f"{text[:60]!r} is not a time of Composer's: write a number and its unit, such as 100ba, 1ep or 0.1dur"
            )
        return cls(sane("time", found[1]), found[2])


TIMES = {"max_duration": "total_steps", "t_warmup": "warmup_steps", "t_max": "schedule_end"}  # fields that they fill


def read_time(keys: Keys, path: str) -> Duration | None:
    """The time of a key; None where there is none, or a name or word that is none, which is then remembered.

    A whole number is of epochs, as the Trainer takes it.
    """
    text, name = keys.text(path), path.rpartition(".")[2]
    found, shown = None, str(keys.source(path))[:60]
    if text is not None:
        whole_epochs = name == "max_duration" and text.isdecimal()
        with suppress(SpecError):
            found = Duration.of(f"{text}ep" if whole_epochs else text)
    said = text is not None or keys.unread(path)
    if found is None and said and path not in [each.key for each in keys.findings]:
        keys.unknown.append(TIMES.get(name, "decay_steps"))
        message = f"{name} is {shown}, which is no time that can be read here"
        keys.note("time-unread", path, message, fix="write a number and its unit, such as 1000ba, 1ep or 0.1dur")
    return found


def run_length(total: Duration | None) -> dict[str, float]:
    """Fields that a run's duration fills."""
    fields = {"ba": "total_steps", "ep": "epochs", "tok": "total_tokens"}
    return {fields[total.unit]: total.amount} if total and total.unit in fields else {}


def part_of_run(time: Duration | None, total: Duration | None) -> dict[str, float]:
    """A warm-up in steps or as a part of the run; nothing where its unit cannot be compared with the run's."""
    if time is None:
        return {}
    if time.unit == "dur":
        return {"warmup_fraction": time.amount}
    if time.unit == "ba":
        return {"warmup_steps": time.amount}
    if total is not None and total.unit == time.unit and total.amount:
        return {"warmup_fraction": time.amount / total.amount}
    return {}


def _read_scheduler(document: Document, keys: Keys, total: Duration | None) -> dict[str, Any]:
    """Schedule fields from the call of one of Composer's classes; none where there is none."""
    for call in document.calls:
        name = _SCHEDULES.get(call.last)
        if name is not None:
            own = keys.within(call.keywords)
            fields: dict[str, Any] = {"schedule": name, **part_of_run(read_time(own, "t_warmup"), total)}
            if name != "constant":
                fields["final_lr_fraction"] = own.number("alpha_f")
            if name == "polynomial":
                fields["schedule_power"] = own.number("power")
            return fields
    return {}


def _scheduler(config: Config) -> tuple[list[str], str]:
    """Classes that are imported for `scheduler`, and its source; none where it is a function."""
    schedule = config.lr_schedule
    if schedule.name not in _CLASSES:
        return [], (
            f"{multiplier_source(schedule)}\n\n"
            "def scheduler(state: State, ssr: float = 1.0) -> float:\n"
            '    """Learning rate over peak, at the middle of a step."""\n'
            "    return lr_multiplier(state.timestamp.batch.value)\n"
        )
    name = _CLASSES[schedule.name][bool(whole(config.warmup_steps))]
    arguments = [f't_warmup="{whole(config.warmup_steps)}ba"'] if whole(config.warmup_steps) else []
    if schedule.name == "polynomial":
        arguments.append(f"power={exact(config.power)}")
    if schedule.name != "constant":
        arguments.append(f"alpha_f={value(schedule.floor)}")
    return [name], f"scheduler = {name}({', '.join(arguments)})\n"
