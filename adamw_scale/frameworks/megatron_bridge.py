"""Megatron-Bridge: megatron-core's optimizer and scheduler; spares biases and 1-D tensors (training/config.py).

The scheduler writes start_weight_decay to end_weight_decay into the optimizer at every step (training/optim.py), so
OptimizerConfig.weight_decay alone does nothing. The functions that recipes take both configs from set start and end to
0.033 unless told otherwise, two of them always (recipes/utils/optimizer_utils.py).
"""

from typing import Any, NamedTuple

from adamw_scale.errors import SpecError
from adamw_scale.formats.document import Document, Unread
from adamw_scale.frameworks.config import Config
from adamw_scale.frameworks.framework import Framework
from adamw_scale.frameworks.megatron import STYLES, WSD_STYLES, Megatron, read_arguments
from adamw_scale.frameworks.reading import Keys
from adamw_scale.frameworks.spelling import betas_of, eps_of, final_lr, lr_of, value, whole
from adamw_scale.theory.parametrizations import EMBEDDING, OUTPUT

TITLE = "Megatron-Bridge"
FIELDS = frozenset(
    {
        *("optimizer", "lr", "min_lr", "weight_decay", "adam_beta1", "adam_beta2", "adam_eps"),
        *("decoupled_lr", "lr_decay_style", "lr_wsd_decay_style", "lr_decay_iters", "lr_decay_samples"),
        *("lr_wsd_decay_iters", "lr_wsd_decay_samples", "lr_warmup_fraction", "lr_warmup_iters", "lr_warmup_samples"),
        *("start_weight_decay", "end_weight_decay", "weight_decay_incr_style", "train_iters", "train_samples"),
        *("global_batch_size", "micro_batch_size", "seq_length"),
    }
)
CONFIGS = ("OptimizerConfig", "SchedulerConfig", "TrainingConfig")
_CONSTANT = {"start_weight_decay": 0.033, "end_weight_decay": 0.033, "weight_decay_incr_style": "constant"}


class _Recipe(NamedTuple):
    """What a function that makes both configs fills in, and what it has no argument for."""

    defaults: dict[str, Any]
    fixed: tuple[str, ...] = ()


RECIPES = {
    "distributed_fused_adam_with_cosine_annealing": _Recipe(
        {"lr": 1e-4, "adam_beta2": 0.95, "lr_decay_style": "cosine", "lr_warmup_iters": 2000, **_CONSTANT}
    ),
    "distributed_fused_adam_with_cosine_annealing_samples": _Recipe(
        {"lr": 1e-4, "adam_beta2": 0.95, "lr_decay_style": "cosine", **_CONSTANT}, tuple(_CONSTANT)
    ),
    "distributed_muon_with_cosine_annealing": _Recipe(
        {
            "optimizer": "dist_muon",
            "lr": 1e-4,
            "lr_decay_style": "cosine",
            "lr_warmup_iters": 2000,
            "lr_decay_iters": 2000,
            **_CONSTANT,
        },
        tuple(_CONSTANT),
    ),
}
_NOUNS = {"lr": "peak_lr", "lr_warmup_iters": "warmup_steps", "start_weight_decay": "weight_decay"}
STATED = 0.1  # weight_decay that the same functions give OptimizerConfig if nothing is said


