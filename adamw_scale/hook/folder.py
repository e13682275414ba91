"""What a command gets to be watched, and what its processes wrote down. This part runs in ours."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from adamw_scale.spec.watched import ProcessSeen

HOOK = Path(__file__).parent
PLAN = "ADAMW_SCALE_WATCH"  # as sitecustomize has it
LARGEST_RECORD = 1 << 26  # bytes
MOST_PROCESSES = 4096


def environment(folder: Path, **plan: float | None) -> Mapping[str, str]:
    """Variables that hook the Python processes of a command.

    Args:
        folder: Where they write.
        plan: What they do, as in `recorder`: steps, total, weight_decay, seed.
    """
    path = os.pathsep.join(filter(None, (str(HOOK), os.environ.get("PYTHONPATH"))))
    return {PLAN: json.dumps({"folder": str(folder), **plan}), "PYTHONPATH": path}


def is_stopped(folder: Path) -> bool:
    """Whether a training was interrupted after the steps that were asked for."""
    return any(folder.glob("stopped-*"))


def writers(folder: Path) -> set[int]:
    """Processes with a record."""
    return {int(file.stem.removeprefix("record-")) for file in folder.glob("record-*.json")}


def records(folder: Path) -> tuple[ProcessSeen, ...]:
    """What was seen in each process where an optimizer stepped; rank 0 first, without ranks the one that was first."""
    found = []
    for file in sorted(folder.glob("record-*.json"))[:MOST_PROCESSES]:
        if file.stat().st_size <= LARGEST_RECORD:
            found.append((file.stat().st_ctime, ProcessSeen.from_json(file.read_bytes())))
    seen = [each for _, each in sorted(found, key=lambda pair: pair[0])]
    stepped = [each for each in seen if any(optimizer.steps for optimizer in each.optimizers) or each.set is not None]
    return tuple(sorted(stepped, key=lambda each: each.rank if each.rank is not None else -1))


def libraries(folder: Path) -> tuple[str, ...]:
    """What was imported in processes without a step: torch, jax, tensorflow."""
    names: dict[str, None] = {}
    for file in sorted(folder.glob("idle-*.json"))[:MOST_PROCESSES]:
        with suppress(OSError, ValueError, KeyError):
            names |= dict.fromkeys(map(str, json.loads(file.read_bytes())["libraries"]))
    return tuple(names)
