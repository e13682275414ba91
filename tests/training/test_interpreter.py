"""Which Python a command starts, told before the first probe where it is not the one that the package runs in."""

import os
import sys
import venv
from pathlib import Path

import pytest

from adamw_scale.calibration import plan
from adamw_scale.training.commands.interpreter import LAUNCHERS, other_python

RUN = {"unit": "samples", "dataset_size": 1e5, "batch_size": 100, "epochs": 4, "peak_lr": 1e-3}


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of another environment."""
    home = tmp_path_factory.mktemp("other")
    venv.create(home, with_pip=False, symlinks=True)
    return home / "bin"


def first_on_path(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let a folder's programs be found first."""
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


@pytest.mark.parametrize("name", ["python", "python3"])
def test_the_python_of_another_environment_is_told(elsewhere: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Found through PATH: both environments and the path to write, in one line, although both link to one program."""
    first_on_path(monkeypatch, elsewhere)
    told = other_python(name)
    assert told is not None
    for part in (str(elsewhere / name), str(elsewhere.parent), sys.prefix, f"write {sys.executable}"):
        assert part in told
    assert "\n" not in told


def test_it_is_said_with_the_plan(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A calibration says it before the first probe, in a line of its own."""
    first_on_path(monkeypatch, elsewhere)
    options = {"command": "python train.py --wd {weight_decay}"}
    says = plan("command", task_options=options, run=RUN).sweeps[0].data.splitlines()
    assert [line.startswith("'python' in --command is ") for line in says] == [False, True]


def test_this_python_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by its path nor through PATH, nor through a link to its environment."""
    assert other_python(sys.executable) is None
    (tmp_path / "linked").symlink_to(sys.prefix)
    assert other_python(str(tmp_path / "linked" / Path(sys.executable).relative_to(sys.prefix))) is None
    shim = tmp_path / "bin" / "python"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    shim.chmod(0o755)
    first_on_path(monkeypatch, shim.parent)
    assert other_python("python") is None


@pytest.mark.parametrize("name", LAUNCHERS)
def test_launchers_go_on_in_the_python_they_belong_to(
    elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Which their first line names, wherever they lie."""
    for interpreter, is_other in ((elsewhere / "python", True), (Path(sys.executable), False)):
        (tmp_path / name).write_text(f"#!{interpreter}\n")
        (tmp_path / name).chmod(0o755)
        first_on_path(monkeypatch, tmp_path)
        assert (other_python(name) is not None) == is_other


@pytest.mark.parametrize("name", ["true", "sh", "no-such-program"])
def test_other_programs_are_their_own_affair(name: str) -> None:
    """Whatever language they are in."""
    assert other_python(name) is None
