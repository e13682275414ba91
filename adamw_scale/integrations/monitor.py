"""What the real optimizer does to the weights, step by step, beside what was advised."""

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from adamw_scale.errors import SpecError
from adamw_scale.integrations import checks
from adamw_scale.integrations.advised import Advised
from adamw_scale.integrations.checks import L2
from adamw_scale.integrations.measuring import Removed, Sentinel
from adamw_scale.spec.advice import Caution, Recommendation
from adamw_scale.theory import conventions
from adamw_scale.theory.parametrizations import HIDDEN, NORM_AND_BIAS

# Class of an optimizer -> the convention of its weight_decay. Others are read as PyTorch's, and measured.
CONVENTIONS = {"DecoupledAdamW": "composer", "DecoupledLionW": "composer"}
logger = logging.getLogger("adamw_scale.integrations")
FIRST_STEPS = 3  # are all measured, whatever `every` is


def log_caution(caution: Caution) -> None:
    """Write a caution as one warning into the log of adamw_scale.integrations."""
    logger.warning("adamw_scale %s: %s. %s", caution.code, caution.message, caution.fix)


@dataclass(frozen=True)
class GroupReading:
    """One parameter group after a step.

    `decay` is the share of a weight that the optimizer's fields say went in this step, lr * λ; `planned` what the
    recommendation has there; `measured` what really went, where that was looked at. `decay_sum` adds `decay` up from
    the first step, and `retention` is what it left of the initial weights. `rms` is the root mean square of the group's
    weights, and `equilibrium_rms` where it settles at this step's learning rate and decay: sqrt(lr / (2 λ))
    (arXiv:2305.17212). The timescale is that of this step, 1 / decay; none where nothing decays. Epochs and shares of
    the run are known where there is a recommendation.
    """

    group: str
    lr: float
    decay: float
    decay_sum: float
    retention: float
    tau_iters: float | None = None
    tau_epochs: float | None = None
    tau_run: float | None = None
    planned: float | None = None
    measured: float | None = None
    rms: float | None = None
    equilibrium_rms: float | None = None


@dataclass
class _Watched:
    """A parameter group and what is known of it."""

    name: str
    group: dict[str, Any]
    sentinel: Sentinel
    advised: Advised | None
    weight_decay: float  # as it was set
    lr: float = 0.0
    decay: float = 0.0
    decay_sum: float = 0.0
    log_retention: float = 0.0
    removed: Removed | None = None
    rms: float | None = None


