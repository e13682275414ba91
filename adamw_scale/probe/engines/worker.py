"""A process that trains probes: configurations in on stdin, progress and results out on stdout.

The protocol is one JSON document per line. In: first {"name", "data"} of the task, then one
ProbeConfig per line, until end of file. Out: {"progress": [step, steps, loss]} while training,
{"result": ProbeResult} when done, {"error": message} if a probe cannot be run. When the parent dies,
by whatever signal, the pipe breaks at the next report and the worker ends.
"""

import json
import os
import sys
from typing import Any

from adamw_scale.errors import AdamWScaleError
from adamw_scale.probe import TASKS
from adamw_scale.probe.plan import ProbeConfig


def main() -> None:
    """Serve probes until stdin ends."""
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints must not get into the replies

    def reply(message: dict[str, Any]) -> None:
        print(json.dumps(message), file=replies, flush=True)

    try:
        source = json.loads(sys.stdin.readline())
        task = TASKS[source["name"]](source["data"])
        for line in sys.stdin:
            config = ProbeConfig.model_validate_json(line)
            result = task.train(config, lambda step, steps, loss: reply({"progress": [step, steps, loss]}))
            reply({"result": result.model_dump(mode="json", by_alias=True)})
    except AdamWScaleError as error:
        reply({"error": str(error)})


if __name__ == "__main__":
    try:
        main()
    except (BrokenPipeError, KeyboardInterrupt):
        os._exit(1)  # the parent is gone or leaving: nothing to report, nobody to report to
