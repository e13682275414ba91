"""A model and a recommendation -> parameter groups, each with its learning rate, weight decay and eps."""

from typing import Any

from torch import nn

from adamw_scale.errors import SpecError
from adamw_scale.spec.advice import Recommendation
from adamw_scale.theory.parametrizations import EMBEDDING, HIDDEN, NORM_AND_BIAS, OUTPUT


def param_groups(
    model: nn.Module, advice: Recommendation, output_layer: nn.Module | None = None
) -> list[dict[str, Any]]:
    """Parameter groups for `torch.optim.AdamW`, with the recommended values.

    Which parameter is in which group is decided as `group_names` says. Initialise and scale the model for its width
    yourself: groups carry what an optimizer takes.

    Args:
        model: Whose trainable parameters are grouped.
        advice: What `recommend` answered.
        output_layer: The layer that makes the logits. Needed only where the advice treats it unlike hidden matrices,
            as under muP, and the model does not name it by `get_output_embeddings()`.

    Returns:
        A dict for each group that has parameters: "name", "params", "lr", "weight_decay", "eps". Every trainable
        parameter is in exactly one.

    Raises:
        SpecError: nothing to train, or the output layer is needed and not known.

    Example:
        >>> from adamw_scale import TrainingRun, recommend
        >>> advice = recommend(TrainingRun(dataset_size="10M", batch_size="8k", peak_lr=1e-3, num_params="1M"))
        >>> model = nn.Sequential(nn.Embedding(256, 64), nn.LayerNorm(64), nn.Linear(64, 256))
        >>> [(group["name"], len(group["params"])) for group in param_groups(model, advice, model[-1])]
        [('embedding', 1), ('output', 1), ('norm-and-bias', 3)]
    """
    names = group_names(model, output_layer)
    of = {group.group: group for group in advice.param_groups}
    hidden, output = of[HIDDEN], of[OUTPUT]
    alike = (hidden.peak_lr, hidden.weight_decay, hidden.eps) == (output.peak_lr, output.weight_decay, output.eps)
    if not alike and OUTPUT not in names.values() and _output_of(model) is None and output_layer is None:
        raise SpecError(
            f"under {advice.run.parametrization} the output layer has a learning rate and a weight decay of its own: "
            "pass output_layer=, such as param_groups(model, advice, model.head)"
        )
    groups = [
        {
            "name": name,
            "params": [parameter for parameter, own in names.items() if own == name],
            "lr": group.peak_lr,
            "weight_decay": group.weight_decay,
            "eps": group.eps,
        }
        for name, group in of.items()
    ]
    filled = [group for group in groups if group["params"]]
    if not filled:
        raise SpecError(f"{type(model).__name__} has no parameter that requires a gradient: nothing to train")
    return filled


def group_names(model: nn.Module, output_layer: nn.Module | None = None) -> dict[nn.Parameter, str]:
    """The group of every trainable parameter, each once however often it is shared.

    The rule, of which the first that holds counts:

    1. norm-and-bias: fewer than two dimensions, or of a module whose class name has "Norm" in it;
    2. embedding: of an `nn.Embedding`, also where it is tied to the output;
    3. output: of `output_layer`, or of what the model's `get_output_embeddings()` gives;
    4. hidden: everything else.
    """
    modules = list(model.modules())
    norms = {p for m in modules if "norm" in type(m).__name__.lower() for p in m.parameters(recurse=False)}
    embeddings = {p for m in modules if isinstance(m, nn.Embedding) for p in m.parameters(recurse=False)}
    output = output_layer if output_layer is not None else _output_of(model)
    outputs = set(output.parameters()) if output is not None else set()

    def name(parameter: nn.Parameter) -> str:
        if parameter.ndim < 2 or parameter in norms:
            return NORM_AND_BIAS
        return EMBEDDING if parameter in embeddings else OUTPUT if parameter in outputs else HIDDEN

    return {parameter: name(parameter) for parameter in model.parameters() if parameter.requires_grad}


def _output_of(model: nn.Module) -> nn.Module | None:
    """The output layer, where the model says which it is, as those of transformers do."""
    get = getattr(model, "get_output_embeddings", None)
    output = get() if callable(get) else None
    return output if isinstance(output, nn.Module) else None