@dataclass
class TimescaleMonitor:
    """Follows a real optimizer, from the inside: it hooks `optimizer.step`. Call `step()` whenever you want to look.

    What costs something, measuring a tensor of each group and the size of the weights, is done in the first three steps
    and then in two of every `every`.

    Args:
        optimizer: A torch optimizer; wrappers that hold one as `.optimizer` are looked through.
        plan: What `recommend` answered. Without it, only what needs no recommendation is checked.
        convention: What the optimizer's weight_decay means, a name from `adamw-scale list conventions`. By default that
            of its class, where it is known, else PyTorch's.
        every: Steps between measurements, at least 1.
        warn: Told each caution when it is found, by default Python's logging; `warnings` holds them all.

    Raises:
        SpecError: not a torch optimizer, or no such convention.
    """

    optimizer: Any
    plan: Recommendation | None = None
    convention: str = ""
    every: int = 50
    warn: Callable[[Caution], None] = log_caution
    steps: int = 0
    warnings: list[Caution] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.optimizer = _innermost(self.optimizer)
        self.convention = self.convention or convention_of(self.optimizer)
        if self.convention != L2:
            conventions.kind_of(self.convention)  # refuses what is none
        self._said: set[tuple[str, str]] = set()
        self._watched = [self._watch(i, group) for i, group in enumerate(self.optimizer.param_groups)]
        for watched in self._watched:
            name = type(self.optimizer).__name__
            self._say(
                watched.name, checks.of_group(watched.name, watched.group, name, self.convention, watched.advised)
            )
        self._hooks = (
            self.optimizer.register_step_pre_hook(self._before),
            self.optimizer.register_step_post_hook(self._after),
        )

    def close(self) -> None:
        """Let go of the optimizer."""
        for hook in self._hooks:
            hook.remove()

    def step(self) -> list[GroupReading]:
        """What the last step did, by group."""
        return [self._reading(watched) for watched in self._watched]

    def metrics(self) -> dict[str, float]:
        """The same as flat numbers for a logger, by adamw_scale/GROUP/WHAT."""
        return {
            f"adamw_scale/{reading.group}/{name}": value
            for reading in self.step()
            for name, value in asdict(reading).items()
            if isinstance(value, float)
        }

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to go on adding up."""
        return {"steps": self.steps, "groups": {w.name: (w.decay_sum, w.log_retention) for w in self._watched}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`."""
        self.steps = int(state["steps"])
        for watched in self._watched:
            watched.decay_sum, watched.log_retention = map(float, state["groups"].get(watched.name, (0.0, 0.0)))

    def _watch(self, number: int, group: dict[str, Any]) -> _Watched:
        """A group, with what is advised for the group of its name; without a name, for what decays or does not."""
        decay = float(group.get("weight_decay", 0.0))
        name = str(group.get("name") or f"{'decayed' if decay else 'undecayed'}-{number}")
        groups = {each.group: each for each in self.plan.param_groups} if self.plan else {}
        own = groups.get(name) or groups.get(HIDDEN if decay else NORM_AND_BIAS)
        advised = Advised(self.plan.run, own) if self.plan and own else None
        return _Watched(name, group, Sentinel(group), advised, decay)

    def _before(self, *_: object) -> None:
        if self._looks_at(self.steps):
            for watched in self._watched:
                watched.sentinel.before()

    def _after(self, *_: object) -> None:
        looks, next_too = self._looks_at(self.steps), self._looks_at(self.steps + 1)
        for watched in self._watched:
            watched.lr = float(watched.group["lr"])
            watched.decay = self._decay(watched)
            watched.decay_sum += watched.decay
            watched.log_retention += math.log1p(-min(watched.decay, 1 - 1e-12))
            watched.removed = watched.sentinel.after(self.optimizer, next_too=next_too) if looks else None
            watched.rms = _rms(watched.group["params"]) if looks else watched.rms
            self._check(watched)
        self.steps += 1

    def _looks_at(self, step: int) -> bool:
        """Two steps in a row tell what goes on between them."""
        return step < FIRST_STEPS or step % self.every < 2

    def _check(self, watched: _Watched) -> None:
        now = float(watched.group.get("weight_decay", 0.0))
        if self.plan is None or self.plan.run.weight_decay_schedule == "constant":
            self._say(watched.name, checks.of_weight_decay(watched.name, self.steps, watched.weight_decay, now))
            watched.weight_decay = now
        if watched.advised is not None:
            self._say(f"{watched.name} lr", checks.of_lr(watched.name, self.steps, watched.lr, watched.advised))
        if watched.removed is not None:
            found = checks.of_measured(watched.name, watched.decay, watched.removed, self.convention)
            self._say(watched.name, found)

    def _decay(self, watched: _Watched) -> float:
        """What the optimizer's fields say that this step removes."""
        if self.convention == L2:
            return 0.0
        group = watched.group
        peak = float(group.get("initial_lr") or (watched.advised.group.peak_lr if watched.advised else group["lr"]))
        setting = conventions.Setting(peak_lr=peak, total_steps=self.plan.run.total_steps if self.plan else None)
        value, share = float(group.get("weight_decay", 0.0)), watched.lr / peak if peak else 0.0
        return conventions.decay_per_step(self.convention, value, setting, share)

    def _reading(self, watched: _Watched) -> GroupReading:
        decay, run = watched.decay, self.plan.run if self.plan else None
        tau = run.timescale(iters=1 / decay) if run is not None and decay else None
        return GroupReading(
            group=watched.name,
            lr=watched.lr,
            decay=decay,
            decay_sum=watched.decay_sum,
            retention=math.exp(watched.log_retention),
            tau_iters=1 / decay if decay else None,
            tau_epochs=tau.epochs if tau else None,
            tau_run=tau.run if tau else None,
            planned=watched.advised.decay(self.steps - 1, watched.lr) if watched.advised and self.steps else None,
            measured=watched.removed.total if watched.removed else None,
            rms=watched.rms,
            equilibrium_rms=watched.lr / math.sqrt(2 * decay) if decay else None,
        )

    def _say(self, about: str, cautions: Iterable[Caution]) -> None:
        """Each kind of caution once for each thing it is about."""
        for caution in cautions:
            if (caution.code, about) not in self._said:
                self._said.add((caution.code, about))
                self.warnings.append(caution)
                self.warn(caution)


def convention_of(optimizer: torch.optim.Optimizer) -> str:
    """What an optimizer's weight_decay means, by its class."""
    name = type(optimizer).__name__
    if name == "Adam" and not optimizer.defaults.get("decoupled_weight_decay"):
        return L2
    return CONVENTIONS.get(name, "pytorch")


def _innermost(optimizer: Any) -> torch.optim.Optimizer:
    """The torch optimizer within wrappers such as accelerate's and Lightning's."""
    inner = optimizer
    while not isinstance(inner, torch.optim.Optimizer) or hasattr(inner, "optimizer"):
        if not hasattr(inner, "optimizer"):
            raise SpecError(f"{type(optimizer).__name__} is no torch optimizer: pass the one whose step() is called")
        inner = inner.optimizer
    return inner


def _rms(parameters: list[Tensor]) -> float | None:
    """Root mean square of all of a group's weights."""
    if not parameters:
        return None
    norms = torch._foreach_norm([parameter.detach() for parameter in parameters])
    count = sum(parameter.numel() for parameter in parameters)
    return float(torch.stack([norm.double() for norm in norms]).square().sum().sqrt()) / math.sqrt(count)
