"""What a probe changes of a training that has no flag for it: the weight decay of its optimizers, and its seeds.

A group has its new weight decay only while its optimizer steps, so that whatever the training reads, logs, schedules or
saves is its own. One group gets the value that is wanted, that with most weights of hidden matrices; every other that
decays keeps its ratio to that one.
"""

from __future__ import annotations

import operator
import random
import weakref
from numbers import Real
from typing import Any, Callable  # noqa: UP035  # as old as the oldest Python

import torch

SEED_NAMES = ("seed", "a")  # what the functions that seed call it


class UnsettableError(Exception):
    """The weight decay of this training cannot be set."""


class WeightDecay:
    """A weight decay for the time of each step."""

    def __init__(self, wanted: float, weights: Callable[[Any, dict[str, Any]], tuple[int, ...]]) -> None:
        self.wanted = wanted
        self.weights = weights  # of an optimizer and its group: the more, the likelier it is the one that is meant
        self.own: float | None = None  # what the training itself gave that group
        self.optimizer: Callable[[], Any] = lambda: None  # that has the group, as long as it lives, and
        self.place = 0  # which of its groups it is
        self._held: dict[int, list[tuple[dict[str, Any], float, float]]] = {}  # by optimizer: own and given values
        self._depth: dict[int, int] = {}  # of steps that call the step of their parent class

    def before(self, optimizer: Any, living: Callable[[], list[Any]]) -> None:
        """Set it, in what is not set already.

        Raises:
            UnsettableError: no optimizer decays anything.
        """
        if self.own is None:
            self._choose(sorted(living(), key=lambda each: each is not optimizer))
        mine = self._held.setdefault(id(optimizer), [])
        self._depth[id(optimizer)] = self._depth.get(id(optimizer), 0) + 1
        held = {id(group) for groups in self._held.values() for group, *_ in groups}
        for group in optimizer.param_groups:
            own = group.get("weight_decay")
            if _is_decay(own) and id(group) not in held:
                group["weight_decay"] = given = self.scaled(own)
                mine.append((group, own, given))

    def scaled(self, own: float) -> float:
        """What a group gets whose own weight decay is this."""
        return self.wanted if self.own is None or self.own == own else self.wanted / self.own * own

    def after(self, optimizer: Any) -> None:
        """Give back what the training has.

        Raises:
            UnsettableError: it set another value while its optimizer stepped, which acted.
        """
        self._depth[id(optimizer)] -= 1
        if not self._depth[id(optimizer)]:
            for group, own, given in self._held.pop(id(optimizer)):
                if group["weight_decay"] != given:
                    raise UnsettableError(
                        "its closure sets weight_decay while the optimizer steps, so another value would not act: "
                        "give the command a flag, and write {weight_decay} there"
                    )
                group["weight_decay"] = own

    def _choose(self, optimizers: list[Any]) -> None:
        """Find the group that is meant, and its weight decay; of equals the first optimizer's."""
        decaying = [
            (self.weights(each, group), group["weight_decay"], each, place)
            for each in optimizers
            for place, group in enumerate(each.param_groups)
            if _is_decay(group.get("weight_decay"))
        ]
        if not decaying:
            raise UnsettableError(
                "no parameter group of its optimizers decays, so there is nothing to set: give those that should "
                "decay any weight_decay above 0"
            )
        _, own, optimizer, self.place = max(decaying, key=lambda each: each[:2])
        self.own = float(own)
        self.optimizer = weakref.ref(optimizer)


def _is_decay(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and float(value) > 0


def seed_anew(by: int) -> None:
    """Start with this seed, and add it to every seed that the training sets.

    That is of torch and its generators, of random, and of numpy where it is there; not of
    random.Random(seed) and numpy's RandomState(seed).
    """
    inside = [False]  # of a function that seeds others, as torch's does its devices'

    def shifted(function: Callable[..., Any]) -> Callable[..., Any]:
        def seed(*values: Any, **named: Any) -> Any:
            if inside[0]:
                return function(*values, **named)
            inside[0] = True
            try:
                first = [_moved(value, by) for value in values[:1]]
                own = {name: _moved(value, by) if name in SEED_NAMES else value for name, value in named.items()}
                return function(*first, *values[1:], **own)
            finally:
                inside[0] = False

        return seed

    class Generator(torch.Generator):
        def manual_seed(self, seed: int) -> Any:
            super().manual_seed(_moved(seed, by))
            return self

    random.seed(by)
    torch.manual_seed(by)
    random.seed = shifted(random.seed)
    torch.random.manual_seed = torch.manual_seed = shifted(torch.manual_seed)
    torch.cuda.manual_seed = shifted(torch.cuda.manual_seed)
    torch.cuda.manual_seed_all = shifted(torch.cuda.manual_seed_all)
    torch.Generator = Generator  # type: ignore[misc]
    try:
        import numpy as np
    except ImportError:
        return
    np.random.seed(by)
    np.random.seed = shifted(np.random.seed)
    np.random.default_rng = shifted(np.random.default_rng)


def _moved(seed: Any, by: int) -> Any:
    """A seed moved, within the 32 bits that numpy takes where it was; what is no whole number stays."""
    if isinstance(seed, bool) or not hasattr(seed, "__index__"):
        return seed
    own = operator.index(seed)
    return (own + by) % 2**32 if 0 <= own < 2**32 else own + by
