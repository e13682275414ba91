"""torchtitan: torch AdamW; decays everything that no pattern of a group of its own takes out (components/optimizer).

Configs are Python now, TOML in older releases. Groups inherit nothing: one that leaves out weight_decay gets torch's
0.01, not torchtitan's 0.1, and a key that torch's optimizers do not know is kept and ignored. The schedule never quite
reaches its floor: a virtual last step stands behind the run (components/optimizer/lr_scheduler.py).
"""

from typing import Any, NamedTuple

from adamw_scale.errors import SpecError
from adamw_scale.formats.document import Document
from adamw_scale.frameworks.config import NEARLY_ALL, Config, Group, Mend
from adamw_scale.frameworks.framework import Framework
from adamw_scale.frameworks.group_names import groups_of_values, kinds_named, own_groups, values_of
from adamw_scale.frameworks.reading import Keys, chosen
from adamw_scale.frameworks.spelling import betas_of, value, whole
from adamw_scale.frameworks.table import note_other_end
from adamw_scale.theory.parametrizations import EMBEDDING, GROUPS, HIDDEN, NORM_AND_BIAS, OUTPUT

PATTERNS = {NORM_AND_BIAS: r"norm|bias$", EMBEDDING: r"tok_embeddings\.", OUTPUT: r"lm_head\.", HIDDEN: ".*"}
NOTE = "The first pattern that is found in a name counts; under pipeline parallelism each must be in every stage."
_DECAY = {"linear": "linear", "cosine": "cosine", "wsd": "linear", "wsd-cosine": "cosine", "wsd-1-sqrt": "sqrt"}
_FALLS = {"linear": ("linear", "wsd"), "cosine": ("cosine", "wsd-cosine"), "sqrt": ("wsd-1-sqrt", "wsd-1-sqrt")}
OPTIMIZERS = {"AdamW": "torchtitan", "Adam": "torch-adam", "DistMuon": "torch-muon"}
CALLS = {
    "LRSchedulersContainer.Config": "lr_scheduler",
    "OptimizersContainer.Config": "optimizer",
    "default_adamw": "optimizer",
    "TrainingConfig": "training",
    "ParallelismConfig": "parallelism",
    "ParamGroupConfig": "",  # several, read one by one
}
_TORCH = {"lr": 1e-3, "weight_decay": 0.01, "eps": 1e-8, "betas": (0.9, 0.999)}  # of a group that does not say
_TITAN = {"lr": 8e-4, "weight_decay": 0.1, "eps": 1e-8, "betas": (0.9, 0.95)}
_KNOWN = {
    *("lr", "betas", "eps", "weight_decay", "amsgrad", "maximize", "foreach", "fused", "capturable", "differentiable"),
    *("decoupled_weight_decay", "param_names"),
}
# Of the optimizer, but its setting.
_NO_ARGUMENTS = {"implementation", "param_groups", "optimizer_factory_kwargs_by_name"}
SEQUENCE, BATCH = 2048.0, 8.0  # of each device, where nothing is said
_TOKENS, _MAX_LENGTH = "training.num_tokens_per_", "training.max_context_length"
# What an RL trainer gets from its controller, whose steps and batches are of rollouts.
_OF_ROLLOUTS = ("total_steps", "sequence_length", "batch_size", "batch_tokens", "per_device_batch_size")


class _Row(NamedTuple):
    """A group as it is configured, and what it gets where it says nothing."""

    pattern: str
    name: str
    given: dict[str, Any]
    otherwise: dict[str, Any]


