"""Parts of libraries whose packages want torchvision, which is not installed, when they are imported as a whole."""

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any


def part_of(module: str, *packages: str, **given: Any) -> Any:
    """A module, with these packages as bare folders, of which the last one offers the names that are given."""
    library = module.partition(".")[0]
    spec = find_spec(library)
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(library)
    place = spec.submodule_search_locations[0]
    for package in (library, *packages):
        sys.modules[package] = ModuleType(package)
        sys.modules[package].__path__ = [place + package.removeprefix(library).replace(".", "/")]
    vars(sys.modules[packages[-1] if packages else library]).update(given)
    return import_module(module)


def composers_own() -> Any:
    """Composer's optimizers."""
    return part_of("composer.optim.decoupled_weight_decay", "composer.optim", "composer.utils", dist=None)


def timms_own(module: str) -> Any:
    """A module of timm."""
    return import_module(module) if "timm" in sys.modules else part_of(module, "timm.models", group_parameters=None)
