"""Files: text of bounded size in, whole files or none out."""

import os
import secrets
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from adamw_scale.errors import SpecError


def read_text(path: str, limit: int) -> str:
    """Text of a file, or of stdin for `-`, at most `limit` bytes.

    Raises:
        SpecError: missing, not a regular file, too large, or not UTF-8 text.
    """
    return read_plain(path, limit).decode("utf-8-sig")


def read_plain(path: str, limit: int) -> bytes:
    """The bytes of a text, as `read_text` takes it, with whatever line ends and byte order mark they have."""
    name = "stdin" if path == "-" else path[:200]
    try:
        if path == "-":
            data = sys.stdin.buffer.read(limit + 1) if sys.stdin is not None else b""
        else:
            if not path or not stat.S_ISREG(Path(path).stat().st_mode):
                raise SpecError(f"{name or 'an empty path'} is not a file. Pass a file, or - and pipe the text in")
            with Path(path).open("rb") as file:
                data = file.read(limit + 1)
    except (OSError, ValueError) as error:
        raise SpecError(f"{name}: {getattr(error, 'strerror', None) or error}. Pass a readable file") from None
    if len(data) > limit:
        raise SpecError(f"{name}: larger than {limit >> 10} KiB, so it is not what is read here. Pass another file")
    try:
        data.decode()
    except UnicodeDecodeError:
        raise SpecError(f"{name}: not UTF-8 text. Pass a text file") from None
    if b"\0" in data:
        raise SpecError(f"{name}: a binary file. Pass a text file")
    return data


def write_atomically(
    path: Path, content: str | bytes | Callable[[BinaryIO], None], *, may_hold_secrets: bool = False
) -> None:
    """Write a file so that it is either the old one or the whole new one, whenever the process dies.

    Args:
        path: The file; its folder must exist.
        content: Text, bytes, or what writes them into an open file.
        may_hold_secrets: Nobody but its owner may read it; otherwise the umask says who may.
    """
    temporary = None
    try:
        unused = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}")
        how = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        descriptor = os.open(unused, how, 0o600 if may_hold_secrets else 0o666)
        temporary = unused
        with os.fdopen(descriptor, "wb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        if temporary is not None:
            with suppress(OSError):  # its folder may be gone
                os.unlink(temporary)
        if isinstance(error, OSError):  # its name is that of the temporary file, which nobody knows
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise
