"""Training scripts in Python: one optimizer, its schedule, and the lengths around it, as far as text goes."""

import re
from typing import Any

from adamw_scale.formats.document import Call, Document
from adamw_scale.frameworks.config import Config, Group
from adamw_scale.frameworks.optimizer_calls import BY_GROUP, keys_of_optimizer, read_optimizer, the_optimizer
from adamw_scale.frameworks.reading import BATCH_KEYS, EPOCHS_KEYS, Keys, keys_of_call
from adamw_scale.frameworks.schedule_calls import Fields, read_schedule
from adamw_scale.theory.parametrizations import HIDDEN

_STEPS = ("TOTAL_STEPS", "total_steps", "max_steps", "num_training_steps", "max_iters", "total_iters")
_PASSES = (
    *("accum", "accum_steps", "accumulation_steps", "grad_accum", "grad_accum_steps", "gradient_accumulation_steps"),
    *("gradient_accumulation", "accum_iter", "accumulate", "accumulation"),
)
_ACCUMULATES = re.compile(r"(?i)accum")
_DISTRIBUTED = re.compile(
    r"DistributedDataParallel|\bDDP\b|DataParallel|FSDP|[Aa]ccelerat|torchrun|init_process_group|[Ff]abric|deepspeed|"
    r"world_size|WORLD_SIZE|MirroredStrategy|\bpmap\b|accum|xla_model|horovod|devices="
)
# Arguments that say which tensors decay, in code.
_SPARING = ("apply_decay_param_fun", "mask")


def read_script(document: Document, otherwise: str) -> Config:
    """The optimizer of a script, its schedule and its lengths; `otherwise` is the library of a name of no import.

    Raises:
        SpecError: it builds no optimizer that is known here, or several.
    """
    call, made = the_optimizer(document, otherwise)
    keys = keys_of_optimizer(document, call, made)
    fields = read_optimizer(document, keys, call, made)
    schedule, _ = read_schedule(document)
    _take_peak(keys, fields, schedule)
    if fields["peak_lr"] == 1.0 and any(each.last == "LambdaLR" for each in document.calls):  # code has the rate itself
        keys.settle("peak_lr")
        keys.unknown.append("peak_lr")
        fields["peak_lr"] = None
    if any(keys.source(name) is not None for name in _SPARING) or _excludes(document):
        fields["groups"] = tuple(_not_known(group) for group in fields["groups"])
    cycles = [each for each in document.calls if each.last == "OneCycleLR"]
    if cycles and "betas" in fields and cycles[0].keywords.get("cycle_momentum") is not False:
        message = "OneCycleLR also moves beta1, from 0.95 down to 0.85 and back, whatever is set"
        keys.warning("betas-overridden", "cycle_momentum", message, fix="pass cycle_momentum=False")
    end = schedule.pop("end_lr", None)
    if end is not None and fields["peak_lr"]:
        schedule["final_lr_fraction"] = end / fields["peak_lr"]
    elif end:
        schedule.pop("schedule", None)
    keys.changeable.extend(schedule.pop("overridable", ()))
    keys.defaults.extend(schedule.pop("filled", ()))
    return Config(**{**fields, **schedule, **_lengths(document, keys, schedule), **keys.noted()})


def _take_peak(keys: Keys, fields: Fields, schedule: Fields) -> None:
    """The peak of a scheduler that sets the learning rate itself."""
    peak, replaces = schedule.pop("peak_lr", None), schedule.pop("replaces", False)
    if any(each.code == BY_GROUP for each in keys.findings):
        return
    said = fields["peak_lr"] if "peak_lr" not in keys.defaults else None
    if replaces and said and peak and said != peak:
        message = f"lr {said:g} is never used: OneCycleLR starts at a fraction of its max_lr {peak:g} and returns there"
        keys.note("lr-overridden", "max_lr", message, fix=f"nothing to do if {peak:g} is meant")
    if replaces or (peak is not None and said is None):
        for name in ("peak_lr", "lr", "learning_rate"):
            keys.settle(name)
        fields["peak_lr"] = peak or None
        if not peak:
            keys.unknown.append("peak_lr")


