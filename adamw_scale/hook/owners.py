"""Which module a weight is of, and what it is there: a hidden matrix, an embedding, an output layer, a gain or bias.

Modules are found among all objects that Python's collector knows, once for each optimizer. The names are the user's,
without what wrappers put before them.
"""

from __future__ import annotations

import gc
from typing import Any, Callable  # noqa: UP035  # as old as the oldest Python

import torch

HIDDEN, EMBEDDING, OUTPUT, NORM_AND_BIAS, FLAT = "hidden", "embedding", "output", "norm-and-bias", "flat"
WRAPPERS = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "_forward_module.")
PARALLEL = ("DistributedDataParallel", "DataParallel", "FullyShardedDataParallel", "DeepSpeedEngine")
OUTPUTS = ("lm_head", "head", "embed_out", "unembed", "output", "classifier", "score", "logits", "output_projection")
SHOWN = 8  # names of weights that are told of a role
LONGEST = 200  # characters of a name


def living(wanted: Callable[[type], bool]) -> list[Any]:
    """Every living object of the classes that are wanted. The objects are not touched, which may wake some up."""
    objects = gc.get_objects()
    classes = {each for each in set(map(type, objects)) if wanted(each)}
    return [each for each in objects if type(each) in classes] if classes else []


def is_named(name: str, library: str) -> Callable[[type], bool]:
    """Whether a class, or one that it comes from, has a name, in a library or one whose name starts so."""
    return lambda each: any(
        base.__name__ == name and str(base.__module__).startswith(library) for base in type.mro(each)
    )


class Owners:
    """The modules that live now, and what their weights are called."""

    def __init__(self) -> None:
        found = living(lambda each: issubclass(each, torch.nn.Module))
        modules = [each for each in found if "_parameters" in vars(each)]  # the others were not made yet
        inner = {id(child) for module in modules for child in module._modules.values() if child is not None}
        self.named: dict[int, tuple[str, Any, str]] = {}  # by id of a weight: its name, its module, its name there
        self.root: dict[int, int] = {}  # of a weight: the outermost module that holds it
        embeddings = [module for module in modules if _is_embedding(module)]
        self.vocabularies = {module.weight.shape[0] for module in embeddings if len(module.weight.shape) == 2}
        self.embedded = {id(module.weight) for module in embeddings}
        roots = [module for module in modules if id(module) not in inner]
        for root in sorted(roots, key=lambda each: -sum(1 for _ in each.modules())):
            for path, module in root.named_modules():
                for own, parameter in module._parameters.items():
                    if parameter is not None and id(parameter) not in self.named:
                        name = f"{path}.{own}" if path else own
                        self.named[id(parameter)] = (_plain(name, root), module, own)
                        self.root[id(parameter)] = id(root)
        self.outputs = self._outputs()

    def _outputs(self) -> set[int]:
        """Matrices of output layers, by their usual names, or where only one linear layer has a row for each token."""
        linear = [
            (name.rpartition(".")[0].rpartition(".")[2], module.weight)
            for name, module, own in self.named.values()
            if own == "weight" and isinstance(module, torch.nn.Linear) and module.weight.ndim == 2
        ]
        wide = {id(weight) for _, weight in linear if weight.shape[0] in self.vocabularies}
        return {id(weight) for name, weight in linear if name in OUTPUTS} | (wide if len(wide) == 1 else set())

    def knows(self, parameter: Any) -> bool:
        """Whether a module has this weight, and had it then."""
        _, module, own = self.named.get(id(parameter), (None, None, ""))
        return module is not None and module._parameters.get(own) is parameter

    def role(self, parameter: Any) -> str:
        """What a weight is; a flat one is many weights in a row, whose names nobody knows."""
        known = self.named.get(id(parameter))
        if id(parameter) in self.embedded:
            return EMBEDDING
        if getattr(parameter, "_is_flat_param", False) or type(parameter).__name__ == "FlatParameter":
            return FLAT
        if known is None:
            return HIDDEN if parameter.ndim > 1 else FLAT
        name, module, _ = known
        if parameter.ndim < 2:
            return NORM_AND_BIAS
        if id(parameter) in self.outputs:
            return OUTPUT
        if "embed" in name.rpartition(".")[2] and not isinstance(module, (torch.nn.Linear, torch.nn.Conv2d)):
            return EMBEDDING  # a table of positions that is no module
        return HIDDEN

    def summary(self, parameters: list[Any]) -> dict[str, Any]:
        """By role: how many tensors and weights, and some names."""
        found: dict[str, Any] = {}
        for parameter in parameters:
            row = found.setdefault(self.role(parameter), {"tensors": 0, "weights": 0, "named": 0, "names": []})
            row["tensors"] += 1
            row["weights"] += parameter.numel()
            known = self.named.get(id(parameter))
            if known is not None:
                row["named"] += 1
                if len(row["names"]) < SHOWN:
                    row["names"].append(known[0][:LONGEST])
        return found

    def left_out(self, optimized: set[int]) -> dict[str, Any]:
        """Trainable weights of the modules with an optimized one that no optimizer has."""
        roots = {root for key, root in self.root.items() if key in optimized}
        names = []
        for key, (name, module, own) in self.named.items():
            parameter = module._parameters.get(own)
            if key in optimized or self.root[key] not in roots or parameter is None:
                continue
            if parameter.requires_grad and parameter.grad is not None:
                names.append(name[:LONGEST])
        return {"tensors": len(names), "names": names[:SHOWN]}


def _is_embedding(module: Any) -> bool:
    weight = module._parameters.get("weight")
    return weight is not None and isinstance(module, (torch.nn.Embedding, torch.nn.EmbeddingBag))


def _plain(name: str, root: Any) -> str:
    """A name as the user wrote it."""
    for wrapper in WRAPPERS:
        name = name.replace(wrapper, "")
    while type(root).__name__ in PARALLEL and name.startswith("module."):
        name = name[len("module.") :]
    return name
