"""The app, and the single place where errors become messages and exit codes.

0 answer · 1 the answer is a problem · 2 bad input or usage · 130 interrupted. The answer goes to
stdout, everything else to stderr. A traceback is a bug.
"""

import os
import sys
import warnings
from contextlib import suppress
from importlib import import_module
from io import TextIOWrapper
from typing import Annotated, Any, NoReturn

import typer

from adamw_scale import __version__
from adamw_scale.errors import AdamWScaleError, SpecError, UnknownNameError
from adamw_scale.registry import SkippedPartWarning
from adamw_scale.units import printable

INTERRUPTED = 130
USAGE_ERROR: Any = typer.BadParameter.__base__  # click's UsageError until typer 0.26, since then typer's own

# One file each, of which only the one that is asked for is imported; help and unknown names need them all.
COMMANDS = (
    *("recommend", "ladder", "emit", "audit", "calibrate", "report", "probe"),
    *("convert", "timescale", "explain", "list", "recipes"),
)

app = typer.Typer(
    name="adamw-scale",
    help="Which weight decay to use with AdamW, why, and how sure that is.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"adamw-scale {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Which weight decay to use with AdamW, why, and how sure that is.

    AdamW's weights are a moving average of its updates over 1/(lr·λ) steps. That timescale is what
    transfers between runs; recommend turns your run into a timescale and the timescale into λ,
    calibrate measures it on your data, emit writes it as your framework's config.
    """


def run() -> None:
    """Run the command line and exit."""
    _prepare_streams()
    _say_what_is_skipped()
    asked = sys.argv[1] if len(sys.argv) > 1 else ""
    for name in [asked] if asked in COMMANDS else COMMANDS:
        command = import_module(f"adamw_scale.cli.{name}").command
        app.add_typer(command, name=name) if isinstance(command, typer.Typer) else app.command(name)(command)
    try:
        _refuse_undecodable(sys.argv[1:])
        if asked and not asked.startswith("-") and asked not in COMMANDS:
            raise UnknownNameError("command", asked, COMMANDS)
        code = app(sys.argv[1:] or ["--help"], prog_name="adamw-scale", standalone_mode=False)
        sys.stdout.flush()
        if code == INTERRUPTED:  # typer turns Ctrl-C into this status
            raise KeyboardInterrupt
    except AdamWScaleError as error:
        _fail(str(error), error.status)
    except USAGE_ERROR as error:
        message = error.format_message()
        command = f"{asked} " if asked in COMMANDS else ""
        _fail(f"{_one_line(message)} Try: adamw-scale {command}--help" if message else "")
    except (KeyboardInterrupt, typer.Abort):
        kept = "; finished probes are kept, the same command goes on from them" if asked == "calibrate" else ""
        _fail(f"interrupted{kept}", INTERRUPTED)
    except BrokenPipeError:
        # The reader left; python would complain while flushing stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        _fail(f"{error.filename or 'output'}: {error.strerror or error}. Check the path, its permissions and the disk")
    sys.exit(code if isinstance(code, int) else 0)


def _prepare_streams() -> None:
    """Closed streams swallow what is written; characters a terminal lacks are replaced, not fatal."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115  # open for as long as the process lives
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115  # the same
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


def _say_what_is_skipped() -> None:
    """A part that is left out is one line, whatever filters are set; other warnings are shown as ever."""
    show = warnings.showwarning

    def in_one_line(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
        if issubclass(category, SkippedPartWarning):
            print(f"adamw-scale: {_one_line(str(message))}", file=sys.stderr)
        else:
            show(message, category, *rest, **more)

    warnings.simplefilter("always", SkippedPartWarning)
    warnings.showwarning = in_one_line


def _refuse_undecodable(arguments: list[str]) -> None:
    """SpecError for an argument whose bytes are no text: it could be neither stored nor shown."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise SpecError(
                f"{ascii(argument)[:200]} is no text in this locale: pass UTF-8, or set PYTHONUTF8=1"
            ) from None


def _fail(message: str, code: int = 2) -> NoReturn:
    if message:
        with suppress(OSError):
            print(f"adamw-scale: {_one_line(message)[:2000]}", file=sys.stderr)
    sys.exit(code)


def _one_line(message: str) -> str:
    return printable(message)
