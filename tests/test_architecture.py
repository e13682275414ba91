"""The house rules: imports run one way, heavy libraries stay in their rooms, the public door is complete."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import adamw_scale

PACKAGE = Path(adamw_scale.__file__).parent

# Each storey may import from the ones before it, and from its own.
STOREYS = [
    {"errors", "units", "registry"},
    {"timescale", "curves", "fitting", "conventions", "parametrizations", "lr_laws", "batch_scaling", "formats"},
    {"schedules"},
    {"weight_decay_schedules"},
    {"ema_window", "ema_coefficients"},
    {"noun"},
    {"spec"},
    {"rules", "evidence", "frameworks", "conversion"},
    {"advisor"},
    {"audit"},
    {"probe"},
    {"calibration"},
    {"report"},
    {"integrations"},
    {"cli"},
    {"__main__"},
]
ROOMS = {
    "torch": {"probe", "integrations"},
    "transformers": {"integrations"},
    "lightning": {"integrations"},
    "scipy": set(),
    "plotille": {"cli"},
    "matplotlib": {"report"},
    "jinja2": {"report"},
    "markupsafe": {"report"},
    "numpy": {"ema_coefficients", "fitting", "calibration", "probe", "report"},
    "rich": {"cli"},
    "typer": {"cli"},
    "yaml": {"formats"},
}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def room(path: Path) -> str:
    """The top-level module or folder a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Every module a file imports anywhere, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path: Path) -> None:
    """No file imports from a higher storey, nor the package's own front door."""
    storey = {name: level for level, names in enumerate(STOREYS) for name in names}
    for name in imports(path):
        if name.startswith("adamw_scale."):
            other = name.split(".")[1]
            if other == "__version__":
                continue
            assert storey[other] <= storey[room(path)], f"{room(path)} imports {other}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_heavy_libraries_stay_in_their_rooms(path: Path) -> None:
    """torch trains, numpy fits, rich renders; nobody else touches them."""
    for name in imports(path):
        library = name.split(".")[0]
        if library in ROOMS:
            assert room(path) in ROOMS[library], f"{room(path)} imports {library}"


def test_no_function_imports_what_its_module_could() -> None:
    """Internal imports inside functions are for the command line, which loads only what a command uses, and for fitting."""
    lazy = set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                for inner in ast.walk(node):
                    if isinstance(inner, ast.ImportFrom) and str(inner.module).startswith("adamw_scale"):
                        lazy.add(room(path))
    assert lazy <= {"cli", "calibration", "__main__"}


def test_recommend_loads_nothing_heavy() -> None:
    """Advice starts without torch, numpy, scipy, matplotlib, yaml, rich or the probes."""
    code = (
        "import sys; sys.argv = 'adamw-scale recommend --params 1.3B --tokens 26B --batch-size 0.5M --lr 3e-4'.split()\n"
        "from adamw_scale.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted(sys.modules), file=sys.stderr)"
    )
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "weight decay 0.29" in outcome.stdout
    loaded = set(ast.literal_eval(outcome.stderr))
    heavy = {"torch", "numpy", "scipy", "matplotlib", "yaml", "rich", "adamw_scale.probe", "adamw_scale.calibration"}
    assert not loaded & heavy


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
