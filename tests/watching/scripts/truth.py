"""What a training knows of its own optimizers, one line a step."""

import json
import sys
from typing import Any


def note(optimizer: Any, number: int = 0) -> None:
    """Append learning rate and weight decay of every group to the file of the first argument."""
    names = ("lr", "weight_decay")
    groups = [{name: float(g[name]) for name in names if g[name] is not None} for g in optimizer.param_groups]
    with open(sys.argv[1], "a") as file:
        file.write(json.dumps({"optimizer": number, "groups": groups}) + "\n")
