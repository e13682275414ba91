"""What may be wrong with the decay that an optimizer applies; each check yields cautions that name numbers and the fix.

on-norms      gains and biases decay
convention    the value is in another unit than the optimizer's, or the optimizer does not do what its fields say
not-planned   the value is not the advised one
inert         decay cannot act within the run
overwritten   weight decay or learning rate are no longer what they were set to, or advised to be
doubled       weights shrink twice as fast as the optimizer says
"""

import math
from collections.abc import Iterator
from typing import Any

from adamw_scale.advisor.cautions import INERT_RETENTION
from adamw_scale.integrations.advised import Advised
from adamw_scale.integrations.measuring import Removed
from adamw_scale.spec.advice import Caution
from adamw_scale.theory.measured_decay import agrees, is_twice
from adamw_scale.units import format_percent, format_significant

L2 = "torch-adam"  # the convention that adds to the gradient
ROUNDED = 1e-3  # relative difference of weight decays that are one value, written with fewer digits


def of_group(
    name: str, group: dict[str, Any], optimizer: str, convention: str, advised: Advised | None
) -> Iterator[Caution]:
    """What can be said of a parameter group before the first step; `optimizer` is the name of its class."""
    value = float(group.get("weight_decay", 0.0))
    flat = sum(parameter.ndim < 2 for parameter in group["params"])
    if value and flat:
        yield Caution(
            code="on-norms",
            message=f"group {name!r} decays {flat} tensors of one dimension, gains of norms and biases, by "
            f"weight_decay {value:g}",
            fix="give them a group of their own with weight_decay 0: adamw_scale.integrations.groups does",
        )
    if convention == L2:
        if value:
            yield Caution(
                code="convention",
                message=f"{optimizer} adds weight_decay {value:g} to the gradient (L2), which it then divides by the "
                "gradient's size: nothing decays at lr * λ",
                fix="use torch.optim.AdamW",
            )
        return
    if advised is not None and (value or advised.group.weight_decay):
        yield from _against_advice(name, value, optimizer, convention, advised)


def _against_advice(name: str, value: float, optimizer: str, convention: str, advised: Advised) -> Iterator[Caution]:
    wanted, unit = advised.value(convention), advised.group.weight_decay
    if not is_same(value, wanted):
        mistaken = is_same(value, unit)
        yield Caution(
            code="convention" if mistaken else "not-planned",
            message=f"group {name!r} has weight_decay {value:g}"
            + (", the planned value in PyTorch's unit" if mistaken else "")
            + f"; for the planned λ {format_significant(unit, 3)} at lr {advised.group.peak_lr:g} {optimizer} takes "
            f"{format_significant(wanted, 3)}",
            fix=f"set its weight_decay to {wanted:.6g}",
        )
    if value and (left := advised.retention(value, convention)) > INERT_RETENTION[advised.run.task]:
        yield Caution(
            code="inert",
            message=f"group {name!r}: weight_decay {value:g} leaves {format_percent(left)} of the initial weights "
            f"after {advised.run.total_steps:.0f} steps, so it hardly acts in this run",
            fix="do not tune it; if decay should act, raise λ, train longer or at a higher learning rate",
        )


def of_weight_decay(name: str, step: int, before: float, now: float) -> Iterator[Caution]:
    """Whether a weight decay is still what it was."""
    if not is_same(before, now):
        yield Caution(
            code="overwritten",
            message=f"weight_decay of group {name!r} was {before:g} and is {now:g} since step {step}",
            fix="find what sets it: a scheduler, a callback, a checkpoint that was loaded after the groups were made",
        )


def of_lr(name: str, step: int, lr: float, advised: Advised) -> Iterator[Caution]:
    """Whether a learning rate is the advised one."""
    if not advised.is_on_schedule(step, lr):
        yield Caution(
            code="overwritten",
            message=f"the learning rate of group {name!r} is {lr:.4g} in step {step}, where the plan has "
            f"{advised.lr(step + 0.5):.4g}: the timescale is not the planned one",
            fix="let one scheduler set it, with the plan's peak, shape, warm-up and number of steps",
        )


def of_measured(name: str, claimed: float, removed: Removed, convention: str) -> Iterator[Caution]:
    """Whether what went is what the optimizer's fields say."""
    if agrees(removed.total, claimed, removed.resolution):
        return
    lost = f"group {name!r} loses {removed.total:.4g} of its weights a step"
    if is_twice(removed.total, claimed):
        yield Caution(
            code="doubled",
            message=f"{lost}, twice the {claimed:.4g} that its fields say: {removed.by_optimizer:.3g} by the "
            f"optimizer, {removed.outside:.3g} by somebody else",
            fix="keep one decay: look for a hand-written shrink, L2 in the loss, or a second optimizer of these "
            "weights",
        )
    elif convention != L2:
        yield Caution(
            code="convention",
            message=f"{lost}, where its fields, read as {convention!r}, say {claimed:.4g}",
            fix="pass convention= what this optimizer's weight_decay means (adamw-scale list conventions), or look "
            "for what else changes the weights",
        )


def is_same(value: float, other: float) -> bool:
    """Whether two weight decays are one value."""
    return math.isclose(value, other, rel_tol=ROUNDED, abs_tol=1e-12)
