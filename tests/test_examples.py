"""Every example runs, from a folder of its own, and says what it promises."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
# What each prints, and its arguments; {dir} is a folder. The three below train for minutes.
QUICK = {
    "plain_torch.py": ((), "nothing to complain about"),
    "hf_trainer.py": (("{dir}",), "planned"),
    "mup_sweep.py": ((), "width"),
    "own_script.py": (("--lr", "2e-3", "--weight-decay", "0.5", "--max-steps", "20"), '{"loss": '),
    "shell_user.sh": (("{dir}",), "--weight-decay 0."),
}
MINUTES = {
    "own_script.sh": (("{dir}", "--seeds", "2"), "weight decay"),
    "wang_aitchison.py": (("{dir}",), "slope"),
    "does_calibrating_pay.py": (("{dir}",), "recommended"),
}


def run(name: str, folder: Path, arguments: tuple[str, ...]) -> str:
    """What an example prints; the command line that it calls is this environment's."""
    start = ["bash"] if name.endswith(".sh") else [sys.executable]
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    outcome = subprocess.run(
        [*start, str(EXAMPLES / name), *(argument.format(dir=folder) for argument in arguments)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PATH": paths},
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr[-3000:]
    return outcome.stdout


def test_every_example_is_tested() -> None:
    """Here, or with those that take minutes."""
    files = {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".sh")}
    assert files == {*QUICK, *MINUTES}


@pytest.mark.parametrize("name", QUICK)
def test_it_runs(name: str, tmp_path: Path) -> None:
    """Within seconds."""
    arguments, says = QUICK[name]
    assert says in run(name, tmp_path, arguments)


@pytest.mark.slow
@pytest.mark.parametrize("name", MINUTES)
def test_it_runs_for_minutes(name: str, tmp_path: Path) -> None:
    """To its end; a calibration is there first where one is compared with."""
    if name == "does_calibrating_pay.py":
        command = [sys.executable, "-m", "adamw_scale", "calibrate", "--out", str(tmp_path)]
        subprocess.run(command, check=True, capture_output=True)
    arguments, says = MINUTES[name]
    assert says in run(name, tmp_path, arguments)


def test_own_script_prints_what_calibrate_reads(tmp_path: Path) -> None:
    """Its last line is the held-out loss as JSON, the same for the same seed."""
    arguments, _ = QUICK["own_script.py"]
    first, second = (run("own_script.py", tmp_path, arguments) for _ in range(2))
    assert first == second
    assert json.loads(first.splitlines()[-1])["loss"] < 6
