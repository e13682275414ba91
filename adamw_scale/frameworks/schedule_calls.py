"""Schedulers that Python text builds: their shape, their warm-up, and their length where it is a number.

A class of torch counts whatever its step() is called for, which is code: a length is taken for epochs or for steps
only where its name in the text says so.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from adamw_scale.formats.document import Call, Document
from adamw_scale.frameworks.reading import Keys, keys_of_call
from adamw_scale.theory.schedules import ONE_CYCLE_WARMUP

Fields = dict[str, Any]


class Scheduler(NamedTuple):
    """A call that builds a schedule: its arguments in order, and what they say of it."""

    order: tuple[str, ...]
    read: Callable[[Keys], Fields]
    length: tuple[str, ...] = ()  # arguments that say how long it is
    counts: str = ""  # "steps", where nothing else can be meant


def _named(name: str, *, floor: str = "", peak: str = "") -> Callable[[Keys], Fields]:
    """A shape of our own, with the argument that is its absolute end, and the one that is its peak."""

    def read(keys: Keys) -> Fields:
        fields: Fields = {"schedule": name}
        if peak:
            fields["peak_lr"] = keys.number(peak)
        if floor and name != "constant":
            fields["end_lr"] = keys.number(floor) or 0.0
            fields["filled"] = _filled(keys, floor)
            if keys.unread(floor):
                return {"peak_lr": fields.get("peak_lr")}
        if "num_warmup_steps" in keys or keys.unread("num_warmup_steps"):
            fields["warmup_steps"] = keys.number("num_warmup_steps")
            if fields["warmup_steps"] is None:
                return {}
        return fields

    return read


def _get_scheduler(keys: Keys) -> Fields:
    """get_scheduler(name, ...) of transformers and diffusers."""
    name = (keys.text("name") or "").rpartition(".")[2].lower()
    known = {
        "linear": "linear",
        "cosine": "cosine",
        "constant": "constant",
        "constant_with_warmup": "constant",
        "inverse_sqrt": "inverse-sqrt",
    }
    if name not in known:
        return {}
    fields = _named(known[name])(keys)
    if name == "constant":
        fields.pop("warmup_steps", None)
    return fields


def _half_cosine(keys: Keys) -> Fields:
    """transformers' cosine, half a wave unless it is told another number."""
    waves = keys.number("num_cycles")
    return _named("cosine")(keys) if waves in (None, 0.5) and not keys.unread("num_cycles") else {}


def _polynomial(keys: Keys) -> Fields:
    """transformers' polynomial, a line unless it is told a power."""
    if keys.unread("power") or keys.unread("lr_end"):
        return {}
    power, end = keys.number("power"), keys.number("lr_end")
    fields = _named("linear" if power in (None, 1.0) else "polynomial")(keys)
    if not fields:
        return {}
    fields |= {"end_lr": 1e-7 if end is None else end, "filled": _filled(keys, "lr_end")}
    return fields if power in (None, 1.0) else {**fields, "schedule_power": power}


def _linear_lr(keys: Keys) -> Fields:
    """torch's LinearLR, where it falls from the peak."""
    start, end = keys.number("start_factor"), keys.number("end_factor")
    if start != 1.0 or end is None or end > 1:
        return {}
    return {"schedule": "linear", "final_lr_fraction": end}


def _one_cycle(keys: Keys) -> Fields:
    """torch's OneCycleLR, whose max_lr is the peak whatever the optimizer's lr is."""
    peak = keys.number("max_lr") if not isinstance(keys.raw("max_lr"), list) else None
    if any(keys.unread(each) for each in ("pct_start", "div_factor", "final_div_factor")) or keys.text(
        "anneal_strategy"
    ) not in (None, "cos"):
        return {"peak_lr": peak, "replaces": True}
    start, last = keys.number("div_factor"), keys.number("final_div_factor")
    warmup = keys.number("pct_start")
    end = 1 / ((25.0 if start is None else start) * (1e4 if last is None else last) or 1.0)
    filled = {"final_lr_fraction": start is None or last is None, "warmup_fraction": warmup is None}
    return {
        "filled": tuple(field for field, by_default in filled.items() if by_default),
        "peak_lr": peak,
        "replaces": True,
        "schedule": "one-cycle",
        "warmup_fraction": ONE_CYCLE_WARMUP if warmup is None else warmup,
        "final_lr_fraction": min(1.0, end),
    }


def _filled(keys: Keys, floor: str) -> tuple[str, ...]:
    """The field that a default fills where nothing says how low the learning rate goes."""
    return () if floor in keys else ("final_lr_fraction",)


def _cosine_to_a_part(keys: Keys) -> Fields:
    """A cosine to a part of its peak, as Keras and optax spell it."""
    return {
        "schedule": "cosine",
        "final_lr_fraction": keys.number("alpha") or 0.0,
        "filled": _filled(keys, "alpha"),
    }


