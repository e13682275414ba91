"""Runs in Trackio: on this machine, or in the Space that the user's environment names."""

from pathlib import Path
from typing import Any, ClassVar, Self

from adamw_scale.probe.trackers.tracker import PROJECT, TRAINING_LOSS, TrackedRun, library
from adamw_scale.spec.measurement import ProbeResult


class TrackioTracker:
    """One run per probe, in one group per calibration; where they are kept is what TRACKIO_... say."""

    name: ClassVar[str] = "trackio"

    def __init__(self, folder: Path, name: str) -> None:
        self.group = name
        self._library: Any = library("trackio", "trackio", self.name)

    def __enter__(self) -> Self:
        for module in ("trackio", "trackio.run", "trackio.utils"):
            vars(library(module, "trackio", self.name))["print"] = _nothing  # stdout is for the answer
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def place(self) -> str:
        """How to look at the runs."""
        return f"trackio show --project {PROJECT}, group {self.group}"

    def result(self, result: ProbeResult) -> None:
        """Write one probe's run."""
        probe = TrackedRun(result)
        run = self._library.init(
            project=PROJECT,
            name=probe.name,
            group=self.group,
            config={**probe.settings, **probe.outcome},
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )
        for step, loss in probe.curve:
            run.log({TRAINING_LOSS: loss}, step=step)
        run.log(probe.final, step=probe.last_step)
        self._library.finish()


def _nothing(*_: object, **__: object) -> None:
    """In place of print."""
