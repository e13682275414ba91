"""Parameter groups that configs pick out by patterns of names, which are judged by their words and never run."""

from adamw_scale.frameworks.config import Config, Group
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
