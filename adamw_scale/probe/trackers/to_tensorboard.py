"""Event files for TensorBoard, in the calibration folder."""

from pathlib import Path
from typing import ClassVar, Self

from adamw_scale.probe.trackers.tracker import TRAINING_LOSS, TrackedRun, library
from adamw_scale.spec.measurement import ProbeResult


class TensorBoardTracker:
    """One folder per probe under `tensorboard/`, with scalars and a row of the HPARAMS tab."""

    name: ClassVar[str] = "tensorboard"

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder / "tensorboard"
        library("tensorboard", "tensorboard", self.name)

    def __enter__(self) -> Self:
        self._writing = library("torch.utils.tensorboard", "tensorboard", self.name)
        self._summaries = library("torch.utils.tensorboard.summary", "tensorboard", self.name)
        self.folder.mkdir(exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def place(self) -> str:
        """How to look at the runs."""
        return f"tensorboard --logdir {self.folder}"

    def result(self, result: ProbeResult) -> None:
        """Write one probe's event file."""
        probe = TrackedRun(result)
        final = probe.final
        with self._writing.SummaryWriter(self.folder / f"{probe.name} {result.key[:8]}") as writer:
            for summary in self._summaries.hparams({**probe.settings, **probe.outcome}, final):
                writer.file_writer.add_summary(summary)
            for step, loss in probe.curve:
                writer.add_scalar(TRAINING_LOSS, loss, step)
            for name, value in final.items():
                writer.add_scalar(name, value, probe.last_step)
