"""The house rules: imports run one way, heavy libraries stay in their rooms, the public door is complete."""

import ast
import importlib
import inspect
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import adamw_scale

PACKAGE = Path(adamw_scale.__file__).parent

# The rooms of the house, from the ground up: each may import from the ones before it, and from itself.
STOREYS = (
    {"errors", "units", "registry", "formats", "files"},
    {"theory"},
    {"noun"},
    {"spec"},
    {"evidence"},
    {"law", "rules", "frameworks"},
    {"advisor"},
    {"auditing"},
    {"hook"},
    {"training"},
    {"integrations"},
    {"watching"},
    {"probe"},
    {"calibration"},
    {"report", "explain"},
    {"cli"},
    {"__main__"},
)
LIBRARIES = {
    "torch": {"training", "integrations", "hook"},
    "transformers": {"integrations"},
    "lightning": {"integrations"},
    "scipy": set(),
    "plotille": {"cli"},
    "matplotlib": {"report"},
    "jinja2": {"report"},
    "markupsafe": {"report"},
    "numpy": {
        "law/fitting",
        "theory/coefficients",
        "theory/basin",
        "probe/search",
        "calibration",
        "training",
        "report",
        "hook/setting",
    },
    "rich": {"cli"},
    "typer": {"cli"},
    "tree_sitter": {"formats"},
    "tree_sitter_bash": {"formats"},
    "yaml": {"formats"},
}
FILES = sorted(PACKAGE.rglob("*.py"))
FRONT_DOOR = PACKAGE / "__init__.py"


def room(path: Path) -> str:
    """The top-level module or folder a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def name_of(path: Path) -> str:
    """A file's place in the house, such as theory/basin."""
    return path.relative_to(PACKAGE).with_suffix("").as_posix()


def imports(path: Path) -> set[str]:
    """Every module a file imports anywhere, also inside functions and for type checkers only."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def file_of(module: str) -> Path | None:
    """The file of this package that an import reaches: the module, or the module that a name is in."""
    parts = module.split(".")[1:]
    for length in range(len(parts), 0, -1):
        place = PACKAGE.joinpath(*parts[:length])
        for file in (place.with_suffix(".py"), place / "__init__.py"):
            if file.is_file():
                return file
    return None


@cache
def reached(path: Path) -> frozenset[Path]:
    """Files of this package that a file imports."""
    own = {name for name in imports(path) if name.startswith("adamw_scale.")}
    return frozenset(file for name in own if (file := file_of(name)) is not None and file != path)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_run_one_way(path: Path) -> None:
    """No file imports from a higher storey, nor the package's own front door."""
    if path == FRONT_DOOR:
        return  # it offers what all rooms make
    storey = {name: level for level, names in enumerate(STOREYS) for name in names}
    assert "adamw_scale" not in imports(path)
    for other in reached(path):
        assert storey[room(other)] <= storey[room(path)], f"{name_of(path)} imports {name_of(other)}"


def test_no_file_imports_itself_by_a_detour() -> None:
    """There is no circle of files, not even one that only a type checker walks."""
    sorter = TopologicalSorter({path: reached(path) for path in FILES if path != FRONT_DOOR})
    sorter.prepare()  # CycleError names the circle


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_heavy_libraries_stay_in_their_rooms(path: Path) -> None:
    """torch trains, numpy fits, rich renders; nobody else touches them."""
    for name in imports(path):
        library = name.split(".")[0]
        if library in LIBRARIES:
            assert {room(path), name_of(path)} & LIBRARIES[library], f"{name_of(path)} imports {library}"


def test_theory_knows_no_run_and_no_pydantic() -> None:
    """Floats in, floats out: nothing that the theory reaches, by any path, is a noun."""
    seen, waiting = set(), {path for path in FILES if room(path) == "theory"}
    while waiting:
        seen |= waiting
        waiting = {other for path in waiting for other in reached(path)} - seen
    assert {room(path) for path in seen} <= {"theory", "errors", "units"}
    assert not {name for path in seen for name in imports(path) if name.split(".")[0] == "pydantic"}


def test_training_takes_nothing_from_asking() -> None:
    """What trains a probe knows its configuration and its result, which are nouns, and nobody who asks for it."""
    for path in FILES:
        if room(path) == "training":
            assert not {name_of(other) for other in reached(path) if room(other) in ("probe", "calibration")}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_module_bears_the_name_of_what_it_defines(path: Path) -> None:
    """Else a name is a function at its first use and a module at the second."""
    own = path.parent.name if path.name == "__init__.py" else path.stem
    body = ast.parse(path.read_text()).body
    defined = {node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    assert own not in defined


def test_public_names_stay_what_they_are() -> None:
    """A public name is the same thing before and after every module of the package was imported."""
    first = {name: getattr(adamw_scale, name) for name in adamw_scale.__all__}
    for path in FILES:
        if not {name.split(".")[0] for name in imports(path)} & {"lightning", "transformers"}:
            module = ".".join(["adamw_scale", *path.relative_to(PACKAGE).with_suffix("").parts])
            importlib.import_module(module.removesuffix(".__init__"))
    assert {name: getattr(adamw_scale, name) for name in adamw_scale.__all__} == first


def test_public_functions_have_examples_that_run() -> None:
    """Whoever meets a public function first sees how it is used; doctest runs the example."""
    for name in adamw_scale.__all__:
        if inspect.isfunction(public := getattr(adamw_scale, name)):
            assert ">>> " in str(public.__doc__), name


def test_no_function_imports_what_its_module_could() -> None:
    """Internal imports inside functions are for the command line, which loads only what it uses, and for fitting."""
    lazy = set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                for inner in ast.walk(node):
                    if isinstance(inner, ast.ImportFrom) and str(inner.module).startswith("adamw_scale"):
                        lazy.add(room(path))
    assert lazy <= {"cli", "calibration", "__main__"}


def test_recommend_loads_nothing_heavy() -> None:
    """Advice starts without numpy, torch, yaml, rich or the probes, but for what typer itself loads."""
    code = (
        "import sys, typer; before = set(sys.modules)\n"
        "sys.argv = 'adamw-scale recommend --params 1.3B --tokens 26B --batch-size 0.5M --lr 3e-4'.split()\n"
        "from adamw_scale.cli import main\n"
        "try: main.run()\n"
        "except SystemExit: pass\n"
        "print(set(sys.modules) - before, file=sys.stderr)"
    )
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert outcome.stdout.startswith("weight decay 0.")
    loaded = set(ast.literal_eval(outcome.stderr))
    heavy = {"torch", "numpy", "scipy", "threadpoolctl", "filelock", "matplotlib", "yaml", "rich", "tree_sitter"}
    assert not loaded & (heavy | {"adamw_scale.probe", "adamw_scale.calibration"})


def test_public_names_are_complete_and_sorted() -> None:
    """__all__ is sorted, every name in it loads, and nothing else is offered."""
    assert sorted(adamw_scale.__all__) == adamw_scale.__all__
    for name in adamw_scale.__all__:
        assert getattr(adamw_scale, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = adamw_scale.no_such_name


def test_every_error_is_one_family() -> None:
    """One except clause catches everything this package raises on purpose, and the docstring draws them all."""
    from adamw_scale import errors

    classes = [item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, Exception)]
    assert all(issubclass(item, errors.AdamWScaleError) for item in classes)
    assert all(item.__name__ in str(errors.__doc__) for item in classes)
