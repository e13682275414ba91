"""How much a step of a real optimizer removes from a weight, whatever its fields say.

An AdamW step is p_new = p - removed * p - lr * m_hat / (sqrt(v_hat) + eps). Everything but `removed` is in the
optimizer's state afterwards, so one tensor of a group, before and after, tells it:

    removed = <p, p - p_new - lr * m_hat / (sqrt(v_hat) + eps)> / <p, p>

Source: algorithm 2 of Loshchilov & Hutter, arXiv:1711.05101, solved for the decay.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

ELEMENTS = 4096  # of a tensor that are looked at: more tell no more
ADAM_STATE = ("exp_avg", "exp_avg_sq", "step")


@dataclass(frozen=True)
class Removed:
    """Share of the weights that went in one step: by the optimizer, and by somebody else since its last one."""

    by_optimizer: float
    outside: float
    resolution: float  # standard deviation that rounding alone gives

    @property
    def total(self) -> float:
        """By the optimizer and by somebody else together."""
        return self.by_optimizer + self.outside


class Sentinel:
    """Watches one tensor of a parameter group: call `before` and `after` around the optimizer's step."""

    def __init__(self, group: dict[str, Any]) -> None:
        self.group = group
        self._parameter: Tensor | None = None
        self._silent: set[Tensor] = set()
        self._before: Tensor | None = None
        self._after: Tensor | None = None

    def before(self) -> None:
        """Keep the weights as they are before a step; at the first, choose whose."""
        if self._parameter is None:
            self._parameter = _largest([p for p in self.group["params"] if p not in self._silent])
        if self._parameter is not None:
            self._before = _part(self._parameter)

    def after(self, optimizer: torch.optim.Optimizer, *, next_too: bool) -> Removed | None:
        """What the step removed; None where the state does not tell, as that of another kind of optimizer.

        Where the next step is watched too, it also tells what somebody else removes until then.
        """
        parameter, before = self._parameter, self._before
        state = optimizer.state.get(parameter, {}) if parameter is not None else {}
        if parameter is None or before is None or not all(name in state for name in ADAM_STATE):
            if parameter is not None:  # not trained, or not by Adam: another may tell
                self._silent.add(parameter)
            self._parameter = None
            return None
        betas, lr = self.group["betas"], float(self.group["lr"])
        step = float(state["step"])
        v = "max_exp_avg_sq" if self.group.get("amsgrad") else "exp_avg_sq"
        mean = _part(state["exp_avg"]) / (1 - betas[0] ** step)
        size = (_part(state[v]) / (1 - betas[1] ** step)).sqrt() + self.group["eps"]
        after = _part(parameter)
        norm = float(before @ before)
        if norm == 0:
            return None
        last, self._after = self._after, after if next_too else None
        rounding = torch.finfo(parameter.dtype).eps * norm**-0.5 * float((before**4).sum() / norm) ** 0.5
        return Removed(
            by_optimizer=float(before @ (before - after - lr * mean / size)) / norm,
            outside=_shrinkage(last, before),
            resolution=rounding,
        )


def _largest(parameters: list[Tensor]) -> Tensor | None:
    """The largest tensor that is not all zeros: it tells most exactly, and of every one only a part is read."""
    return max(parameters, key=lambda p: (bool(p.detach().any()), p.numel()), default=None)


def _part(tensor: Tensor) -> Tensor:
    """A copy of the first elements, in double precision, flat."""
    return tensor.detach().reshape(-1)[:ELEMENTS].double().clone()


def _shrinkage(last: Tensor | None, now: Tensor) -> float:
    """By how much all weights shrank alike since they were last seen; 0 where they changed in another way."""
    if last is None or torch.equal(last, now):
        return 0.0
    norm = float(last @ last)
    if norm == 0:
        return 0.0
    share = float(last @ (last - now)) / norm
    rest = (last - now - share * last).norm() / norm**0.5
    return share if float(rest) < 0.1 * abs(share) else 0.0
