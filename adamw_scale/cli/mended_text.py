"""What was changed in a user's file, as a unified diff, and the file written with a backup."""

import difflib
import os
import shutil
from itertools import count
from pathlib import Path

from adamw_scale.auditing.mending import Mended
from adamw_scale.errors import SpecError
from adamw_scale.files import write_atomically

UNENDED = "\n\\ No newline at end of file\n"  # as diff and git say it


def unified(file: str, before: str, done: Mended) -> str:
    """A diff that `patch` and `git apply` take; empty where nothing changed."""
    old, new = before.splitlines(keepends=True), done.text.splitlines(keepends=True)
    lines = difflib.unified_diff(old, new, f"a/{file}", f"b/{file}")
    return "".join(line if line.endswith("\n") else line + UNENDED for line in lines).rstrip("\n")


def rewrite(path: Path, text: str) -> str:
    """Write the new text where the old one was, of which a copy is kept beside it; what was done, for people.

    Raises:
        SpecError: the file or its folder cannot be written.
    """
    real = Path(os.path.realpath(path))
    names = (real.with_name(f"{real.name}.bak{number or ''}") for number in count())
    backup = next(name for name in names if not name.exists())
    try:
        shutil.copy2(real, backup)
        write_atomically(real, text.encode())
        shutil.copymode(backup, real)
    except OSError as error:
        raise SpecError(f"--fix: {path}: {error.strerror or error}. Make it and its folder writable") from None
    return f"{path} is changed; as it was it is in {backup.name}"
