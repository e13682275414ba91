"""The monitor as a Lightning callback."""

from typing import Any

import lightning.pytorch as pl

from adamw_scale.errors import SpecError
from adamw_scale.integrations.monitor import TimescaleMonitor
from adamw_scale.spec.advice import Recommendation


class TimescaleCallback(pl.Callback):
    """Logs the readings with whatever logger the Lightning trainer has, and says in one line each what is wrong.

        Trainer(callbacks=[TimescaleCallback(advice)])

    What has been added up is kept in Lightning's checkpoints.

    Args:
        plan: What `recommend` answered; None to watch without advice.
        options: Further arguments of `TimescaleMonitor`.

    Raises:
        SpecError: when the fit starts, if the module has several optimizers.
    """

    def __init__(self, plan: Recommendation | None = None, **options: Any) -> None:
        self.plan, self.options = plan, options
        self.monitor: TimescaleMonitor | None = None
        self._stored: dict[str, Any] | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The optimizer is there: follow it."""
        if len(trainer.optimizers) != 1:
            raise SpecError(
                f"the module has {len(trainer.optimizers)} optimizers: make a TimescaleMonitor for each that you want "
                "to watch"
            )
        self.monitor = TimescaleMonitor(trainer.optimizers[0], self.plan, **self.options)
        if self._stored is not None:
            self.monitor.load_state_dict(self._stored)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log the readings of the last step."""
        if self.monitor is not None and self.monitor.steps:
            pl_module.log_dict(self.monitor.metrics())

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let go of the optimizer."""
        if self.monitor is not None:
            self.monitor.close()

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return self.monitor.state_dict() if self.monitor is not None else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From a checkpoint."""
        self._stored = state_dict or None
