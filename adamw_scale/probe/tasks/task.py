"""What a probe task provides."""

from collections.abc import Iterator
from typing import Any, ClassVar, Protocol

from torch import Tensor, nn

from adamw_scale.spec import TrainingRun


class Task(Protocol):
    """Data, model and loss of a probe; constructed from the user's data path, or None for the default."""

    name: ClassVar[str]

    def __init__(self, data: str | None) -> None: ...

    def default_run(self, overrides: dict[str, Any]) -> TrainingRun:
        """The run a probe makes, with the user's changes; SpecError for what this task cannot train."""
        ...

    def identity(self, run: TrainingRun) -> dict[str, str]:
        """Name and version of the task and hash of the data a run would use; part of a probe's key."""
        ...

    def describe_data(self, run: TrainingRun) -> str:
        """One phrase for people: how much of what is trained on."""
        ...

    def model(self, run: TrainingRun) -> nn.Module:
        """A freshly initialised model, from torch's global generator."""
        ...

    def batches(self, run: TrainingRun, seed: int, device: str) -> Iterator[Any]:
        """Endless training batches, in an order fixed by the seed."""
        ...

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """Mean training loss of a batch, a scalar."""
        ...

    def held_out_loss(self, model: nn.Module, run: TrainingRun) -> float:
        """Loss on all held-out data."""
        ...
