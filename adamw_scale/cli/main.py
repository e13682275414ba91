"""The app, and the single place where errors become messages and exit codes.

0 answer · 1 the answer is a problem · 2 bad input or usage · 130 interrupted · 143 terminated · 129 the terminal is
gone. The answer goes to stdout, everything else to stderr. A traceback is a bug.
"""

import os
import signal
import sys
import threading
import warnings
from _thread import interrupt_main
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from io import TextIOWrapper
from types import FrameType
from typing import Annotated, Any, NoReturn, TextIO, cast

import typer

from adamw_scale import __version__
from adamw_scale.cli.text import Answer, Unheard, say
from adamw_scale.errors import AdamWScaleError, SpecError, UnknownNameError
from adamw_scale.registry import SkippedPartWarning
from adamw_scale.units import printable

INTERRUPTED = 130
ENDINGS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
if sys.platform != "win32":
    ENDINGS[signal.SIGHUP] = "its terminal is gone"
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
    asked = sys.argv[1] if len(sys.argv) > 1 else ""
    kept = "; finished probes are kept, the same command goes on from them" if asked == "calibrate" else ""
    try:
        _prepare_streams()
        _say_what_is_skipped()
        _load(asked)
        _refuse_undecodable(sys.argv[1:])
        if asked and not asked.startswith("-") and asked not in COMMANDS:
            raise UnknownNameError("command", asked, COMMANDS)
        with _ending_in_order():
            code = app(sys.argv[1:] or ["--help"], prog_name="adamw-scale", standalone_mode=False)
            sys.stdout.flush()
        if code == INTERRUPTED:  # typer turns Ctrl-C into this status
            raise KeyboardInterrupt
    except AdamWScaleError as error:
        _fail(str(error), error.status)
    except USAGE_ERROR as error:
        message = error.format_message()
        command = f"{asked} " if asked in COMMANDS else ""
        _fail(f"{printable(message)[:1900]} Try: adamw-scale {command}--help" if message else "")
    except (KeyboardInterrupt, typer.Abort):
        _fail(f"{ENDINGS[signal.SIGINT]}{kept}", INTERRUPTED)
    except _TerminatedError as end:
        _fail(f"{ENDINGS[end.number]}{kept}", 128 + end.number)
    except OSError as error:
        _fail(f"{error.filename or 'output'}: {error.strerror or error}. Check the path, its permissions and the disk")
    sys.exit(code if isinstance(code, int) else 0)


class _TerminatedError(BaseException):
    """SIGTERM, as of a batch system that preempts, or SIGHUP: what is going on ends in order, as after Ctrl-C."""

    def __init__(self, number: int) -> None:
        self.number = signal.Signals(number)


@contextmanager
def _ending_in_order() -> Iterator[None]:
    """Signals that end become exceptions here, again where Python ignored one, as in what a weak reference calls."""

    def end(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt if number == signal.SIGINT else _TerminatedError(number)

    def unraisable(ignored: "sys.UnraisableHookArgs") -> None:
        if isinstance(ignored.exc_value, KeyboardInterrupt | _TerminatedError):
            number = getattr(ignored.exc_value, "number", signal.SIGINT)
            threading.Timer(0.01, interrupt_main, [number]).start()
        else:
            shown(ignored)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in ENDINGS}
    shown, sys.unraisablehook = sys.unraisablehook, unraisable
    for number in before:
        if before[number] != signal.SIG_IGN:
            signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        sys.unraisablehook = shown


def _load(asked: str) -> None:
    """The command that is asked for, or all of them."""
    for name in [asked] if asked in COMMANDS else COMMANDS:
        command = import_module(f"adamw_scale.cli.{name}").command
        app.add_typer(command, name=name) if isinstance(command, typer.Typer) else app.command(name)(command)


def _prepare_streams() -> None:
    """Streams that are closed, full or gone swallow what is written; characters a terminal lacks are replaced."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:  # else the next file would be one of the streams
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115  # open for as long as the process lives
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115  # the same
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    if not isinstance(sys.stdout, Answer):  # as where a program calls us several times
        sys.stdout = cast(TextIO, Answer(sys.stdout))
    if not isinstance(sys.stderr, Unheard):
        sys.stderr = cast(TextIO, Unheard(sys.stderr))


def _say_what_is_skipped() -> None:
    """A part that is left out is one line, whatever filters are set; other warnings are shown as ever."""
    show = warnings.showwarning

    def in_one_line(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
        if issubclass(category, SkippedPartWarning):
            say(f"adamw-scale: {message}")
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
        say(f"adamw-scale: {message[:2000]}")
    sys.exit(code)
