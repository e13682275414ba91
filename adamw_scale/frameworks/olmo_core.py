"""OLMo-core: torch's AdamW or its own SkipStepAdamW, `p.mul_(1 - step_factor * lr * weight_decay)` (optim/adamw.py).

Everything decays unless group_overrides spare it; AI2's own runs spare the embeddings. The scheduler is asked before
each step, counted from 1, so the last step is at the floor (optim/scheduler.py). WSD's floor is absolute, the same for
groups of any lr, so a floor above zero is written as a ComposableScheduler, whose ends are fractions.
"""

import re
from typing import Any

from adamw_scale.errors import SpecError
from adamw_scale.formats.document import Document, Unread
from adamw_scale.frameworks.config import Config, Group, Mend
from adamw_scale.frameworks.framework import Framework
from adamw_scale.frameworks.group_names import groups_of_values, kinds_named, own_groups, values_of
from adamw_scale.frameworks.reading import Keys, chosen
from adamw_scale.frameworks.spelling import betas_of, value, whole
from adamw_scale.theory.parametrizations import EMBEDDING, GROUPS, NORM_AND_BIAS, OUTPUT

GLOBS = {NORM_AND_BIAS: "*norm*", EMBEDDING: "embeddings.weight", OUTPUT: "lm_head.w_out.weight"}
OPTIMIZERS = dict.fromkeys(("AdamWConfig", "adamw", "SkipStepAdamWConfig", "skip_step_adamw"), "olmo-core")
_CLASSES = {
    "constant": "ConstantWithWarmup",
    "linear": "LinearWithWarmup",
    "cosine": "CosWithWarmup",
    "inverse-sqrt": "InvSqrtWithWarmup",
    "wsd": "WSD",
}
SCHEDULERS = {
    **{spelled: name for name, spelled in _CLASSES.items()},
    "ConstantScheduler": "constant",
    "ComposableScheduler": "composable",
    "constant": "constant",
    "constant_with_warmup": "constant",
    "linear_with_warmup": "linear",
    "cos_with_warmup": "cosine",
    "inv_sqrt_with_warmup": "inverse-sqrt",
    "composable": "composable",
}
LR, WEIGHT_DECAY, EPS = 1e-3, 0.01, 1e-8  # where nothing is said
ALPHA_F = 0.1  # of the peak, where everything but WSD ends if alpha_f is not given
DECAY_FRACTION = 0.1
_OTHERS = (
    *("WSDS", "PowerLR", "HalfCosWithWarmup", "CosWithWarmupAndLinearDecay"),
    *("SequentialScheduler", "ExponentialScheduler"),
    *("wsds", "power_lr", "half_cos_with_warmup", "cos_with_warmup_and_linear_decay", "sequential", "exponential"),
)
BIASES = 'Add "*.bias" if the model has biases; a pattern without a match is refused.'
_LENGTHS = ("max_duration", "global_batch_size", "rank_microbatch_size", "sequence_length", "max_sequence_length")
_KNOWN = {"lr", "betas", "eps", "weight_decay", "amsgrad", "maximize", "foreach", "fused", "capturable", "initial_lr"}
_DURATION = re.compile(r"Duration\.(steps|epochs|tokens)\((?:int\()?([\w.]+)\)*")


