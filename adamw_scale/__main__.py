"""`python -m adamw_scale` and `adamw-scale`: the way in."""

import gc
import os
import signal
from types import FrameType

INTERRUPTED = 130


def run() -> None:
    """Load the command line and run it; Ctrl-C before and after it ends the process without a word.

    Loading makes many objects and drops few: collecting garbage meanwhile is a tenth of the time an
    answer takes. What is loaded stays, so it is set aside before collecting resumes.
    """
    ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN  # as of what nohup or a shell starts in the background
    if not ignored:
        signal.signal(signal.SIGINT, _end)
    gc.disable()
    from adamw_scale.cli import main

    gc.freeze()
    gc.enable()
    if not ignored:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        main.run()
    finally:
        if not ignored:
            signal.signal(signal.SIGINT, _end)


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    run()
