"""A task that trains nothing, for what is tested about tasks from outside: a basin around a planted timescale."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from adamw_scale import TrainingRun
from adamw_scale.errors import ProbeError
from adamw_scale.spec.measurement import ProbeConfig, ProbeResult
from adamw_scale.training.tasks.task import Listener, Progress, TaskSource

DEFAULTS = {"dataset_size": 16384, "batch_size": 256, "epochs": 32, "peak_lr": 2e-3, "num_params": 1e4}


class PlantedTask:
    """Option `limit`: probes a cohort. Option `broken`: octaves below which probes fail while DIR/broken is there."""

    name: ClassVar[str] = "planted"

    def __init__(self, source: TaskSource) -> None:
        source.only("limit", "broken")
        self.source = source
        self.folder = Path(source.folder or "no folder")

    def default_run(self, overrides: dict[str, Any]) -> TrainingRun:
        """A run of 2048 steps."""
        return TrainingRun.model_validate({**DEFAULTS, **overrides})

    def identity(self, run: TrainingRun) -> dict[str, str]:
        """Nothing but the name."""
        return {"name": self.name}

    def describe_data(self, run: TrainingRun) -> str:
        """There are none."""
        return "no data"

    def require_device(self, device: str) -> None:
        """Anything but a GPU."""
        if device != "cpu":
            raise ProbeError(f"device {device}: there is none")

    def cohort_limit(self, run: TrainingRun, device: str) -> int:
        """As the option says, or two."""
        return int(self.source.options.get("limit", "2"))

    def train(self, configs: Sequence[ProbeConfig], listener: Listener) -> list[ProbeResult]:
        """Look the losses up; the keys are added to DIR/trained."""
        with (self.folder / "trained").open("a") as file:
            file.writelines(f"{config.key}\n" for config in configs)
        listener(Progress(configs[0], 1, 1, 3.0))
        return [self._result(config) for config in configs]

    def _result(self, config: ProbeConfig) -> ProbeResult:
        broken = (self.folder / "broken").exists() and config.log2_tau < float(self.source.options.get("broken", "-99"))
        loss = 2.3 + 0.1 * config.seed + 0.05 * (config.log2_tau + 2.4) ** 2
        return ProbeResult.model_validate(
            {
                "key": config.key,
                "config": config,
                "status": "failed" if broken else "done",
                "loss": None if broken else loss,
                "reason": "DIR/broken is there" if broken else None,
                "seconds": 0.0,
            }
        )
