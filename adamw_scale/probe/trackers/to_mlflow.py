"""Runs in MLflow: on a server, or in a database in the calibration folder."""

import logging
import os
import time
from pathlib import Path
from typing import Any, ClassVar, Self

from adamw_scale.probe.trackers.tracker import PROJECT, TRAINING_LOSS, TrackedRun, library
from adamw_scale.spec.measurement import ProbeResult

MOST_AT_ONCE = 1000  # metrics that the protocol takes in one request
SQLITE = "sqlite:///"


class MLflowTracker:
    """One run per probe, in the experiment MLFLOW_EXPERIMENT_NAME, tagged with the calibration's name.

    They go to MLFLOW_TRACKING_URI, or else to `mlflow.db` in the calibration folder.
    """

    name: ClassVar[str] = "mlflow"

    def __init__(self, folder: Path, name: str) -> None:
        self.calibration = name
        self.uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}{(folder / 'mlflow.db').absolute()}"
        self.experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME") or PROJECT
        library("mlflow", "mlflow-skinny", self.name)
        if self.uri.startswith(SQLITE):
            library("alembic", "alembic", self.name)

    def __enter__(self) -> Self:
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)  # it tells of every table it creates
        self._entities = library("mlflow.entities", "mlflow-skinny", self.name)
        client = library("mlflow.tracking", "mlflow-skinny", self.name).MlflowClient(tracking_uri=self.uri)
        found = client.get_experiment_by_name(self.experiment)
        self._experiment_id = found.experiment_id if found else client.create_experiment(self.experiment)
        self._client: Any = client
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def place(self) -> str:
        """Store and experiment."""
        return f"experiment {self.experiment} at {self.uri}"

    def result(self, result: ProbeResult) -> None:
        """Write one probe's run."""
        probe = TrackedRun(result)
        run = self._client.create_run(
            self._experiment_id, tags={"calibration": self.calibration, **probe.outcome}, run_name=probe.name
        ).info.run_id
        params = [self._entities.Param(name, str(value)) for name, value in probe.settings.items()]
        self._client.log_batch(run, params=params)
        points = [(TRAINING_LOSS, loss, step) for step, loss in probe.curve]
        points += [(name, value, probe.last_step) for name, value in probe.final.items()]
        now = int(1000 * time.time())
        for start in range(0, len(points), MOST_AT_ONCE):
            batch = points[start : start + MOST_AT_ONCE]
            self._client.log_batch(
                run, metrics=[self._entities.Metric(name, value, now, step) for name, value, step in batch]
            )
        self._client.set_terminated(run, "FAILED" if result.status == "failed" else "FINISHED")