def _keras_cosine(keys: Keys) -> Fields:
    """Keras' CosineDecay: initial_learning_rate is the peak unless there is a warmup_target."""
    if any(keys.unread(each) for each in ("alpha", "warmup_target", "warmup_steps")):
        return {}
    target, warmup = keys.number("warmup_target"), keys.number("warmup_steps")
    peak = keys.number("initial_learning_rate") if target is None else target
    fields: Fields = {"peak_lr": peak, **_cosine_to_a_part(keys)}
    return {**fields, "warmup_steps": warmup, "after_warmup": True} if warmup and target is not None else fields


def _linear_end(keys: Keys) -> Fields:
    """PolynomialDecay of Keras and of Paddle, and optax.linear_schedule."""
    if keys.unread("end") or keys.unread("power"):
        return {"peak_lr": keys.number("start")}
    power, end = keys.number("power"), keys.number("end")
    shape: Fields = (
        {"schedule": "linear"} if power in (None, 1.0) else {"schedule": "polynomial", "schedule_power": power}
    )
    end = 1e-4 if end is None else end
    return {**shape, "peak_lr": keys.number("start"), "end_lr": end, "filled": _filled(keys, "end")}


def _linear_with_warmup(keys: Keys) -> Fields:
    """PaddleNLP's: a warm-up below 1 is a part of the run."""
    fields: Fields = {"peak_lr": keys.number("learning_rate")}
    warmup = keys.number("warmup")
    if warmup is None:
        return fields
    part: Fields = {"warmup_fraction": warmup} if 0 < warmup < 1 else {"warmup_steps": warmup}
    return {**fields, "schedule": "linear", **part}


def _optax_cosine(keys: Keys) -> Fields:
    return {"peak_lr": keys.number("init_value")} | ({} if keys.unread("alpha") else _cosine_to_a_part(keys))


def _optax_warmup_cosine(keys: Keys) -> Fields:
    fields: Fields = {"peak_lr": keys.number("peak_value")}
    warmup, end = keys.number("warmup_steps"), keys.number("end_value")
    if warmup is None or keys.unread("end_value") or keys.number("init_value"):
        return fields
    return {**fields, "schedule": "cosine", "warmup_steps": warmup, "end_lr": end or 0.0}


_HF = ("optimizer", "num_warmup_steps", "num_training_steps")
_HF_LENGTH = ("num_training_steps",)
SCHEDULERS: dict[str, Scheduler] = {
    "get_linear_schedule_with_warmup": Scheduler(_HF, _named("linear"), _HF_LENGTH, "steps"),
    "get_cosine_schedule_with_warmup": Scheduler((*_HF, "num_cycles"), _half_cosine, _HF_LENGTH, "steps"),
    "get_polynomial_decay_schedule_with_warmup": Scheduler((*_HF, "lr_end", "power"), _polynomial, _HF_LENGTH, "steps"),
    "get_constant_schedule_with_warmup": Scheduler(_HF[:2], _named("constant")),
    "get_constant_schedule": Scheduler(("optimizer",), _named("constant")),
    "get_inverse_sqrt_schedule": Scheduler(_HF[:2], _named("inverse-sqrt")),
    "get_scheduler": Scheduler(("name", *_HF), _get_scheduler, _HF_LENGTH, "steps"),
    "CosineAnnealingLR": Scheduler(("optimizer", "T_max", "eta_min"), _named("cosine", floor="eta_min"), ("T_max",)),
    "LinearLR": Scheduler(("optimizer", "start_factor", "end_factor", "total_iters"), _linear_lr, ("total_iters",)),
    "OneCycleLR": Scheduler(
        (
            *("optimizer", "max_lr", "total_steps", "epochs", "steps_per_epoch", "pct_start", "anneal_strategy"),
            *("cycle_momentum", "base_momentum", "max_momentum", "div_factor", "final_div_factor"),
        ),
        _one_cycle,
        ("total_steps", "epochs"),
    ),
    "CosineDecay": Scheduler(
        ("initial_learning_rate", "decay_steps", "alpha", "name", "warmup_target", "warmup_steps"),
        _keras_cosine,
        ("decay_steps",),
        "steps",
    ),
    "PolynomialDecay": Scheduler(("start", "decay_steps", "end", "power"), _linear_end, ("decay_steps",), "steps"),
    "CosineAnnealingDecay": Scheduler(
        ("learning_rate", "T_max", "eta_min"), _named("cosine", floor="eta_min", peak="learning_rate"), ("T_max",)
    ),
    "LinearDecayWithWarmup": Scheduler(
        ("learning_rate", "total_steps", "warmup"), _linear_with_warmup, ("total_steps",), "steps"
    ),
    "cosine_decay_schedule": Scheduler(
        ("init_value", "decay_steps", "alpha"), _optax_cosine, ("decay_steps",), "steps"
    ),
    "warmup_cosine_decay_schedule": Scheduler(
        ("init_value", "peak_value", "warmup_steps", "decay_steps", "end_value"),
        _optax_warmup_cosine,
        ("decay_steps",),
        "steps",
    ),
    "constant_schedule": Scheduler(("value",), _named("constant", peak="value")),
}
# The same arguments under other names.
_RENAMED = {"initial_learning_rate": "start", "end_learning_rate": "end", "end_lr": "end", "learning_rate": "start"}
_OTHERS = re.compile(
    r"(?:\w*LR|\w*(?:Decay|Scheduler|schedule|Restarts|Plateau|LinearWarmup|scheduler)(?:_with_warmup)?|join_schedules)"
)
_NO_SCHEDULES = frozenset({"weight_decay", "no_weight_decay", "exclude_from_weight_decay", "GradScaler"})


