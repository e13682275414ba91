"""What a command has no flag for, set by the hook in its Python processes, and what the hook saw of the training."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from adamw_scale.auditing.optimizers import convention_of, peak_of
from adamw_scale.hook.folder import environment, libraries, records
from adamw_scale.spec.measurement import OPTIMIZER_STEPS, StepsSeen
from adamw_scale.spec.watched import GroupSeen, OptimizerSeen, ProcessSeen
from adamw_scale.theory import conventions
from adamw_scale.theory.measured_decay import agrees
from adamw_scale.units import format_significant


class Told(NamedTuple):
    """How long a training was, and why what was to be set in it is not."""

    seen: StepsSeen | None = None
    complaint: str | None = None
    ended_it: bool = False  # whether it was interrupted because of that


class Hooked:
    """Weight decay and seed of one probe, where its command takes no flag for them; None is what is not set."""

    def __init__(self, folder: Path, weight_decay: float | None, seed: int | None) -> None:
        self.folder = folder  # where processes write what they saw
        self.weight_decay = weight_decay  # of the group that is mostly hidden matrices, in the command's convention
        self.seed = seed
        self.wanted = " and ".join(
            name for name, value in (("weight decay", weight_decay), ("seed", seed)) if value is not None
        )

    def start(self) -> Mapping[str, str]:
        """Make the folder; variables that the command needs beside the user's own."""
        if not self.wanted:
            return {}
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        return environment(self.folder, weight_decay=self.weight_decay, seed=self.seed)

    def end(self, convention: str) -> Told:
        """What became of it, in a training whose weight decay is to be in a convention; the folder goes."""
        if not self.wanted:
            return Told()
        seen, imported = records(self.folder), libraries(self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)
        if not seen:
            others = " and ".join(name for name in imported if name != "torch")
            why = f"it imports {others}, and only" if others and "torch" not in imported else "only"
            return Told(
                complaint=f"no optimizer of torch.optim made a step in it, so its {self.wanted} could not be set "
                f"({why} torch's can): give the command a flag, and write {{weight_decay}} or {{seed}} there"
            )
        if self.weight_decay is None or seen[0].set is None:
            return Told()
        return _told(seen, convention)


def _told(processes: Sequence[ProcessSeen], convention: str) -> Told:
    """Of a training whose weight decay was to be set."""
    first = processes[0].set
    assert first is not None
    if first.unsettable is not None:
        return Told(complaint=first.unsettable, ended_it=True)
    if len({each.set.own for each in processes if each.set is not None}) > 1:
        return Told(complaint="its processes have different weight decays, so one cannot be set: write {weight_decay}")
    if first.optimizer is None or first.group is None:
        return Told(
            complaint="the optimizer with most weights that decay makes no step in it, so none is known to have the "
            "weight decay that was set: give the command a flag, and write {weight_decay} there"
        )
    optimizer = processes[0].optimizers[first.optimizer]
    peaks = [peak_of(optimizer, number, whole=True) for number in range(len(optimizer.groups))]
    steps = float(optimizer.steps)
    seen = StepsSeen(unit="steps", least=steps, most=steps, source=OPTIMIZER_STEPS, peak_lr=peaks[first.group])
    return Told(seen, _unlike(optimizer, peaks, convention) or _inert(optimizer.groups[first.group], convention))


def _unlike(optimizer: OptimizerSeen, peaks: Sequence[float | None], convention: str) -> str | None:
    """Whether the optimizer means another thing by its weight decay; None where it does not, or nobody knows."""
    own, by = convention_of(optimizer, peaks)
    kind = conventions.CONVENTIONS[own].kind
    if by == "assumption" or kind == conventions.CONVENTIONS[convention].kind:
        return None
    name = f"its optimizer is {optimizer.module.partition('.')[0]}'s {optimizer.name}"
    if kind == conventions.L2:
        return f"{name}, whose weight decay is an L2 penalty, which has no timescale: train with AdamW"
    return f"{name}, whose weight decay is not that of {convention}: pass --convention {own}"


def _inert(group: GroupSeen, convention: str) -> str | None:
    """Whether the steps took something else than the weight decay that was set."""
    if conventions.CONVENTIONS[convention].kind != conventions.CONVENTIONS["pytorch"].kind:
        return None
    told = [each for each in group.measured if each.lr]
    off = [each for each in told if not agrees(each.by_optimizer, each.lr * each.weight_decay, each.resolution)]
    if not told or len(off) < len(told):
        return None
    last = off[-1]
    return (
        f"step {last.step} took {format_significant(last.by_optimizer)} of the weights, not lr times the weight decay "
        f"that was set, {format_significant(last.lr * last.weight_decay)}: the optimizer has its weight decay from "
        "elsewhere than its parameter groups. Give the command a flag, and write {weight_decay} there"
    )