class TorchTitan(Framework):
    """The optimizer, lr_scheduler and training fields of a Trainer.Config."""

    name = "torchtitan"
    title = "torchtitan"
    language = "python"
    convention = "torchtitan"
    undecayed_by_default = "nothing: norms, biases and embeddings decay too, unless a pattern takes them out"
    grouping = "all"
    schedules = ("constant", *_DECAY)
    reads = "a function of config_registry.py, older TOML, or --section.key arguments"
    signs = frozenset(
        {
            *("ParamGroupConfig", "default_adamw", "optimizer_kwargs", "min_lr_factor", "decay_ratio"),
            *("hf_assets_path", "dump_folder", "flavor", "data_parallel_shard_degree", "local_batch_size"),
        }
    )
    packages = frozenset({"torchtitan"})
    scripts = r"\btorchtitan\b"
    formats = frozenset({"Python", "TOML", "shell arguments"})
    proven = "torchtitan 0.3"

    def write(self, config: Config) -> str:
        """Values to pass as Trainer.Config(optimizer=optimizer, lr_scheduler=lr_scheduler, training=training, ...)."""
        groups = own_groups(config)
        rows = "".join(f"        {_param_group(config, group)},\n" for group in groups)
        counted = {"global_batch_size": config.batch_size, "seq_len": config.sequence_length}
        training = {"steps": config.total_steps, **{name: each for name, each in counted.items() if each}}
        return (
            "from torchtitan.components.optimizer import LRSchedulersContainer, OptimizersContainer, ParamGroupConfig\n"
            "from torchtitan.config import TrainingConfig\n\n"
            + (f"# {NOTE}\n" if len(groups) > 2 else "")
            + f"optimizer = OptimizersContainer.Config(\n    param_groups=[\n{rows}    ],\n)\n"
            + f"lr_scheduler = LRSchedulersContainer.Config({_arguments(_scheduler(config))})\n"
            + f"training = TrainingConfig({_arguments({name: whole(each) for name, each in training.items()})})\n"
        )

    def read(self, document: Document) -> Config:
        """Calls of default_adamw and of the Config classes; or the sections of a TOML file."""
        _refuse_several(document)
        content = _sections(document) if document.format == "Python" else document.content
        keys = Keys(content, document.overridable, document.lost)
        optimizer = _read_optimizer(document, keys)
        steps = keys.number_or("total_steps", 10000.0, "training.steps")
        batch, shards = keys.signed("training.global_batch_size"), "parallelism.data_parallel_shard_degree"
        devices = keys.signed(shards) or 0.0  # -1 is whatever is left
        config = Config(
            **optimizer,
            **_read_schedule(keys, steps),
            total_steps=steps,
            unit="tokens",
            sequence_length=keys.number_or("sequence_length", SEQUENCE, "training.seq_len", _MAX_LENGTH),
            batch_size=batch if batch and batch > 0 else None,
            **_read_tokens(keys),
            devices=max(0.0, devices) * (keys.number("parallelism.data_parallel_replicate_degree") or 1.0) or None,
            **keys.noted(),
        )
        if not any(call.name.endswith("PolicyTrainer.Config") for call in document.calls):
            return config
        rest = tuple(field for field in config.defaults if field not in _OF_ROLLOUTS)
        return config.model_copy(update={**dict.fromkeys(_OF_ROLLOUTS), "defaults": rest})


def _refuse_several(document: Document) -> None:
    """SpecError for functions that each make an optimizer of groups, unlike each other."""
    made = {
        call.place: (str(call.keywords), call.line)
        for call in document.calls
        if call.name.endswith("OptimizersContainer.Config")
    }
    if len({keywords for keywords, _ in made.values()}) > 1:
        listed = ", ".join(f"{place or 'the module'} in line {line}" for place, (_, line) in list(made.items())[:8])
        raise SpecError(f"{len(made)} optimizers are in this file, of {listed}: pass a file with one of them")


def _read_tokens(keys: Keys) -> dict[str, Any]:
    """Batches: in sequences as far as 0.3, in tokens after that."""
    in_all, each = keys.signed(f"{_TOKENS}train_step"), keys.number(f"{_TOKENS}microbatch_per_dp_rank")
    if in_all is None and each is None and _MAX_LENGTH not in keys:
        paths = ("training.local_batch_size", "training.batch_size")
        return {"per_device_batch_size": keys.number_or("per_device_batch_size", BATCH, *paths)}
    if each is None:
        each = keys.filled("per_device_batch_size", BATCH * SEQUENCE, f"{_TOKENS}microbatch_per_dp_rank")
    length = keys.number(_MAX_LENGTH) or SEQUENCE
    return {
        "batch_tokens": in_all if in_all and in_all > 0 else None,
        "per_device_batch_size": each and each / length,
    }


