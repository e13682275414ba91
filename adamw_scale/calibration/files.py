"""The folder of a calibration: what its files are called, and how they are read and written."""

import re
from contextlib import suppress
from pathlib import Path

from adamw_scale.errors import CalibrationError, SpecError
from adamw_scale.files import read_text, write_atomically
from adamw_scale.spec.measurement import Calibration

CALIBRATION_FILE = "calibration.json"
COMMAND_FILE = "command.txt"  # the command line that made it, if one did
MAX_COMMAND_BYTES = 1 << 20
VERSION = 2  # of the schema
MAX_CALIBRATION_BYTES = 1 << 24


def folder_of(out: str | Path) -> Path:
    """The folder of a calibration, which need not be there yet.

    Raises:
        CalibrationError: it has no name, or is a file.
    """
    folder = Path(out)
    if not str(out):
        raise CalibrationError("--out '' names no folder: pass one, such as --out my-calibration")
    if folder.exists() and not folder.is_dir():
        raise CalibrationError(f"--out {out} is a file: pass a folder")
    return folder


def load_calibration(path: str | Path) -> Calibration:
    """Read calibration.json, or the folder that holds it.

    Raises:
        CalibrationError: missing, not a calibration, or written by another version.
    """
    file = Path(path)
    file = file / CALIBRATION_FILE if file.is_dir() else file
    if not str(path) or not file.is_file():
        raise CalibrationError(f"no calibration at {str(path)!r}: pass the calibration.json that calibrate wrote")
    try:
        if file.stat().st_size > MAX_CALIBRATION_BYTES:
            raise CalibrationError(f"{file} is too large to be a calibration: pass the one that calibrate wrote")
        content = file.read_bytes()
        _refuse_newer(content, file)
        return Calibration.from_json(content)
    except OSError as error:
        raise CalibrationError(f"{file}: {error.strerror or error}. Pass a readable calibration.json") from None
    except SpecError as error:
        raise CalibrationError(f"{file} is not a calibration: {error}") from None


def command_of(folder: Path) -> str | None:
    """The command line that a folder's calibration was made with, if that was kept.

    Raises:
        SpecError: the file is no text.
    """
    file = folder / COMMAND_FILE
    return read_text(str(file), MAX_COMMAND_BYTES).strip() if file.is_file() else None


def refuse_newer(folder: str | Path) -> None:
    """CalibrationError where a folder holds the calibration of a newer version, which would be lost."""
    with suppress(OSError):
        file = Path(folder) / CALIBRATION_FILE
        if file.is_file():
            _refuse_newer(file.read_bytes()[:MAX_CALIBRATION_BYTES], file)


def _refuse_newer(content: bytes, file: Path) -> None:
    found = re.search(rb'"schema"\s*:\s*"adamw-scale/calibration/([0-9]{1,9})"', content)
    if found and int(found[1]) > VERSION:
        raise CalibrationError(
            f"{file} was written by a newer version (adamw-scale/calibration/{int(found[1])}): upgrade with "
            "pip install --upgrade adamw-scale, or choose another folder"
        )


def save_calibration(calibration: Calibration, folder: str | Path) -> None:
    """Write calibration.json into its folder, whole or not at all."""
    write_atomically(Path(folder) / CALIBRATION_FILE, calibration.to_json(indent=2) + "\n")