def scheduler_calls(document: Document) -> list[Call]:
    """Calls that build a schedule, known or not."""
    return [
        call
        for call in document.calls
        if (last := call.last) in SCHEDULERS
        or (last == "SequentialLR")
        or (_OTHERS.fullmatch(last) and "." in call.name and last not in _NO_SCHEDULES and last[0].isupper())
    ]


def read_schedule(document: Document) -> tuple[Fields, str]:
    """Fields of a `Config` that the schedulers of a text say, and why they are not known where they are not.

    `peak_lr` is among them where a scheduler sets it; `replaces` where that goes before the optimizer's; `filled` are
    those that its own defaults fill.
    """
    calls = scheduler_calls(document)
    if not calls:
        return {}, "no scheduler that is known here is built in the text"
    names = [call.last for call in calls]
    if "SequentialLR" in names:
        return _sequence(document, calls)
    distinct = {repr((call.name, call.keywords, call.positional[1:])): call for call in calls}
    own = {"replaces": True} if "CyclicLR" in names else {}  # its max_lr goes before the optimizer's lr
    if len(distinct) > 1:
        return own, f"{len(distinct)} schedulers are built: {', '.join(dict.fromkeys(names))}"[:200]
    if names[0] not in SCHEDULERS:
        return own, f"{names[0]} is not read here"
    fields = _fields(document, calls[0])
    return fields, "" if fields.get("schedule") else f"{names[0]} has arguments that are code"


def _fields(document: Document, call: Call) -> Fields:
    kind = SCHEDULERS[call.last]
    keys = keys_of_call(document, call, kind.order)
    if kind.order[:1] == ("start",):
        keys = keys.within({_RENAMED.get(name, name): keys.source(name) for name in (*kind.order, *call.keywords)})
    fields = {name: value for name, value in kind.read(keys).items() if value is not None}
    changeable = {"peak_lr"} & fields.keys() and any(
        f"{call.name}.{each}" in document.overridable for each in call.keywords
    )
    if changeable:
        fields["overridable"] = ("peak_lr",)
    for name in kind.length:
        amount = keys.number(name)
        unit = kind.counts or _unit(_spelled(call, name, kind.order), name)
        if amount and unit:
            fields["total_steps" if unit == "steps" else "epochs"] = amount
            place = name if name in call.keywords else str(kind.order.index(name))
            if f"{call.name}.{place}" in document.overridable:
                fields["overridable"] = (*fields.get("overridable", ()), "total_steps" if unit == "steps" else "epochs")
    fields["overridable"] = (*fields.get("overridable", ()), *keys.changeable)
    if fields.pop("after_warmup", False) and "total_steps" in fields:
        fields["total_steps"] += fields["warmup_steps"]
    return fields


def _sequence(document: Document, calls: list[Call]) -> tuple[Fields, str]:
    """A SequentialLR of a LinearLR that warms up and one more."""
    others = [call for call in calls if call.last not in ("SequentialLR", "LinearLR", "ConstantLR")]
    sequence = next(call for call in calls if call.last == "SequentialLR")
    ends = sequence.keywords.get("milestones", sequence.positional[2] if len(sequence.positional) > 2 else None)
    warmups = [call for call in calls if call.last == "LinearLR"]
    if len(others) != 1 or len(warmups) != 1 or others[0].last not in SCHEDULERS:
        return {}, "the schedulers that SequentialLR joins are not a warm-up and one that is read here"
    fields = _fields(document, others[0])
    for length in ("total_steps", "epochs"):  # of what comes after the warm-up
        fields.pop(length, None)
    if not isinstance(ends, list) or len(ends) != 1 or not isinstance(ends[0], int | float):
        return {}, "where SequentialLR goes from one scheduler to the next is code"
    lengths = (
        sequence.spelled.get("milestones", ""),
        _spelled(warmups[0], "total_iters", SCHEDULERS["LinearLR"].order),
    )
    if any(_unit(spelled, "") == "epochs" for spelled in lengths):
        return {}, "the warm-up is counted in epochs"
    return {**fields, "warmup_steps": float(ends[0])}, ""


def _spelled(call: Call, name: str, order: tuple[str, ...]) -> str:
    place = str(order.index(name)) if name in order else name
    return call.spelled.get(name, call.spelled.get(place, ""))


def _unit(spelled: str, argument: str) -> str:
    """What a length counts, by its name in the text; empty where that does not tell."""
    words = f"{spelled} {argument}".lower()
    if "epoch" in words:
        return "epochs"
    return "steps" if re.search(r"step|iter|update", words) else ""