def _param_group(config: Config, group: Group) -> str:
    values = values_of(config, group)
    kwargs = {"lr": values.pop("lr"), "betas": "({}, {})".format(*betas_of(config)), **values}
    inside = ", ".join(f'"{name}": {each}' for name, each in kwargs.items())
    return (
        f'ParamGroupConfig(pattern=r"{PATTERNS[group.group]}", optimizer_name="AdamW", optimizer_kwargs={{{inside}}})'
    )


def _scheduler(config: Config) -> dict[str, Any]:
    """Fields of LRSchedulersContainer.Config; without decay_ratio the fall starts where warm-up ends."""
    name, warmup = config.schedule or "constant", whole(config.warmup_steps)
    if name == "constant":
        return {"warmup_steps": warmup, "decay_ratio": 0.0}
    return {
        "warmup_steps": warmup,
        **({"decay_ratio": value(whole(config.decay_steps) / (config.total_steps or 1))} if "wsd" in name else {}),
        "decay_type": f'"{_DECAY[name]}"',
        "min_lr_factor": value(config.lr_schedule.final),
    }


def _arguments(fields: dict[str, Any]) -> str:
    return ", ".join(f"{key}={each}" for key, each in fields.items())


def _sections(document: Document) -> dict[str, Any]:
    """Calls and assignments of Python text as the sections that TOML has."""
    sections: dict[str, Any] = {name: {} for name in CALLS.values()}
    found = False
    for call in document.calls:
        name = next((each for each in CALLS if call.name == each or call.name.endswith(f".{each}")), None)
        if name is not None:
            order = ("lr",) if name == "default_adamw" else ()
            sections[CALLS[name]] |= dict(zip(order, call.positional, strict=False)) | call.keywords
            found = True
    for path, each in document.content.items():
        before, _, field = path.rpartition(".")
        section = before.rpartition(".")[2]
        if section and section in sections:
            sections[section][field] = each
            found = True
    if not found:
        raise SpecError(f"no call of {', '.join(CALLS)} is in this Python file: pass the function that has it")
    del sections[""]
    return sections


def _read_optimizer(document: Document, keys: Keys) -> dict[str, Any]:
    """Groups, and what they are multiples of."""
    rows = _rows(document, keys)
    owners: dict[str, _Row] = {}
    for row in rows:
        for kind in kinds_named(row.pattern):
            owners.setdefault(kind, row)
    values = {kind: _values(owners.setdefault(kind, rows[-1]), keys.lost) for kind in GROUPS}
    owner = owners[HIDDEN]
    for name, field in (("lr", "peak_lr"), ("weight_decay", "weight_decay"), ("betas", "betas"), ("eps", "eps")):
        if name not in owner.given:
            keys.filled(field, _TITAN[name])
    for row in rows:
        _note_row(keys, row)
    return {
        "optimizer": owner.name,
        "convention": chosen("optimizer_name", owner.name, OPTIMIZERS, None),
        "peak_lr": values[NORM_AND_BIAS]["lr"],
        "betas": values[HIDDEN]["betas"],
        "eps": values[NORM_AND_BIAS]["eps"],
        "groups": groups_of_values(values),
    }


def _values(row: _Row, lost: tuple[str, ...]) -> dict[str, Any]:
    """Learning rate, decay, eps and betas of a row; None where code fills them in."""
    given = Keys(row.given, lost=lost)
    values: dict[str, Any] = {
        name: given.number_or(name, row.otherwise[name], name) for name in ("lr", "weight_decay", "eps")
    }
    return {**values, "betas": given.pair_or("betas", row.otherwise["betas"], "betas")}


