"""Where finished probes are also logged: what a team already watches its runs in, one file per library.

The calibration folder stays the record; a tracker gets copies, one run per probe.
"""

from collections.abc import Callable
from pathlib import Path

from adamw_scale.probe.trackers.background import BackgroundTracker
from adamw_scale.probe.trackers.tracker import Tracker
from adamw_scale.registry import Registry

TRACKERS: Registry[type[Tracker]] = Registry(
    "tracker",
    "adamw_scale.trackers",
    {
        "tensorboard": "adamw_scale.probe.trackers.to_tensorboard:TensorBoardTracker",
        "wandb": "adamw_scale.probe.trackers.to_wandb:WandbTracker",
        "mlflow": "adamw_scale.probe.trackers.to_mlflow:MLflowTracker",
        "trackio": "adamw_scale.probe.trackers.to_trackio:TrackioTracker",
    },
)
SUMMARIES = {  # for `list`, since trackers import their libraries
    "tensorboard": "event files in the calibration folder",
    "wandb": "Weights & Biases, online or offline",
    "mlflow": "an MLflow server, or a database in the calibration folder",
    "trackio": "Trackio, on this machine or in a Space",
}


def open_tracker(name: str, folder: Path, notice: Callable[[str], None]) -> BackgroundTracker:
    """A tracker that costs no probe when it fails; to be used as a context manager.

    Args:
        name: One of `TRACKERS`.
        folder: The calibration folder; its name groups the runs.
        notice: Told where the runs are found, and if they cannot be tracked any longer.

    Raises:
        UnknownNameError: no such tracker.
        MissingExtraError: its library is not installed.
    """
    return BackgroundTracker(TRACKERS[name](folder, folder.resolve().name), f"--track {name}", notice)