class MegatronBridge(Framework):
    """OptimizerConfig, SchedulerConfig and TrainingConfig of a ConfigContainer."""

    name = "megatron-bridge"
    title = TITLE
    language = "python"
    convention = "megatron"
    undecayed = Megatron.undecayed
    undecayed_by_default = Megatron.undecayed_by_default
    grouping = "none"
    how_to_group = (
        "subclass OptimizerConfigOverrideProvider: it maps ParamKey(name=...) to ParamGroupOverride(max_lr=..., "
        "min_lr=..., start_wd=..., end_wd=..., wd_mult=...)"
    )
    schedules = Megatron.schedules
    reads = "a recipe in Python, or the YAML that overrides one"
    signs = frozenset(
        {
            *CONFIGS,
            *RECIPES,
            *("ConfigContainer", "GPTDatasetConfig", "CheckpointConfig", "LoggerConfig", "TokenizerConfig"),
            *("RNGConfig", "_pretrain_common", "_sft_common", "_peft_common"),
        }
    )
    packages = frozenset({"megatron"})
    formats = frozenset({"Python", "YAML"})
    proven = "megatron-bridge 0.3 on megatron-core 0.16"

    def write(self, config: Config) -> str:
        """Values to pass as ConfigContainer(optimizer=optimizer, scheduler=scheduler, train=train, ...)."""
        schedule, (beta1, beta2) = config.schedule or "constant", betas_of(config)
        decay = value(config.weight_decay)
        optimizer = {
            "optimizer": '"adam"',
            "lr": lr_of(config),
            "min_lr": value(final_lr(config)),
            "weight_decay": decay,
            "adam_beta1": beta1,
            "adam_beta2": beta2,
            "adam_eps": eps_of(config),
        }
        scheduler = {
            "start_weight_decay": decay,
            "end_weight_decay": decay,
            "weight_decay_incr_style": '"constant"',
            "lr_decay_style": f'"{STYLES[schedule]}"',
            **(
                {"lr_wsd_decay_style": f'"{WSD_STYLES[schedule]}"', "lr_wsd_decay_iters": whole(config.decay_steps)}
                if schedule in WSD_STYLES
                else {}
            ),
            "lr_decay_iters": whole(config.total_steps),
            "lr_warmup_iters": whole(config.warmup_steps),
            "lr_warmup_init": 0.0,
        }
        train = {
            "train_iters": whole(config.total_steps),
            **({"global_batch_size": whole(config.batch_size)} if config.batch_size else {}),
        }
        return (
            f"from megatron.bridge.training.config import {', '.join(CONFIGS)}\n\n"
            + _call("optimizer", "OptimizerConfig", optimizer)
            + "# The run decays by start_weight_decay to end_weight_decay, whatever the optimizer's weight_decay is.\n"
            + _call("scheduler", "SchedulerConfig", scheduler)
            + _call("train", "TrainingConfig", train)
            + (
                f"SEQ_LENGTH = {whole(config.sequence_length)}  # of dataset and model\n"
                if config.sequence_length
                else ""
            )
        )

    def read(self, document: Document) -> Config:
        """Calls of the configs and of the functions that make them, then what is assigned to their fields."""
        given, filled = _python(document) if document.format == "Python" else (_fields(document.content), {})
        if document.lost:
            filled = {}
        values = filled | given
        keys = Keys(values, lost=(*document.lost, *_unseen_base(document, filled)))
        _note_fixed(keys, document)
        _note_missing(keys)
        _note_disagreeing(keys, given, filled)
        if warmup := _capped(keys):
            values["lr_warmup_iters"] = warmup
        config = read_arguments(keys, TITLE)
        lr, decoupled = keys.number("lr"), keys.number("decoupled_lr")
        if lr and decoupled:
            apart = {"lr_factor": decoupled / lr}
            groups = tuple(
                group.model_copy(update=apart) if group.group in (EMBEDDING, OUTPUT) else group
                for group in config.groups
            )
            config = config.model_copy(update={"groups": groups})
        defaults = [noun for field, noun in _NOUNS.items() if field in filled and field not in given]
        return config.model_copy(update={"defaults": (*config.defaults, *defaults)})


def _call(name: str, function: str, rows: dict[str, Any]) -> str:
    return f"{name} = {function}(\n" + "".join(f"    {key}={each},\n" for key, each in rows.items()) + ")\n"


def _fields(content: dict[str, Any]) -> dict[str, Any]:
    """Known fields of a mapping and of the mappings in it; "cfg.optimizer.lr" too."""
    found: dict[str, Any] = {}
    for path, each in content.items():
        name = str(path).rpartition(".")[2]
        if isinstance(each, dict):
            found |= {key: inner for key, inner in each.items() if key in FIELDS}
        elif name in FIELDS and (name != "optimizer" or isinstance(each, str)):
            found[name] = each
    return found


