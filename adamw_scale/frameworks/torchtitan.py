"""torchtitan: torch AdamW; decays everything that no pattern of a group of its own takes out (components/optimizer).

Configs are Python now, TOML in older releases. Groups inherit nothing: one that leaves out weight_decay gets torch's
0.01, not torchtitan's 0.1, and a key that torch's optimizers do not know is kept and ignored. The schedule never quite
reaches its floor: a virtual last step stands behind the run (components/optimizer/lr_scheduler.py).
"""

from typing import Any, NamedTuple

from adamw_scale.errors import SpecError
from adamw_scale.formats.document import Document
from adamw_scale.frameworks.config import NEARLY_ALL, Config, Group
from adamw_scale.frameworks.framework import Framework
from adamw_scale.frameworks.group_names import kinds_named, own_groups
from adamw_scale.frameworks.reading import Keys, chosen
from adamw_scale.frameworks.spelling import betas_of, eps_of, lr_of, value, whole
from adamw_scale.theory.parametrizations import EMBEDDING, GROUPS, HIDDEN, NORM_AND_BIAS, OUTPUT

PATTERNS = {NORM_AND_BIAS: r"norm|bias$", EMBEDDING: r"tok_embeddings\.", OUTPUT: r"lm_head\.", HIDDEN: ".*"}
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
_NO_ARGUMENTS = {
    "implementation",
    "param_groups",
    "optimizer_factory_kwargs_by_name",
}  # of the optimizer, but its setting


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
        training = {
            "steps": whole(config.total_steps),
            **({"global_batch_size": whole(config.batch_size)} if config.batch_size else {}),
            **({"seq_len": whole(config.sequence_length)} if config.sequence_length else {}),
        }
        return (
            "from torchtitan.components.optimizer import LRSchedulersContainer, OptimizersContainer, ParamGroupConfig\n"
            "from torchtitan.config import TrainingConfig\n\n"
            + (
                "# The first pattern that is found in a name counts; under pipeline parallelism each must be in every "
                "stage.\n"
                if len(groups) > 2
                else ""
            )
            + f"optimizer = OptimizersContainer.Config(\n    param_groups=[\n{rows}    ],\n)\n"
            + f"lr_scheduler = LRSchedulersContainer.Config({_arguments(_scheduler(config))})\n"
            + f"training = TrainingConfig({_arguments(training)})\n"
        )

    def read(self, document: Document) -> Config:
        """Calls of default_adamw and of the Config classes; or the sections of a TOML file."""
        content = _sections(document) if document.format == "Python" else document.content
        keys = Keys(content, document.overridable, document.lost)
        optimizer = _read_optimizer(document, keys)
        steps = keys.number_or("total_steps", 10000.0, "training.steps")
        batch = keys.signed("training.global_batch_size")
        return Config(
            **optimizer,
            **_read_schedule(keys, steps),
            total_steps=steps,
            unit="tokens",
            sequence_length=keys.number_or("sequence_length", 2048.0, "training.seq_len"),
            batch_size=batch if batch and batch > 0 else None,
            per_device_batch_size=keys.number_or(
                "per_device_batch_size", 8.0, "training.local_batch_size", "training.batch_size"
            ),
            devices=_devices(keys),
            **keys.noted(),
        )


def _param_group(config: Config, group: Group) -> str:
    beta1, beta2 = betas_of(config)
    kwargs = {
        "lr": lr_of(config, group),
        "betas": f"({beta1}, {beta2})",
        "eps": eps_of(config, group),
        "weight_decay": value(group.weight_decay),
    }
    inside = ", ".join(f'"{key}": {each}' for key, each in kwargs.items())
    return (
        f'ParamGroupConfig(pattern=r"{PATTERNS[group.group]}", optimizer_name="AdamW", optimizer_kwargs={{{inside}}})'
    )


def _scheduler(config: Config) -> dict[str, Any]:
    """Fields of LRSchedulersContainer.Config; without decay_ratio the fall starts where warm-up ends."""
    name, steps = config.schedule or "constant", config.total_steps or 1
    fields: dict[str, Any] = {"warmup_steps": whole(config.warmup_steps)}
    if name == "constant":
        return {**fields, "decay_ratio": 0.0}
    if name.startswith("wsd"):
        fields["decay_ratio"] = value(whole(config.decay_steps) / steps)
    return {**fields, "decay_type": f'"{_DECAY[name]}"', "min_lr_factor": value(config.lr_schedule.final)}


def _arguments(fields: dict[str, Any]) -> str:
    return ", ".join(f"{key}={each}" for key, each in fields.items())


def _sections(document: Document) -> dict[str, Any]:
    """Calls and assignments of Python text as the sections that TOML has."""
    sections: dict[str, Any] = {name: {} for name in CALLS.values() if name}
    found = False
    for call in document.calls:
        for name, section in CALLS.items():
            if call.name == name or call.name.endswith(f".{name}"):
                found = True
                if section:
                    order = ("lr",) if name == "default_adamw" else ()
                    sections[section] |= dict(zip(order, call.positional, strict=False)) | call.keywords
    for path, each in document.content.items():
        section, _, field = path.rpartition(".")
        if section.rpartition(".")[2] in sections:
            sections[section.rpartition(".")[2]][field] = each
            found = True
    if not found:
        raise SpecError(f"no call of {', '.join(CALLS)} is in this Python file: pass the function that has it")
    return sections


