"""`python -m adamw_scale` and `adamw-scale`: the way in."""

import gc


def run() -> None:
    """Load the command line and run it.

    Loading makes many objects and drops few: collecting garbage meanwhile is a tenth of the time an
    answer takes. What is loaded stays, so it is set aside before collecting resumes.
    """
    gc.disable()
    from adamw_scale.cli import main

    gc.freeze()
    gc.enable()
    main.run()


if __name__ == "__main__":
    run()