def _python(document: Document) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fields that are given, and those that a recipe's function fills in."""
    given: dict[str, Any] = {}
    filled: dict[str, Any] = {}
    calls = [(call.name.rpartition(".")[2], call.keywords) for call in document.calls]
    for name, keywords in calls:
        if name in RECIPES:
            recipe = RECIPES[name]
            filled = dict(recipe.defaults)
            given |= {
                ("lr" if key == "max_lr" else key): each for key, each in keywords.items() if key not in recipe.fixed
            }
            peak = Keys(filled | given).number("lr")
            if name != "distributed_muon_with_cosine_annealing" and peak:
                filled["min_lr"] = 0.1 * peak
        elif name in CONFIGS:
            given |= keywords
        given |= {"seq_length": keywords["seq_length"]} if "seq_length" in keywords else {}
    assigned = _fields(document.content)
    if not assigned and not any(name in RECIPES or name in CONFIGS for name, _ in calls):
        raise SpecError(f"no call of {', '.join(CONFIGS)} or of a recipe's function is in this Python file")
    if "SEQ_LENGTH" in document.content:
        assigned["seq_length"] = document.content["SEQ_LENGTH"]
    return {key: each for key, each in (given | assigned).items() if key in FIELDS}, filled


def _unseen_base(document: Document, filled: dict[str, Any]) -> tuple[str, ...]:
    """The function that makes what is then changed, where it is not in the text, nor a recipe's that is known."""
    if filled or any(call.name.rpartition(".")[2] in CONFIGS for call in document.calls):
        return ()
    changed = {path.partition(".")[0] for path in document.content if "." in path}
    sources = [str(document.content[name]) for name in changed if isinstance(document.content.get(name), Unread)]
    return tuple(source for source in sources if source.endswith(")"))


def _note_fixed(keys: Keys, document: Document) -> None:
    """Arguments that a recipe's function does not have."""
    for call in document.calls:
        name = call.name.rpartition(".")[2]
        recipe = RECIPES.get(name, _Recipe({}))
        for key in sorted(call.keywords.keys() & set(recipe.fixed)):
            message = f"{name} has no argument {key}, and refuses it: it always sets {recipe.defaults[key]}"
            keys.error("unknown-argument", key, message, fix=f"assign scheduler.{key} afterwards")


def _note_missing(keys: Keys) -> None:
    """What Megatron-Bridge needs and has no default for."""
    if "min_lr" not in keys and "lr" in keys:
        message = (
            "OptimizerConfig.min_lr is None by default, which the scheduler cannot compare with lr: the run fails at "
            "its start"
        )
        keys.error("no-min-lr", "min_lr", message, fix="write min_lr, 0.0 if none is meant")
    missing = [each for each in ("start_weight_decay", "end_weight_decay") if each not in keys]
    if missing and "lr" in keys:
        message = (
            f"{' and '.join(missing)} of SchedulerConfig not set: it takes nothing from weight_decay, and the run "
            "fails at its start"
        )
        fix = "set start_weight_decay and end_weight_decay to the weight decay that is meant"
        keys.error("no-scheduled-decay", missing[0], message, fix)


def _note_disagreeing(keys: Keys, given: dict[str, Any], filled: dict[str, Any]) -> None:
    """A recipe's function whose own defaults contradict each other: nobody wrote either."""
    acting = filled.get("start_weight_decay")
    if acting is not None and not {"weight_decay", "start_weight_decay", "end_weight_decay"} & given.keys():
        keys.warning(
            "decay-overridden",
            None,
            f"the recipe's function gives OptimizerConfig a weight_decay of {STATED:g}, which the run never uses: its "
            f"scheduler gets {acting:g}, and that acts",
            fix=(
                f"set start_weight_decay and end_weight_decay of the scheduler to {STATED:g}, or all three to what is "
                "meant"
            ),
        )


def _capped(keys: Keys) -> float | None:
    """Warm-up that is as long as the schedule or longer, as Megatron-Bridge shortens it."""
    warmup, end = keys.number("lr_warmup_iters"), keys.number("lr_decay_iters", "train_iters")
    if warmup is None or end is None or warmup < end:
        return None
    message = f"{warmup:g} iterations of warm-up are cut to the {end:g} of the schedule, which then never falls"
    keys.warning("warmup-fills-run", "lr_warmup_iters", message, fix="lower lr_warmup_iters")
    return end