def _excludes(document: Document) -> bool:
    """Whether a method tells the optimizer what not to decay."""
    return any(call.name.endswith(".exclude_from_weight_decay") for call in document.calls)


def _not_known(group: Group) -> Group:
    """A group that code may spare; what code names at all it lets decay in matrices."""
    return group if group.group == HIDDEN else group.model_copy(update={"known": False})


def _lengths(document: Document, keys: Keys, schedule: Fields) -> dict[str, Any]:
    """Duration and batch: of the schedule, of what trains, else of names that say no more than that."""
    fields: dict[str, Any] = {}
    steps = schedule.get("total_steps")
    if steps is None:
        steps = _argument(document, keys, "Trainer", "max_steps") or _name(document, keys, _STEPS, "total_steps")
    if steps is not None and steps > 0:
        fields["total_steps"] = steps
        fields["epochs"] = None
    elif "epochs" not in schedule:
        fields["epochs"] = (
            _argument(document, keys, "fit", "epochs")
            or _argument(document, keys, "Trainer", "max_epochs")
            or _name(document, keys, tuple(sorted(EPOCHS_KEYS)), "epochs")
        )
    batch = _argument(document, keys, "fit", "batch_size") or _loaded(document, keys)
    if batch is None:
        batch = _name(document, keys, tuple(sorted(BATCH_KEYS)), "batch_size")
    passes = _argument(document, keys, "Trainer", "accumulate_grad_batches")
    passes = passes or _name(document, keys, _PASSES, "accumulation")
    devices = _argument(document, keys, "Trainer", "devices")
    if batch and passes is None and _ACCUMULATES.search(document.text):
        keys.unknown.append("accumulation")
    if batch:
        alone = not _DISTRIBUTED.search(document.text) and "accumulation" not in keys.unknown
        alone = alone and passes is None and devices is None
        fields["batch_size" if alone else "per_device_batch_size"] = batch
        fields["accumulation"] = passes
        fields["devices"] = devices and devices * (_argument(document, keys, "Trainer", "num_nodes") or 1.0)
    return fields


def _argument(document: Document, keys: Keys, function: str, name: str) -> float | None:
    """A number that every call of a function which has it gives to an argument."""
    found = [each for each in document.calls if each.last == function and name in each.keywords]
    return _agreed(document, keys, found, name)


def _loaded(document: Document, keys: Keys) -> float | None:
    """The batch of the DataLoader that shuffles, or of all where they agree."""
    loaders = [call for call in document.calls if call.last in ("DataLoader", "NumpyLoader")]
    shuffling = [call for call in loaders if call.keywords.get("shuffle") is True]
    return _agreed(document, keys, shuffling or loaders, "batch_size")


def _agreed(document: Document, keys: Keys, calls: list[Call], name: str) -> float | None:
    order = ("dataset", "batch_size") if name == "batch_size" else ()
    numbers = {_positive(keys_of_call(document, call, order), name) for call in calls}
    if len(numbers) != 1 or None in numbers:
        return None
    field = {"epochs": "epochs", "max_epochs": "epochs", "max_steps": "total_steps"}.get(name, "batch_size")
    if any(f"{call.name}.{place}" in document.overridable for call in calls for place in (name, "1")):
        _may_change(keys, field)
    return numbers.pop()


def _name(document: Document, keys: Keys, names: tuple[str, ...], field: str) -> float | None:
    """The number that names of a script are given, where they agree, in capitals or not."""
    found = {}
    for path in document.content:
        last = path.rpartition(".")[2]
        if last in names or last.lower() in names:
            number = _positive(Keys(document.content), path)
            if number is not None:
                found[path] = number
    if len(set(found.values())) != 1:
        return None
    if any(path in document.overridable for path in found):
        _may_change(keys, field)
    return next(iter(found.values()))


def _may_change(keys: Keys, field: str) -> None:
    """Remember that a value is a default; a batch may turn out to be that of a device."""
    keys.changeable += [field, "per_device_batch_size"] if field == "batch_size" else [field]


def _positive(keys: Keys, name: str) -> float | None:
    """A number above 0; None for anything else, as what bears such a name may be anything."""
    value = keys.raw(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e18 else None