class OLMoCore(Framework):
    """The optim and scheduler of a train module, and the lengths around them."""

    name = "olmo-core"
    title = "OLMo-core"
    language = "python"
    convention = "olmo-core"
    undecayed_by_default = "nothing: norms and embeddings decay too, unless group_overrides spare them"
    grouping = "all"
    schedules = (*_CLASSES, "wsd-cosine")
    reads = "a training script in Python, or the config.json that a run saves"
    signs = frozenset(
        {
            *(
                "AdamWConfig",
                "OptimGroupOverride",
                "SkipStepAdamWConfig",
                "CosWithWarmup",
                "LinearWithWarmup",
                "ConstantWithWarmup",
            ),
            *("InvSqrtWithWarmup", "WSD", "ComposableScheduler", "TransformerTrainModuleConfig", "train_module"),
            *("rank_microbatch_size", "group_overrides"),
        }
    )
    packages = frozenset({"olmo_core"})
    formats = frozenset({"Python", "JSON"})
    proven = "ai2-olmo-core 3.0"

    def write(self, config: Config) -> str:
        """Values for TransformerTrainModuleConfig(optim=optim, scheduler=scheduler, ...) and the configs beside it."""
        *others, hidden = own_groups(config)
        classes, scheduler = _scheduler(config)
        overrides = "".join(f"        {_override(config, group, hidden)},\n" for group in others)
        rows = {
            **values_of(config, hidden),
            "betas": "({}, {})".format(*betas_of(config)),
            **({"group_overrides": f"[\n{overrides}    ]"} if overrides else {}),
        }
        return (
            f"from olmo_core.optim import AdamWConfig{', OptimGroupOverride' if overrides else ''}\n"
            f"from olmo_core.optim.scheduler import {classes}\n"
            "from olmo_core.train import Duration\n\n"
            f"TOTAL_STEPS = {whole(config.total_steps)}\n{_batch(config)}\n"
            + (f"# {BIASES}\n" if overrides else "")
            + "optim = AdamWConfig(\n"
            + "".join(f"    {key}={each},\n" for key, each in rows.items())
            + f")\nscheduler = {scheduler}\nmax_duration = Duration.steps(TOTAL_STEPS)\n"
        )

    def read(self, document: Document) -> Config:
        """Calls of the optimizer's and the scheduler's configs, or the same as JSON."""
        content = _sections(document) if document.format == "Python" else document.content
        keys = Keys(content, document.overridable, document.lost)
        optim = _section(keys, "train_module.optim", "optim")
        name = _class(optim) or "AdamWConfig"
        groups, lengths = _read_groups(keys, optim), _lengths(keys)
        peak_lr, eps = groups[NORM_AND_BIAS]["lr"], groups[NORM_AND_BIAS]["eps"]
        return Config(
            convention=chosen("optim", name, OPTIMIZERS, None) or self.convention,
            optimizer=name,
            peak_lr=peak_lr,
            groups=groups_of_values(groups),
            betas=optim.pair_or("betas", (0.9, 0.999), "betas"),
            eps=eps,
            **_read_schedule(keys, peak_lr, lengths),
            **lengths,
            unit="tokens",
            **keys.noted(),
        )


def _override(config: Config, group: Group, hidden: Group) -> str:
    """What differs from the rest; a group keeps its own lr through the schedule."""
    own, rest = values_of(config, group), values_of(config, hidden)
    opts = ", ".join(f"{key}={each}" for key, each in own.items() if each != rest[key])
    return f'OptimGroupOverride(params=["{GLOBS[group.group]}"], opts=dict({opts}))'


def _scheduler(config: Config) -> tuple[str, str]:
    """Classes to import, and the call; of stages, which end at a fraction of each group's own lr, none may be empty."""
    schedule, warmup, falling = config.lr_schedule, whole(config.warmup_steps), whole(config.decay_steps)
    name, floor = schedule.name, value(schedule.floor)
    if name == "wsd-cosine" or (name == "wsd" and schedule.floor):
        shape = ', shape="cosine"' if name == "wsd-cosine" else ""
        stages = {
            "start_lr_fraction=0.0, end_lr_fraction=1.0": warmup,
            "end_lr_fraction=1.0": whole(config.total_steps) - warmup - falling,
            f"end_lr_fraction={floor}{shape}": falling,
        }
        rows = [f"ComposableSchedulerStage(duration={steps}, {ends})" for ends, steps in stages.items() if steps]
        listed = "".join(f"        {row},\n" for row in rows)
        return "ComposableScheduler, ComposableSchedulerStage", f"ComposableScheduler(\n    stages=[\n{listed}    ]\n)"
    options = {
        "constant": "",
        "wsd": f", decay={falling}, decay_fraction=None",
        "inverse-sqrt": ", alpha_f=0.0",
    }.get(name, f", alpha_f={float(floor)}")
    return _CLASSES[name], f"{_CLASSES[name]}(warmup={warmup}{options})"


def _batch(config: Config) -> str:
    """The batch in tokens, as data loaders count it."""
    if config.batch_size is None:
        return f"GLOBAL_BATCH_SIZE = {whole(config.batch_tokens)}  # tokens\n"
    if config.sequence_length is None:
        times = "times your sequence length is the global_batch_size, in tokens"
        return f"SEQUENCES = {whole(config.batch_size)}  # {times}\n"
    return (
        f"SEQUENCE_LENGTH = {whole(config.sequence_length)}\n"
        f"GLOBAL_BATCH_SIZE = {whole(config.batch_size)} * SEQUENCE_LENGTH  # tokens\n"
    )