def _read_optimizer(document: Document, keys: Keys) -> dict[str, Any]:
    """Groups, and what they are multiples of."""
    rows = _rows(document, keys)
    owners: dict[str, _Row] = {}
    for row in rows:
        for kind in kinds_named(row.pattern):
            owners.setdefault(kind, row)
    values = {kind: _values(owners.setdefault(kind, rows[-1]), keys.lost) for kind in GROUPS}
    base, owner = values[NORM_AND_BIAS], owners[HIDDEN]  # muP scales neither lr nor eps of gains and biases
    for name, field in (("lr", "peak_lr"), ("weight_decay", "weight_decay")):
        if name not in owner.given:
            keys.filled(field, _TITAN[name])
    for row in rows:
        _note_row(keys, row)
    return {
        "optimizer": owner.name,
        "convention": chosen("optimizer_name", owner.name, OPTIMIZERS, None),
        "peak_lr": base["lr"],
        "betas": values[HIDDEN]["betas"],
        "eps": base["eps"],
        "groups": tuple(
            Group(
                group=kind,
                weight_decay=own["weight_decay"] or 0.0,
                lr_factor=own["lr"] / base["lr"] if own["lr"] and base["lr"] else 1.0,
                eps_factor=own["eps"] / base["eps"] if own["eps"] and base["eps"] else 1.0,
            )
            for kind, own in values.items()
        ),
    }


def _values(row: _Row, lost: tuple[str, ...]) -> dict[str, Any]:
    """Learning rate, decay, eps and betas of a row; None where code fills them in."""
    given = Keys(row.given, lost=lost)
    values: dict[str, Any] = {
        name: given.number_or(name, row.otherwise[name], name) for name in ("lr", "weight_decay", "eps")
    }
    return {**values, "betas": given.pair("betas") or (None if lost else row.otherwise["betas"])}


def _rows(document: Document, keys: Keys) -> list[_Row]:
    """The ParamGroupConfigs; without any, one row for everything as default_adamw and TOML have it."""
    rows = []
    for call in document.calls:
        if call.name.rpartition(".")[2] == "ParamGroupConfig":
            own = Keys(call.keywords)
            given = call.keywords.get("optimizer_kwargs", {})
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
    old = document.format != "Python" or any(
        call.name.endswith("OptimizersContainer.Config") and {"lr", "weight_decay"} & call.keywords.keys()
        for call in document.calls
    )
    if old:
        betas = Keys(given).betas((0.9, 0.95), "beta1", "beta2") or (0.9, 0.95)
        given = {"betas": list(betas)} | {key: each for key, each in given.items() if key in _KNOWN}
        message = (
            "torchtitan 0.3 refuses an optimizer with fields of its own, such as optimizer.lr: it has groups instead"
        )
        fix = "for 0.3 write default_adamw(lr=..., weight_decay=...), or ParamGroupConfig for each group"
        keys.warning("old-format", "optimizer", message, fix)
    return [_Row(".*", name, {key: each for key, each in given.items() if key not in _NO_ARGUMENTS}, _TITAN)]


def _note_row(keys: Keys, row: _Row) -> None:
    """Arguments that do nothing, and those that are torch's though torchtitan has its own."""
    for name in sorted(row.given.keys() - _KNOWN):
        message = (
            f"{name} is no argument of torch's {row.name}: torchtitan stores it in the group {row.pattern!r}, and "
            "nothing reads it"
        )
        keys.error("ignored-key", name, message, fix="write lr, betas, eps or weight_decay")
    if row.otherwise is not _TITAN and row.name != "DistMuon":
        for name in ("lr", "weight_decay"):
            if name not in row.given:
                message = (
                    f"the group {row.pattern!r} says no {name} and gets torch's {row.otherwise[name]:g}: groups "
                    "inherit nothing, not even from default_adamw"
                )
                keys.warning("torch-default", name, message, fix=f"write {name} into its optimizer_kwargs")


def _read_schedule(keys: Keys, steps: float | None) -> dict[str, Any]:
    """Schedule fields, and traps of the lengths."""
    warmup = keys.number_or("warmup_steps", 200.0, "lr_scheduler.warmup_steps", "training.warmup_steps")
    ratio = keys.number("lr_scheduler.decay_ratio")
    total = keys.number("lr_scheduler.total_steps") or steps
    kind = keys.text("lr_scheduler.decay_type")
    along, after = chosen("lr_scheduler.decay_type", kind, _FALLS, _FALLS["linear"]) or _FALLS["linear"]
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
        keys.error("schedule-too-short", "lr_scheduler.total_steps", message, fix)
    elif total > steps:
        message = f"the schedule is made for {total:g} steps and the run stops after {steps:g}, before it has come down"
        fix = "leave total_steps out, unless the run is to be continued"
        keys.warning("schedule-cut", "lr_scheduler.total_steps", message, fix)
    if ratio == 0:
        return {"schedule": "constant", "warmup_steps": warmup}
    falling = total - warmup if ratio is None else min(round(total * ratio), total - warmup)
    return {
        "schedule": along if ratio is None else after,
        "warmup_steps": warmup,
        "schedule_end": total if total != steps else None,
        "decay_steps": falling if (after if ratio is not None else along).startswith("wsd") else None,
        "final_lr_fraction": keys.number("lr_scheduler.min_lr_factor", "lr_scheduler.lr_min") or 0.0,
    }


def _devices(keys: Keys) -> float | None:
    """Data-parallel degree, where both parts of it are numbers; -1 means whatever is left."""
    replicas = keys.number("parallelism.data_parallel_replicate_degree")
    shards = keys.signed("parallelism.data_parallel_shard_degree")
    return (replicas or 1.0) * shards if shards is not None and shards > 0 else None
