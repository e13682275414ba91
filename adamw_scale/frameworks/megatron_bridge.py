"""Megatron-Bridge: megatron-core's optimizer and scheduler; spares biases and 1-D tensors (training/config.py).

The scheduler writes start_weight_decay to end_weight_decay into the optimizer at every step (training/optim.py), so
OptimizerConfig.weight_decay alone does nothing. The functions that recipes take both configs from set start and end to
0.033 unless told otherwise, two of them always (recipes/utils/optimizer_utils.py).
"""

from typing import Any, NamedTuple

from adamw_scale.errors import SpecError
from adamw_scale.formats.document import Document, Unread
from adamw_scale.frameworks.config import Config
from adamw_scale.frameworks.megatron import Megatron, in_iterations
from adamw_scale.frameworks.reading import Keys
from adamw_scale.frameworks.spelling import value

FIELDS = frozenset(name for names, _ in Megatron.keys.values() for name in names) | {
    *("lr_decay_samples", "lr_wsd_decay_samples", "lr_warmup_fraction", "lr_warmup_samples", "train_samples"),
    *("start_weight_decay", "end_weight_decay", "decoupled_lr"),
}
CONFIGS = ("OptimizerConfig", "SchedulerConfig", "TrainingConfig")
CONSTANT = {"start_weight_decay": 0.033, "end_weight_decay": 0.033, "weight_decay_incr_style": "constant"}


class Recipe(NamedTuple):
    """What a function that makes both configs fills in, and what it has no argument for."""

    defaults: dict[str, Any]
    fixed: tuple[str, ...] = ()


RECIPES = {
    "distributed_fused_adam_with_cosine_annealing": Recipe(
        {"lr": 1e-4, "adam_beta2": 0.95, "lr_decay_style": "cosine", "lr_warmup_iters": 2000, **CONSTANT}
    ),
    "distributed_fused_adam_with_cosine_annealing_samples": Recipe(
        {"lr": 1e-4, "adam_beta2": 0.95, "lr_decay_style": "cosine", **CONSTANT}, tuple(CONSTANT)
    ),
    "distributed_muon_with_cosine_annealing": Recipe(
        {
            "optimizer": "dist_muon",
            "lr": 1e-4,
            "lr_decay_style": "cosine",
            "lr_warmup_iters": 2000,
            "lr_decay_iters": 2000,
            **CONSTANT,
        },
        tuple(CONSTANT),
    ),
}
NOUNS = {
    "lr": "peak_lr",
    "min_lr": "final_lr_fraction",
    "lr_warmup_iters": "warmup_steps",
    "start_weight_decay": "weight_decay",
}
STATED = 0.1  # weight_decay that the same functions give OptimizerConfig if nothing is said
OF_TRAIN = ("train_iters", "global_batch_size")