def _sections(document: Document) -> dict[str, Any]:
    """Calls of Python text under the keys that JSON has."""
    optim: dict[str, Any] = {}
    scheduler: dict[str, Any] = {}
    overrides, stages, lengths = [], [], dict(document.content)
    for call in document.calls:
        name = call.last
        if name in OPTIMIZERS:
            optim = {**call.keywords, "type": name}
        elif name in SCHEDULERS or name in _OTHERS:
            scheduler = {**call.keywords, "type": name}
        elif name == "OptimGroupOverride":
            overrides.append(call.keywords)
        elif name == "ComposableSchedulerStage":
            stages.append(call.keywords)
        lengths |= {key: each for key, each in call.keywords.items() if key in _LENGTHS}
    if not optim:
        raise SpecError(
            "no call of AdamWConfig or SkipStepAdamWConfig is in this Python file: pass the file that has it"
        )
    if isinstance(duration := lengths.get("max_duration"), Unread) and (found := _DURATION.match(duration)):
        number = document.content.get(found[2], found[2])
        lengths["max_duration"] = {"unit": found[1], "value": number}
    if isinstance(units := scheduler.get("units"), Unread):
        scheduler["units"] = str(units).rpartition(".")[2]
    return {
        **lengths,
        "optim": {**optim, "group_overrides": overrides},
        "scheduler": {**scheduler, **({"stages": stages} if stages else {})},
    }


def _section(keys: Keys, *paths: str) -> Keys:
    return next((keys.mapping(path) for path in paths if isinstance(keys.raw(path), dict)), keys.within({}))


def _class(section: Keys) -> str | None:
    name = section.text("_CLASS_", "type")
    return None if name is None else name.rpartition(".")[2]


def _read_groups(keys: Keys, optim: Keys) -> dict[str, dict[str, float | None]]:
    """Learning rate, weight decay and eps by group."""
    own: dict[str, float | None] = {
        "lr": optim.number_or("peak_lr", LR, "lr"),
        "weight_decay": optim.number_or("weight_decay", WEIGHT_DECAY, "weight_decay"),
        "eps": optim.number_or("eps", EPS, "eps"),
    }
    values, overrides = dict.fromkeys(GROUPS, own), optim.raw("group_overrides")
    for override in overrides if isinstance(overrides, list) else []:
        given = Keys(override if isinstance(override, dict) else {})
        opts, params, raw = given.mapping("opts"), given.raw("params"), given.raw("opts")
        kinds = {kind for glob in (params if isinstance(params, list) else [params]) for kind in kinds_named(str(glob))}
        changed = {name: opts.number(name) for name in own if name in opts}
        values |= {kind: {**values[kind], **changed} for kind in kinds}
        for name in sorted((raw if isinstance(raw, dict) else {}).keys() - _KNOWN):
            message = f"{name} in a group override is no option of AdamW: OLMo-core stores it, and nothing reads it"
            fix = "write lr, betas, eps or weight_decay"
            keys.error("ignored-key", f"group_overrides.opts.{name}", message, fix, Mend(key=name))
    return values


def _lengths(keys: Keys) -> dict[str, Any]:
    """Steps or epochs, and the batch, which is counted in tokens."""
    sequence = keys.number("SEQUENCE_LENGTH", "sequence_length", "dataset.sequence_length", "max_sequence_length")
    sequence = sequence or keys.number("train_module.max_sequence_length")
    tokens = keys.number("GLOBAL_BATCH_SIZE", "data_loader.global_batch_size", "global_batch_size")
    rank = keys.number("train_module.rank_microbatch_size", "rank_microbatch_size")
    duration = _section(keys, "trainer.max_duration", "max_duration")
    unit, amount = duration.text("unit"), duration.number("value")
    steps = keys.number("TOTAL_STEPS")
    if unit == "steps":
        steps = amount
    elif unit == "tokens" and amount and tokens:
        steps = amount / tokens
    return {
        "total_steps": steps,
        "epochs": amount if unit == "epochs" else None,
        "total_tokens": amount if unit == "tokens" else None,
        "batch_size": keys.number("SEQUENCES"),
        "batch_tokens": tokens,
        "sequence_length": sequence,
        "per_device_batch_size": rank / sequence if rank and sequence else None,
    }


