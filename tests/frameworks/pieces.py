"""Single definitions of an installed library's own source, run without its package, which wants GPU libraries."""

import __future__

import ast
import dataclasses
import importlib.util
import math
import shlex
import typing
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

GIVEN: dict[str, Any] = {
    **{name: getattr(typing, name) for name in ("Any", "Callable", "Dict", "List", "Literal", "Optional", "Union")},
    **{name: getattr(dataclasses, name) for name in ("dataclass", "field", "fields", "FrozenInstanceError")},
    "torch": torch,
    "nn": torch.nn,
    "math": math,
    "partial": partial,
    "AdamW": torch.optim.AdamW,
    "LambdaLR": torch.optim.lr_scheduler.LambdaLR,
}


def text_of(package: str, path: str) -> str:
    """A file of a package, which is not imported; skips where it is not installed."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        pytest.skip(f"{package} is not installed")
    return (Path(found.submodule_search_locations[0]) / path).read_text()


def source(package: str, path: str) -> ast.Module:
    """The tree of a file of a package."""
    return ast.parse(text_of(package, path))


def run(nodes: list[Any], **given: Any) -> SimpleNamespace:
    """What statements make, with names that they take from elsewhere; annotations are not looked up."""
    namespace: dict[str, Any] = {"__name__": __name__, **GIVEN, **given}
    flags = __future__.annotations.compiler_flag
    tree = ast.fix_missing_locations(ast.Module(nodes, []))
    exec(compile(tree, "piece", "exec", flags=flags, dont_inherit=True), namespace)
    return SimpleNamespace(**namespace)


def definitions(package: str, path: str, *names: str, **given: Any) -> SimpleNamespace:
    """Functions and classes of a file, and methods as functions."""
    tree = source(package, path)
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in names]
    assert {node.name for node in nodes} == set(names)
    return run(nodes, **given)


def assigned(package: str, path: str, *names: str, **given: Any) -> SimpleNamespace:
    """What the first assignments to these names make, wherever in the file they stand."""
    found: dict[str, ast.Assign] = {}
    for node in ast.walk(source(package, path)):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in names:
            found.setdefault(node.targets[0].id, node)
    assert found.keys() == set(names)
    return run(sorted(found.values(), key=lambda node: node.lineno), **given)


def arguments(snippet: str) -> list[str]:
    """The arguments in a snippet's array."""
    rows = [line.strip() for line in snippet.splitlines() if line.startswith("    --")]
    return [part for row in rows for part in shlex.split(row)]
