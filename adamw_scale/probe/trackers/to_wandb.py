"""Runs in Weights & Biases, online or offline."""

import os
from pathlib import Path
from typing import Any, ClassVar, Self

from adamw_scale.errors import CalibrationError
from adamw_scale.probe.trackers.tracker import PROJECT, TRAINING_LOSS, TrackedRun, library
from adamw_scale.spec.measurement import ProbeResult

INIT_TIMEOUT = 30.0  # seconds until a server counts as unreachable
SERVICE = "WANDB_SERVICE"  # environment variable with the address of the process that uploads


class WandbTracker:
    """One run per probe, in one group per calibration; project, entity and mode are what WANDB_... say.

    Without WANDB_DIR, files are kept in the calibration folder. Nobody is asked for a login: where
    there is none, and the mode is not offline, opening is refused.
    """

    name: ClassVar[str] = "wandb"

    def __init__(self, folder: Path, name: str) -> None:
        self.files = os.environ.get("WANDB_DIR") or str(folder)
        self.group = name
        self.project = os.environ.get("WANDB_PROJECT") or PROJECT
        self._library: Any = library("wandb", "wandb", self.name)

    def __enter__(self) -> Self:
        self._settings = self._library.Settings(
            silent=True, console="off", init_timeout=INIT_TIMEOUT, x_disable_stats=True
        )
        inherited = SERVICE in os.environ
        self.mode = self._library.setup(self._settings).settings.mode
        if not inherited:
            os.environ.pop(
                SERVICE, None
            )  # a probe's own runs, perhaps on another machine, must not lean on this process
        if self.mode == "online" and not self._library.login(prompt=False, verify=False):
            raise CalibrationError(
                "--track wandb has no API key: run wandb login, set WANDB_API_KEY, or set WANDB_MODE=offline"
            )
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def place(self) -> str:
        """Project and group, and how offline runs get there."""
        runs = f"project {self.project}, group {self.group}"
        return f"{runs}; later: wandb sync {self.files}/wandb/offline-run-*" if self.mode == "offline" else runs

    def result(self, result: ProbeResult) -> None:
        """Write one probe's run."""
        probe = TrackedRun(result)
        run = self._library.init(
            project=self.project,
            group=self.group,
            job_type="probe",
            name=probe.name,
            dir=self.files,
            config=probe.settings,
            settings=self._settings,
            reinit="create_new",
        )
        for step, loss in probe.curve:
            run.log({TRAINING_LOSS: loss}, step=step)
        run.log(probe.final, step=probe.last_step)
        run.summary.update(probe.outcome)
        run.finish(exit_code=int(result.status == "failed"))
