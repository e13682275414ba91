"""Parameter groups that configs pick out by patterns of names, which are judged by their words and never run."""

from collections.abc import Mapping
from typing import Any

from adamw_scale.frameworks.config import Config, Group
from adamw_scale.frameworks.spelling import eps_of, lr_of, value
from adamw_scale.theory.parametrizations import EMBEDDING, GROUPS, HIDDEN, NORM_AND_BIAS, OUTPUT

_WORDS = {NORM_AND_BIAS: ("norm", "bias", "ln_"), EMBEDDING: ("embed", "wte"), OUTPUT: ("lm_head", "output", "w_out")}


def own_groups(config: Config) -> list[Group]:
    """Groups that differ from the hidden matrices, those last: what comes first takes its tensors."""
    hidden = config.group(HIDDEN)
    others = [config.group(name) for name in (NORM_AND_BIAS, EMBEDDING, OUTPUT)]
    return [group for group in others if group != hidden.model_copy(update={"group": group.group})] + [hidden]


def kinds_named(pattern: str) -> tuple[str, ...]:
    """Kinds of tensors that a pattern of names means, by words in it; none for a pattern of something else."""
    if pattern.strip("^$().*+") == "":
        return tuple(GROUPS)
    lower = pattern.lower()
    return tuple(kind for kind, words in _WORDS.items() if any(word in lower for word in words))


def groups_of_values(values: Mapping[str, Mapping[str, Any]]) -> tuple[Group, ...]:
    """Groups from the lr, eps and weight_decay of each, over those of gains and biases, which muP does not scale."""
    base = values[NORM_AND_BIAS]
    factors = {
        kind: {name: own[name] / base[name] if own[name] and base[name] else 1.0 for name in ("lr", "eps")}
        for kind, own in values.items()
    }
    return tuple(
        Group(
            group=kind,
            weight_decay=values[kind]["weight_decay"] or 0.0,
            lr_factor=factors[kind]["lr"],
            eps_factor=factors[kind]["eps"],
        )
        for kind in GROUPS
    )


def values_of(config: Config, group: Group) -> dict[str, str]:
    """Learning rate, eps and weight decay of a group, as they are written."""
    return {"lr": lr_of(config, group), "eps": eps_of(config, group), "weight_decay": value(group.weight_decay)}


def groups_matched(pattern: str, paths: Mapping[str, str], *, from_start: bool = False) -> frozenset[str]:
    """Groups with a path that a pattern of plain words, ".*" and "|" is found in; paths are apart by spaces."""

    def found(alternative: str, path: str) -> bool:
        words = alternative.strip("^$()").split(".*")
        if alternative.endswith("$"):
            return path.endswith(words[-1])
        return path.startswith(words[0] if from_start else "") and all(word in path for word in words)

    alternatives = [each for each in pattern.replace("\\", "").split("|") if each]
    return frozenset(
        group
        for group, each in paths.items()
        if any(found(alternative, path) for alternative in alternatives for path in each.split())
    )
