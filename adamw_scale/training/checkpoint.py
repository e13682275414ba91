"""The state of probes in training, kept now and then, so that an interrupted long probe loses under a minute."""

import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from adamw_scale.files import write_atomically
from adamw_scale.spec.measurement import ProbeConfig

SECONDS_BETWEEN = 20.0
FOLDER = "checkpoints"

State = dict[str, Any]  # tensors and plain values


class Checkpoint:
    """A cohort's file in DIR/checkpoints, named after what it trains; without a folder, nothing is kept.

    A checkpoint that cannot be written is not missed: training goes on, and starts anew if it is interrupted.
    """

    def __init__(self, folder: str | None, configs: Sequence[ProbeConfig]) -> None:
        name = hashlib.sha256(" ".join(config.key for config in configs).encode()).hexdigest()[:16]
        self.path = Path(folder) / FOLDER / f"{name}.pt" if folder is not None else None
        self._saved = time.monotonic()

    def load(self) -> State | None:
        """What was kept of this very cohort, or None. The file is read as data: tensors and plain values only."""
        if self.path is None or not self.path.is_file():
            return None
        try:
            state: State = torch.load(self.path, weights_only=True)
        except Exception:  # torn or foreign: torch raises whatever its readers do, and the cohort starts anew
            return None
        return state

    @property
    def due(self) -> bool:
        """Whether it is time to keep the state."""
        return self.path is not None and time.monotonic() - self._saved > SECONDS_BETWEEN

    def save(self, state: Callable[[], State]) -> None:
        """Write the state, whole or not at all."""
        assert self.path is not None
        self._saved = time.monotonic()
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path, lambda file: torch.save(state(), file))

    def delete(self) -> None:
        """The cohort is done."""
        if self.path is not None:
            with suppress(OSError):
                self.path.unlink(missing_ok=True)
