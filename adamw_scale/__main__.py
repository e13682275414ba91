"""`python -m adamw_scale` and `adamw-scale`: the way in."""

import gc
import os
import signal
from types import FrameType


def run() -> None:
    """Load the command line and run it; a signal before and after it ends the process without a word.

    Loading makes many objects and drops few: collecting garbage meanwhile is a tenth of the time an
    answer takes. What is loaded stays, so it is set aside before collecting resumes.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:  # as of what nohup or a shell starts in the background
            signal.signal(number, _end)
    gc.disable()
    from adamw_scale.cli import main

    gc.freeze()
    gc.enable()
    main.run()


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)


if __name__ == "__main__":
    run()
