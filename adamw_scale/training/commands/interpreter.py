"""Which Python a command starts: the one that this package runs in, or one that may lack what the training needs."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from functools import cache
from pathlib import Path

PYTHON = re.compile(r"python(3(\.\d+)?)?")
LAUNCHERS = ("torchrun", "accelerate", "deepspeed", "composer")  # scripts that go on in the Python they belong to
ASK = "import sys; print(sys.prefix, *sys.version_info[:2], sep='\\n')"
LONGEST_ANSWER = 10.0  # seconds
OWN = [os.path.realpath(sys.prefix), *map(str, sys.version_info[:2])]


def other_python(program: str) -> str | None:
    """What to tell of a command's program that starts the Python of another environment; None of any other program."""
    name, found = Path(program).name, shutil.which(program)
    if found is None or not (PYTHON.fullmatch(name) or name in LAUNCHERS):
        return None
    is_python = name not in LAUNCHERS
    prefix, *version = _environment(found if is_python else _shebang(Path(found)))
    if not version or [os.path.realpath(prefix), *version] == OWN:
        return None
    own = sys.executable if is_python else os.path.join(sysconfig.get_path("scripts"), name)
    return (
        f"{program!r} in --command is {found}, of {prefix} (Python {'.'.join(version)}); adamw-scale runs in "
        f"{sys.prefix} (Python {OWN[1]}.{OWN[2]}): to train there, activate that environment or write {own}"
    )


@cache
def _environment(interpreter: str | None) -> list[str]:
    """Prefix and version, as the interpreter says itself, since links and shims hide them; [""] where it does not."""
    if interpreter is None:
        return [""]
    try:
        asked = [interpreter, "-I", "-c", ASK]
        answer = subprocess.run(asked, capture_output=True, text=True, timeout=LONGEST_ANSWER, check=False)
    except (OSError, ValueError, subprocess.SubprocessError):
        return [""]
    lines = answer.stdout.splitlines()
    return lines if len(lines) == 3 else [""]


def _shebang(script: Path) -> str | None:
    """The Python that a script's first line names, directly or through env; None where it names none."""
    try:
        with script.open("rb") as file:
            first = os.fsdecode(file.readline(1024))
    except OSError:
        return None
    named = [word for word in first.removeprefix("#!").split() if not word.startswith("-") and Path(word).name != "env"]
    is_python = first.startswith("#!") and named and PYTHON.fullmatch(Path(named[0]).name)
    return shutil.which(named[0]) if is_python else None
