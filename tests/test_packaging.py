"""What is declared is what was tried: lowest versions, the versions of CI, and what the wheel holds."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {name: [Requirement(each) for each in given] for name, given in PROJECT["optional-dependencies"].items()}
FOR_TESTS = ("dev", "frameworks", "optimizers")


def pins(path: str) -> dict[str, Version]:
    """Versions of a constraints file, by name."""
    lines = [line.partition("#")[0].strip() for line in (ROOT / path).read_text().splitlines()]
    return {canonicalize_name(name): Version(pin) for name, pin in (line.split("==") for line in lines if line)}


CI, LOWEST, LIBRARIES = (pins(f"tests/{name}.txt") for name in ("constraints", "lowest", "frameworks/libraries"))
DECLARED = [
    *(Requirement(each) for each in PROJECT["dependencies"]),
    *(
        each
        for name, given in EXTRAS.items()
        if name not in FOR_TESTS
        for each in given
        if each.name != PROJECT["name"]
    ),
]


@pytest.mark.parametrize("requirement", [each for each in DECLARED if each.name != "torch"], ids=str)
def test_the_lowest_version_declared_is_run(requirement: Requirement) -> None:
    """By .ci/lowest, or, where what it needs is too new for that, by the README's command."""
    (bound,) = requirement.specifier
    name = canonicalize_name(requirement.name)
    assert bound.operator == ">="
    assert LOWEST.get(name, CI.get(name)) == Version(bound.version)


def test_everything_that_ci_installs_is_pinned_once() -> None:
    """Else a release of somebody else's turns main red. torch is unproven below what CI installs."""
    needed = [*DECLARED, *(each for name in FOR_TESTS for each in EXTRAS[name])]
    untried = {"adamw-scale", *(canonicalize_name(each.name) for each in [*EXTRAS["mlflow"], *EXTRAS["trackio"]])}
    assert {canonicalize_name(each.name) for each in needed} - untried <= CI.keys()
    assert not CI.keys() & LIBRARIES.keys()


def test_groups_for_tests_have_no_lowest_versions() -> None:
    """They are installed in one version, so that no other can be promised."""
    bounds = [bound for name in FOR_TESTS for each in EXTRAS[name] for bound in each.specifier]
    assert not [bound for bound in bounds if bound.operator.startswith(">")]


def test_ci_runs_the_lowest_versions_with_all_extras_but_one() -> None:
    """wandb needs a newer click than the lowest typer; its lowest version is in the versions of CI."""
    script = (ROOT / ".ci" / "lowest").read_text()
    (extras,) = re.findall(r"^extras=([a-z,]+)$", script, re.MULTILINE)
    assert {*extras.split(","), "wandb", *FOR_TESTS} == EXTRAS.keys()
    assert ".ci/lowest" in (ROOT / ".ci" / "run").read_text()


def test_the_wheel_is_typed(tmp_path: Path) -> None:
    """It holds py.typed beside the modules, and no tests."""
    pytest.importorskip("hatchling")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, capture_output=True, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"adamw_scale/py.typed", "adamw_scale/__init__.py"} <= names
    assert not [name for name in names if name.startswith("tests/")]
