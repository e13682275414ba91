"""Results that a command left in {run_dir}: a Trainer's state, and event files of TensorBoard.

A state counts where its last evaluation is that of the last step: one of a checkpoint on the way is not of this run.
Event files are read with the tensorboard package, if it is installed.
"""

import json
import os
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from adamw_scale.training.commands.recognised import named
from adamw_scale.training.commands.steps import STATE_FILE, content_of

EVENT_FILES = "events.out.tfevents."  # begins their names
MOST_FILES = 100_000  # of a folder in which event files are looked for
LARGEST_EVENTS = 1 << 28  # bytes of event files that are read
OF_EACH_KIND = {"scalars": 1, "images": 1, "audio": 1, "histograms": 1, "compressedHistograms": 1, "tensors": 1}


def of_trainer_state(folder: Path) -> list[dict[str, Any]]:
    """What a Trainer logged, in order, where the last thing that it evaluated is its end; else nothing."""
    found: list[tuple[float, list[dict[str, Any]]]] = []
    for file in [*folder.glob(f"checkpoint-*/{STATE_FILE}"), folder / STATE_FILE]:
        try:
            state = json.loads(content_of(file))
            step, last, log = float(state["global_step"]), float(state.get("max_steps") or 0), state["log_history"]
            evaluated = [entry["step"] for entry in log if any(name.startswith("eval_") for name in entry)]
            if (file.parent == folder or step >= last) and evaluated and evaluated[-1] == step:
                found.append((step, log))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
    return max(found, key=lambda each: each[0])[1] if found else []


def of_event_files(folder: Path) -> tuple[dict[str, float], str | None]:
    """The last value of each scalar, and where event files are there but not read, why not."""
    files = _event_files(folder)
    if files is None:
        return {}, f"its {{run_dir}} holds more than {MOST_FILES:,} files, so event files were not looked for"
    if not files:
        return {}, None
    if find_spec("tensorboard") is None:
        return {}, "its event files are read with tensorboard only, which is not installed: pip install tensorboard"
    if sum(file.stat().st_size for file in files) > LARGEST_EVENTS:
        return {}, f"its event files are larger than {LARGEST_EVENTS >> 20} MiB and were not read"
    reader = import_module("tensorboard.backend.event_processing.event_accumulator")
    latest: dict[str, Any] = {}
    for file in files:
        events = reader.EventAccumulator(str(file), size_guidance=OF_EACH_KIND).Reload()
        for tag in events.Tags()["scalars"]:
            event = events.Scalars(tag)[-1]
            if tag not in latest or event.wall_time >= latest[tag].wall_time:
                latest[tag] = event
    return {name: each for tag, event in latest.items() for name, each in named(tag, event.value).items()}, None


def _event_files(folder: Path) -> list[Path] | None:
    """Those below a folder; None where there is too much to look at."""
    found, looked_at = [], 0
    for place, folders, names in os.walk(folder):
        found += [file for name in names if name.startswith(EVENT_FILES) and (file := Path(place, name)).is_file()]
        looked_at += len(folders) + len(names)
        if looked_at > MOST_FILES:
            return None
    return sorted(found)
