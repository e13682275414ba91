"""Run by Python at its start, where the hook's folder is on its path: waits until torch is imported.

The environment variable `PLAN` holds what to do, in JSON: "folder", where records are written, and "steps", after how
many of an optimizer the training is interrupted (null: never). Without it nothing happens. A sitecustomize of the
user's own that this one hides is run as well.
"""

from __future__ import annotations

import atexit
import os
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType
from typing import Any, Sequence  # noqa: UP035  # as old as the oldest Python

PLAN = "ADAMW_SCALE_WATCH"
AWAITED = "torch.optim.optimizer"
OTHERS = ("jax", "tensorflow")  # libraries that train without torch
HERE = os.path.dirname(os.path.abspath(__file__))


def load(name: str, path: str) -> ModuleType:
    """A module from a file, known by a name that nobody else has."""
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


class _Recording(Loader):
    """Loads a module as its own loader does, and then hooks it."""

    def __init__(self, own: Any) -> None:
        self.own = own

    def create_module(self, spec: ModuleSpec) -> Any:
        return self.own.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self.own.exec_module(module)
        _record()


class _Waiting(MetaPathFinder):
    """Finds one module, once, in the way in which it would be found anyway."""

    plan = os.environ.get(PLAN, "")  # as it is at the start: the training may change its environment

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != AWAITED:
            return None
        sys.meta_path.remove(self)
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                if spec.loader is not None and hasattr(spec.loader, "exec_module"):
                    spec.loader = _Recording(spec.loader)
                return spec
        return None


def _record() -> None:
    """Start recording; where that fails the training goes on as without us."""
    try:
        load("_adamw_scale_recorder", os.path.join(HERE, "recorder.py")).install(_Waiting.plan)
    except Exception as error:
        print(f"adamw-scale: this process cannot be watched: {error!r}", file=sys.stderr)


def _at_exit() -> None:
    """Note a process that could have trained, and did not with an optimizer of torch."""
    recorder = sys.modules.get("_adamw_scale_recorder")
    seen = [name for name in ("torch", *OTHERS) if name in sys.modules]
    if seen and not getattr(recorder, "has_recorded", bool)():
        import json

        folder = json.loads(_Waiting.plan)["folder"]
        if os.path.isdir(folder):
            with open(os.path.join(folder, f"idle-{os.getpid()}.json"), "w") as file:
                json.dump({"libraries": seen}, file)


def _run_the_hidden() -> None:
    """The sitecustomize that Python would have run without this one."""
    spec = PathFinder.find_spec("sitecustomize", [place for place in sys.path if os.path.abspath(place) != HERE])
    if spec is not None and spec.loader is not None:
        module = module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)


if __name__ == "sitecustomize":
    sys.path[:] = [place for place in sys.path if os.path.abspath(place) != HERE]
    if _Waiting.plan:
        sys.meta_path.insert(0, _Waiting())
        atexit.register(_at_exit)
    _run_the_hidden()