def _read_schedule(keys: Keys, peak_lr: float | None, lengths: dict[str, Any]) -> dict[str, Any]:
    """Schedule fields; what OLMo-core would refuse is noted."""
    given = _section(keys, "train_module.scheduler", "scheduler", "trainer.callbacks.lr_scheduler.scheduler")
    name = _class(given)
    if name is None:
        return {"schedule": keys.filled("schedule", "constant", "scheduler", "train_module.scheduler")}
    if name in _OTHERS:
        message = f"the schedule {name} has no counterpart here, so it is not judged"
        keys.note("schedule-unread", "scheduler", message, fix="pass its learning rates as a --schedule-file")
        return {}
    schedule = chosen("scheduler", name, SCHEDULERS, None)
    if schedule == "composable":
        return _read_stages(given)
    _note_schedule(given, name, schedule)
    per_step = lengths["batch_tokens"] if given.text("units") == "tokens" else 1.0
    warmup, fraction = given.number("warmup", "warmup_steps"), given.number("warmup_fraction")
    fields: dict[str, Any] = {"schedule": schedule, "warmup_fraction": fraction}
    if warmup is not None and per_step and fraction is None:
        fields["warmup_steps"] = warmup / per_step
    if schedule == "wsd":
        decay, floor = given.number("decay", "decay_steps"), given.number("decay_min_lr")
        if decay is None:
            fields["decay_fraction"] = given.number_or("decay_fraction", DECAY_FRACTION, "decay_fraction")
        elif per_step:
            fields["decay_steps"] = decay / per_step
        fields["final_lr_fraction"] = floor / peak_lr if floor and peak_lr else 0.0
    elif schedule in ("linear", "cosine"):
        fields["final_lr_fraction"] = given.number_or("final_lr_fraction", ALPHA_F, "alpha_f")
    return fields


def _read_stages(given: Keys) -> dict[str, Any]:
    """Stages that are a warm-up from 0, a stable phase and a fall, some of them left out.

    Raises:
        SpecError: they are something else.
    """
    listed = given.raw("stages")
    stages = [Keys(stage) for stage in listed if isinstance(stage, dict)] if isinstance(listed, list) else []
    ends = [stage.number("end_lr_fraction") for stage in stages]
    warms = bool(stages) and stages[0].number("start_lr_fraction") == 0 and ends[0] == 1
    steps = [stage.number("duration") or 0.0 for stage in stages]
    if not stages or any(end != 1 for end in ends[:-1]) or ends[-1] is None or len(stages) > 2 + warms:
        raise SpecError("these stages are no warm-up from 0, stable phase and fall: pass the learning rates as a table")
    shape = "wsd-cosine" if (stages[-1].text("shape") or "linear").endswith("cosine") else "wsd"
    warmup = steps[0] if warms else 0.0
    if ends[-1] == 1:
        return {"schedule": "constant", "warmup_steps": warmup}
    return {"schedule": shape, "warmup_steps": warmup, "decay_steps": steps[-1], "final_lr_fraction": ends[-1]}


def _note_schedule(given: Keys, name: str, schedule: str | None) -> None:
    """Schedulers that OLMo-core refuses to build."""
    saved = given.text("_CLASS_") is not None  # a saved config leaves out what is None
    if name not in ("ConstantScheduler", "constant") and not any(
        key in given for key in ("warmup", "warmup_steps", "warmup_fraction")
    ):
        message = f"{name} has neither warmup nor warmup_fraction, and OLMo-core refuses it"
        given.error("no-warmup", "warmup", message, fix="write warmup=0 if none is meant")
    if schedule == "wsd" and "decay" in given and not saved and not given.unread("decay_fraction"):
        message = "WSD has decay and, by default or not, decay_fraction, and OLMo-core refuses to have both"
        given.error("two-decays", "decay", message, fix="write decay_fraction=None beside decay")
    end = given.number_or("final_lr_fraction", ALPHA_F, "alpha_f") if schedule == "inverse-sqrt" else None
    if end:
        message = f"the square root falls towards {end:g} of the peak (alpha_f); it is judged as if it fell towards 0"
        given.note("floor-ignored", "alpha_f", message, fix="write alpha_f=0.0, or pass the learning rates as a table")
