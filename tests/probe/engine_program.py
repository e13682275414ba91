"""A program that trains with an engine, and one around it that sees whether it left processes behind.

    python engine_program.py '{"engine": ..., "options": ..., "source": ..., "cohorts": [[probe, ...]], "leave": n}'

prints the losses by key as JSON, of the first n probes if it is to leave early; with "killed" for n it kills itself at
the first news. Whatever it starts becomes a child of the outer program when its parent dies, which exits with status 3
if any is alive long after the inner program has left.
"""

import ctypes
import json
import os
import signal
import sys
import time
from typing import Any

from adamw_scale.probe.engines import ENGINES
from adamw_scale.spec.measurement import ProbeConfig
from adamw_scale.training.tasks.task import TaskSource

PR_SET_CHILD_SUBREAPER = 36
KILLED = "killed"
SECONDS = 60.0


def program(wanted: dict[str, Any]) -> None:
    """Train, and leave when told to: by `break`, or by SIGKILL at the first news."""
    cohorts = [[ProbeConfig.model_validate(config) for config in cohort] for cohort in wanted["cohorts"]]
    losses: dict[str, float | None] = {}

    def die(news: object) -> None:
        if wanted["leave"] == KILLED:
            os.kill(os.getpid(), signal.SIGKILL)

    with ENGINES[wanted["engine"]](TaskSource(**wanted["source"]), 2, wanted["options"]) as engine:
        for results in engine.run(cohorts, die):
            losses |= {result.key: result.loss for result in results}
            if len(losses) == wanted["leave"]:
                break
    print(json.dumps(losses))


def nothing_is_left() -> bool:
    """Whether every descendant has ended, after a while."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.05)
        except ChildProcessError:
            return True
    return False


def main() -> None:
    """Run the program in a child, then count what is left of it."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    wanted = json.loads(sys.argv[1])
    child = os.fork()
    if child == 0:
        program(wanted)
        sys.exit()
    _, status = os.waitpid(child, 0)
    if wanted["leave"] == KILLED:
        sys.exit(0 if os.WIFSIGNALED(status) else 1)
    sys.exit(os.WEXITSTATUS(status) if nothing_is_left() else 3)


if __name__ == "__main__":
    main()
