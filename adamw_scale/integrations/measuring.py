"""How much a step of a real optimizer removes from a weight, whatever its fields say.

An AdamW step is p_new = p - removed * p - lr * m_hat / (sqrt(v_hat) + eps). Everything but `removed` is in the
optimizer's state afterwards, so one tensor of a group, before and after, tells it:

    removed = <p, p - p_new - lr * m_hat / (sqrt(v_hat) + eps)> / <p, p>

Source: algorithm 2 of Loshchilov & Hutter, arXiv:1711.05101, solved for the decay.

The hook of a watched command runs this file in the user's own Python, which may lack this package and be older: it
imports nothing but torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

ELEMENTS = 4096  # of a tensor that are looked at: more tell no more
ADAM_STATES = (("exp_avg", "exp_avg_sq"), ("state1", "state2"))  # torch's names and those of most, bitsandbytes'
UNLIKE = 0.05  # part of an update that decay and Adam do not explain, from which on it is another optimizer's
ROUNDINGS = 2.0  # of every weight, which the same may be


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

    def __init__(self, group: dict[str, Any], parameters: list[Tensor] | None = None) -> None:
        self.group = group
        self._parameters = parameters  # of the group that may be watched; None are all
        self._parameter: Tensor | None = None
        self._silent: set[Tensor] = set()
        self._before: Tensor | None = None
        self._after: Tensor | None = None

    def before(self) -> None:
        """Keep the weights as they are before a step; at the first, choose whose."""
        if self._parameter is None:
            among = self.group["params"] if self._parameters is None else self._parameters
            self._parameter = _largest([p for p in among if p not in self._silent])
        if self._parameter is not None:
            self._before = _part(self._parameter)

    def after(self, optimizer: torch.optim.Optimizer, *, next_too: bool) -> Removed | None:
        """What the step removed; None where the state does not tell, as that of another kind of optimizer.

        Where the next step is watched too, it also tells what somebody else removes until then.
        """
        parameter, before = self._parameter, self._before
        if parameter is None or before is None:
            return None
        adam = _adam_step(self.group, optimizer.state.get(parameter, {}))
        if adam is None:  # not trained, or not by Adam: another may tell
            self._silent.add(parameter)
            self._parameter = None
            return None
        after, norm = _part(parameter), float(before @ before)
        if norm == 0:
            return None
        share = float(before @ (before - after - adam)) / norm
        epsilon = torch.finfo(parameter.dtype).eps
        unexplained = float((before - after - adam - share * before).norm())
        if unexplained > UNLIKE * float(adam.norm()) + ROUNDINGS * epsilon * norm**0.5:
            return None
        last, self._after = self._after, after if next_too else None
        return Removed(
            by_optimizer=share,
            outside=_shrinkage(last, before),
            resolution=epsilon * norm**-0.5 * float((before**4).sum() / norm) ** 0.5,
        )


def _adam_step(group: dict[str, Any], state: dict[str, Any]) -> Tensor | None:
    """What Adam took away beside the decay, lr * m_hat / (sqrt(v_hat) + eps); None where the state is not Adam's."""
    names = next((names for names in ADAM_STATES if all(name in state for name in names)), None)
    steps, betas = state.get("step", group.get("step")), group.get("betas")
    if names is None or steps is None or betas is None or "eps" not in group:
        return None
    if not all(torch.is_floating_point(state[name]) for name in names):  # quantized
        return None
    step, first, second = float(steps), float(betas[0]), float(betas[1])
    if step < 1:
        return None
    squares = "max_exp_avg_sq" if group.get("amsgrad") else names[1]
    mean = _part(state[names[0]]) / (1 - first**step)
    size = (_part(state[squares]) / (1 - second**step)).sqrt() + float(group["eps"])
    taken: Tensor = mean * float(group["lr"]) / size
    return taken


def _largest(parameters: list[Tensor]) -> Tensor | None:
    """The largest tensor that is not all zeros: it tells most exactly, and of every one only a part is read."""
    return max(parameters, key=lambda p: (bool(_local(p).any()), p.numel()), default=None)


def _local(tensor: Tensor) -> Tensor:
    """What of a tensor is on this device: of a sharded one its own part, without asking the others."""
    own: Tensor = getattr(tensor.detach(), "_local_tensor", tensor.detach())
    return own


def _part(tensor: Tensor) -> Tensor:
    """A copy of the first elements, in double precision, flat."""
    return _local(tensor).reshape(-1)[:ELEMENTS].cpu().double().clone()


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