class MegatronBridge(Megatron):
    """OptimizerConfig, SchedulerConfig and TrainingConfig of a ConfigContainer."""

    name = "megatron-bridge"
    title = "Megatron-Bridge"
    language = "python"
    how_to_group = (
        "subclass OptimizerConfigOverrideProvider: it maps ParamKey(name=...) to ParamGroupOverride(max_lr=..., "
        "min_lr=..., start_wd=..., end_wd=..., wd_mult=...)"
    )
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
    scripts = ""
    formats = frozenset({"Python", "YAML"})
    proven = "megatron-bridge 0.3 on megatron-core 0.16"
    _alone = False  # of the document that is read

    def find(self, document: Document) -> Keys:
        """Calls of the configs and of the functions that make them, then what is assigned to their fields."""
        given, filled = _python(document) if document.format == "Python" else (_fields(document.content), {})
        filled = {} if document.lost else filled
        values = in_iterations(filled | given)
        keys = Keys(values, lost=(*document.lost, *_unseen_base(document, filled)))
        keys.defaults += [noun for field, noun in NOUNS.items() if field in filled and field not in given]
        _note_recipe(keys, document, given, filled)
        self._alone = _is_alone(document)
        if not self._alone:
            _note_missing(keys)
        warmup, end = keys.number("lr_warmup_iters"), keys.number("lr_decay_iters", "train_iters")
        if warmup is not None and end is not None and warmup >= end:
            message = f"{warmup:g} iterations of warm-up are cut to the {end:g} of the schedule, which then never falls"
            keys.warning("warmup-fills-run", "lr_warmup_iters", message, fix="lower lr_warmup_iters")
            values["lr_warmup_iters"] = end
        return keys

    def schedule(self, keys: Keys, peak_lr: float | None, steps: float | None) -> dict[str, Any]:
        """That of the scheduler, where Megatron-Bridge builds one."""
        found = super().schedule(keys, peak_lr, steps)
        if not self._alone:
            return found
        for field in ("schedule", "final_lr_fraction"):
            keys.settle(field)
        return {**found, "schedule": None, "final_lr_fraction": None}

    def write(self, config: Config) -> str:
        """Values to pass as ConfigContainer(optimizer=optimizer, scheduler=scheduler, train=train, ...)."""
        rows = {name: text if text[0].isdigit() else f'"{text}"' for name, text in self.rows(config).items()}
        length, decay = rows.pop("seq_length", None), value(config.weight_decay)
        style = rows.pop("weight_decay_incr_style")
        train = {name: rows.pop(name) for name in OF_TRAIN if name in rows}
        scheduler = {name: rows.pop(name) for name in [*rows] if name.startswith("lr_")}
        decays = {"start_weight_decay": decay, "end_weight_decay": decay, "weight_decay_incr_style": style}
        return (
            f"from megatron.bridge.training.config import {', '.join(CONFIGS)}\n\n"
            + _call("optimizer", "OptimizerConfig", rows)
            + "# The run decays by start_weight_decay to end_weight_decay, whatever the optimizer's weight_decay is.\n"
            + _call("scheduler", "SchedulerConfig", {**decays, **scheduler, "lr_warmup_init": "0.0"})
            + _call("train", "TrainingConfig", train)
            + (f"SEQ_LENGTH = {length}  # of dataset and model\n" if length else "")
        )


def _is_alone(document: Document) -> bool:
    """Whether a script builds megatron-core's optimizer without Megatron-Bridge: its schedule is elsewhere, if any."""
    called = [call.name for call in document.calls]
    of_core = any(name.startswith("megatron.core.") and name.endswith(".OptimizerConfig") for name in called)
    others = {"ConfigContainer", "SchedulerConfig", *RECIPES}
    return of_core and not any(name.rpartition(".")[2] in others for name in called)


def _call(name: str, function: str, rows: dict[str, str]) -> str:
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
    calls = [(call.last, call.keywords) for call in document.calls]
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
    if filled or any(call.last in CONFIGS for call in document.calls):
        return ()
    changed = {path.partition(".")[0] for path in document.content if "." in path}
    sources = [str(document.content[name]) for name in changed if isinstance(document.content.get(name), Unread)]
    return tuple(source for source in sources if source.endswith(")"))


def _note_recipe(keys: Keys, document: Document, given: dict[str, Any], filled: dict[str, Any]) -> None:
    """Arguments that a recipe's function does not have, and two decays of its own of which nobody wrote either."""
    for call in document.calls:
        name = call.last
        recipe = RECIPES.get(name, Recipe({}))
        for each in sorted(call.keywords.keys() & set(recipe.fixed)):
            message = f"{name} has no argument {each}, and refuses it: it always sets {recipe.defaults[each]}"
            keys.error("unknown-argument", each, message, fix=f"assign scheduler.{each} afterwards")
    acting = filled.get("start_weight_decay")
    if acting is not None and not {"weight_decay", "start_weight_decay", "end_weight_decay"} & given.keys():
        message = (
            f"the recipe's function gives OptimizerConfig a weight_decay of {STATED:g}, which the run never uses: its "
            f"scheduler gets {acting:g}, and that acts"
        )
        fix = (
            f"set the scheduler's start_weight_decay and end_weight_decay to {STATED:g}, or all three to what is meant"
        )
        keys.warning("decay-overridden", None, message, fix)


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
