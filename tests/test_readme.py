"""The README does not drift: its output, its tables and its examples are checked."""

import doctest
import os
import re
import shlex
import sys
from pathlib import Path

import pytest
from conftest import Command
from PIL import Image
from sklearn.datasets import load_digits

from adamw_scale.evidence import recipes
from adamw_scale.frameworks import FRAMEWORKS
from adamw_scale.law.fitted import LEFT_OUT

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str, text: str = README) -> list[str]:
    """Fenced blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def test_first_command_prints_what_the_readme_shows(adamw_scale: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that makes a venv, installs and recommends; the block below it is its real output."""
    monkeypatch.setenv("COLUMNS", "80")
    command = blocks("sh")[0]
    assert command.count("\n") == 1
    assert "python3 -m venv" in command
    words = shlex.split(command)
    outcome = adamw_scale(*words[words.index(".venv/bin/adamw-scale") + 1 :])
    assert blocks("text")[0] == outcome.out


def test_test_command_is_one_line_with_the_dev_extra() -> None:
    """The first sh block under the heading with 'tests' makes a venv, installs and tests."""
    section = re.split(r"^## .*tests.*$", README, flags=re.MULTILINE | re.IGNORECASE)[1]
    command = blocks("sh", section)[0]
    assert command.count("\n") == 1
    assert "venv" in command
    assert "-c tests/constraints.txt '.[dev]'" in command
    assert "pytest" in command


def test_every_recommend_and_emit_example_runs(adamw_scale: Command, project: Path) -> None:
    """Examples that need no calibration are run as written, beside a script and the tuned run that is shown."""
    (project / "tuned.toml").write_text(blocks("toml")[0])
    examples = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("adamw-scale ")]
    ran = 0
    for line in examples:
        command, _, file = line.split(" | ")[0].partition(" > ")
        if "calibrat" not in command:
            outcome = adamw_scale(*shlex.split(command)[1:])
            assert outcome.code == 0, (command, outcome.err)
            if file:
                (project / file).write_text(outcome.out)
            ran += 1
    assert ran >= 5


def calibrate_examples() -> list[list[str]]:
    """Every example that calibrates, or uses a calibration, as words without the program's name."""
    lines = [line for block in blocks("sh") for line in block.splitlines() if "calibrat" in line]
    return [shlex.split(line)[1:] for line in lines if line.startswith("adamw-scale ")]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the examples name: a text, a script, a module with a task, images; `python` is this one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    monkeypatch.syspath_prepend(str(tmp_path))
    corpus = "".join(file.read_text() for file in sorted((ROOT / "adamw_scale").rglob("*.py")))
    (tmp_path / "my.txt").write_text(corpus)
    (tmp_path / "train.py").write_text((ROOT / "examples" / "own_script.py").read_text())
    (tmp_path / "mypackage").mkdir()
    tasks = (ROOT / "tests" / "training" / "own_tasks.py").read_text()
    (tmp_path / "mypackage" / "mymodule.py").write_text(f"{tasks}\n\nMyTask = Mixture\n")
    digits = load_digits()
    for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        folder = tmp_path / "images" / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * 15).astype("uint8")).save(folder / f"{number}.png")
    return tmp_path


def test_every_calibrate_example_can_be_planned(project: Path, adamw_scale: Command) -> None:
    """Options, data, module and script are as written; --plan shows what would run, and what it costs."""
    planned = 0
    for words in calibrate_examples():
        if words[0] == "calibrate":
            outcome = adamw_scale(words[0], "--plan", *words[1:])
            assert outcome.code == 0, (words, outcome.err)
            assert "probes likely" in outcome.out
            planned += 1
    assert planned >= 5


@pytest.mark.slow
def test_every_calibrate_example_runs(project: Path, adamw_scale: Command) -> None:
    """One after the other, as written; those that write into one folder replace what was there, as the last did."""
    for words in calibrate_examples():
        outcome = adamw_scale(*words)
        answered = {"calibrate": (0, 1), "recommend": (0,), "emit": (0,)}[words[0]]
        assert outcome.code in answered, (words, outcome.err)
        assert outcome.out


def test_python_example_runs() -> None:
    """The Python session gives what it shows."""
    test = doctest.DocTestParser().get_doctest("".join(blocks("python")), {}, "README.md", "README.md", 0)
    assert doctest.DocTestRunner().run(test).failed == 0
    assert test.examples


def test_left_out_table_is_the_laws() -> None:
    """Every source: how many of its optima lie in the range that all others give, and its bias; tests/law refits."""
    rows = [f"| {source} | {inside} of {optima} | {bias:+.1f} |" for source, inside, optima, bias in LEFT_OUT]
    assert "\n".join(rows) in README


def test_what_is_long_is_shown_by_the_program() -> None:
    """The README is read in one sitting; rules, conventions, schedules and frameworks are pages of `explain`."""
    assert len(README.encode()) <= 20_500
    assert "adamw-scale explain" in README


def test_numbers_of_parts_are_those_there_are() -> None:
    """How many frameworks are written, and how many recipes a run is placed among."""
    parts = [part for _, part in FRAMEWORKS.items()]
    written = [part for part in parts if part.emits]
    proven = [part for part in written if "source only" not in part.proven]
    assert f"For {len(written)} frameworks, {len(proven)} of them proven" in README
    assert f"of {len(parts)} frameworks" in README
    assert f"among {len(recipes())} published ones" in README


def test_ci_runs_the_readmes_own_command() -> None:
    """The CI script takes its command from the README."""
    assert "README.md" in (ROOT / ".ci" / "run").read_text()