def _rows(document: Document, keys: Keys) -> list[_Row]:
    """The ParamGroupConfigs; without any, one row for everything as default_adamw and TOML have it."""
    rows = []
    for call in document.calls:
        if call.last == "ParamGroupConfig":
            own, given = Keys(call.keywords), call.keywords.get("optimizer_kwargs", {})
            if not isinstance(given, dict):
                raise SpecError("optimizer_kwargs is no plain dict: write lr and weight_decay of each group out")
            name = own.text("optimizer_name") or "AdamW"
            otherwise = _TORCH | ({"weight_decay": 0.0} if name == "Adam" else {})
            rows.append(_Row(own.text("pattern") or "", name, given, otherwise))
    if rows:
        return rows
    section = keys.raw("optimizer")
    given = dict(section) if isinstance(section, dict) else {}
    given |= {path[10:]: each for path, each in document.content.items() if str(path).startswith("optimizer.")}
    name = str(given.pop("name", "AdamW"))
    containers = [call for call in document.calls if call.name.endswith("OptimizersContainer.Config")]
    if document.format != "Python" or any({"lr", "weight_decay"} & call.keywords.keys() for call in containers):
        betas = Keys(given).betas((0.9, 0.95), "beta1", "beta2") or (0.9, 0.95)
        given = {"betas": list(betas)} | {key: each for key, each in given.items() if key in _KNOWN}
        message = "torchtitan 0.3 refuses an optimizer with fields of its own, such as optimizer.lr: it has groups"
        fix = "for 0.3 write default_adamw(lr=..., weight_decay=...), or ParamGroupConfig for each group"
        keys.warning("old-format", "optimizer", message, fix)
    return [_Row(".*", name, {key: each for key, each in given.items() if key not in _NO_ARGUMENTS}, _TITAN)]


def _note_row(keys: Keys, row: _Row) -> None:
    """Arguments that do nothing, and those that are torch's though torchtitan has its own."""
    for name in sorted(row.given.keys() - _KNOWN):
        message = f"{name} is no argument of torch's {row.name}: it is kept with {row.pattern!r}, and nothing reads it"
        keys.error("ignored-key", name, message, "write lr, betas, eps or weight_decay", Mend(key=name))
    for name in ("lr", "weight_decay"):
        if row.otherwise is not _TITAN and row.name != "DistMuon" and name not in row.given:
            message = (
                f"the group {row.pattern!r} says no {name} and gets torch's {row.otherwise[name]:g}: groups inherit "
                "nothing, not even from default_adamw"
            )
            keys.warning("torch-default", name, message, fix=f"write {name} into its optimizer_kwargs")


def _read_schedule(keys: Keys, steps: float | None) -> dict[str, Any]:
    """Schedule fields, and traps of the lengths."""
    warmup = keys.number_or("warmup_steps", 200.0, "lr_scheduler.warmup_steps", "training.warmup_steps")
    ratio, kind = keys.number("lr_scheduler.decay_ratio"), keys.text("lr_scheduler.decay_type")
    total = keys.number("lr_scheduler.total_steps") or steps
    kind = kind or keys.filled("schedule", "linear", "lr_scheduler.decay_type")
    shapes = chosen("lr_scheduler.decay_type", kind, _FALLS, None) or _FALLS["linear"]
    if warmup is None or total is None or steps is None:
        return {}
    if warmup >= total:
        message = f"{warmup:g} steps of warm-up are cut to the {total:g} steps of the run, which then never falls"
        keys.warning("warmup-fills-run", "lr_scheduler.warmup_steps", message, fix="lower warmup_steps")
        return {"schedule": "constant", "warmup_fraction": NEARLY_ALL}
    if total < steps:
        message = (
            f"lr_scheduler.total_steps {total:g} ends before the {steps:g} steps of the run: beyond it linear and sqrt "
            "go below their floor, a negative learning rate if that is 0, and cosine rises again; the floor is judged"
        )
        fix = f"set total_steps to {steps:g}, or leave it out"
        keys.error("schedule-too-short", "lr_scheduler.total_steps", message, fix, Mend(key="total_steps"))
    elif total > steps:
        fix = "leave total_steps out, unless the run is to be continued"
        note_other_end(keys, "schedule-cut", "lr_scheduler.total_steps", total, steps, fix)
    if ratio == 0:
        return {"schedule": "constant", "warmup_steps": warmup}
    name = shapes[ratio is not None]
    falling = total - warmup if ratio is None else min(round(total * ratio), total - warmup)
    return {
        "schedule": name,
        "warmup_steps": warmup,
        "schedule_end": total if total != steps else None,
        "decay_steps": falling if name.startswith("wsd") else None,
        "final_lr_fraction": keys.number_or(
            "final_lr_fraction", 0.0, "lr_scheduler.min_lr_factor", "lr_scheduler.lr_min"
        ),
    }
