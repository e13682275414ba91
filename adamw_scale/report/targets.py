"""What a calibration says of other runs, for the page's selector: every answer is `recommend`'s own."""

from itertools import product
from typing import Any, NamedTuple

from adamw_scale.advisor import recommend
from adamw_scale.errors import AdamWScaleError
from adamw_scale.spec.measurement import Calibration
from adamw_scale.spec.run import TrainingRun
from adamw_scale.units import format_count

FACTORS = {
    "dataset_size": (0.25, 1.0, 4.0, 16.0, 64.0, 256.0),
    "width": (1.0, 2.0, 4.0, 8.0),
    "epochs": (0.5, 1.0, 2.0),
    "batch_size": (0.5, 1.0, 2.0, 4.0),
    "peak_lr": (0.5, 1.0, 2.0),
}


class Targets(NamedTuple):
    """Values of every axis, and an answer for each combination of them, the last axis fastest.

    An answer is [λ, low, high, peak lr, share of the run, epochs, cautions, doubt]. λ, its range and the peak lr are
    those of hidden matrices. Cautions are places in `cautions`; doubt is the code of the one that says the number must
    not be used, or empty. A combination that cannot be is None.
    """

    axes: dict[str, list[str]]
    base: list[int]  # place of the base run's value on every axis
    answers: list[list[Any] | None]
    cautions: list[str]


def targets_of(calibration: Calibration) -> Targets:
    """Ask for advice at every combination; where a width grows, parameters are taken to grow as its square."""
    base = calibration.optima[0].run
    axes = {
        axis: [float(getattr(base, axis)) * factor for factor in factors]
        for axis, factors in FACTORS.items()
        if getattr(base, axis) is not None
    }
    said: dict[str, int] = {}
    answers = [
        _answer(calibration, _run(base, dict(zip(axes, values, strict=True))), said)
        for values in product(*axes.values())
    ]
    written = {axis: [_written(axis, value) for value in values] for axis, values in axes.items()}
    return Targets(written, [FACTORS[axis].index(1.0) for axis in axes], answers, list(said))


def _written(axis: str, value: float) -> str:
    """A value of an axis for people."""
    return f"{value:.4g}" if axis == "peak_lr" else format_count(value)


def _run(base: TrainingRun, values: dict[str, float]) -> dict[str, Any]:
    fields = {**base.model_dump(exclude_none=True), **values}
    if base.num_params and base.width and "width" in values:
        fields["num_params"] = base.num_params * (values["width"] / base.width) ** 2
    return fields


def _answer(calibration: Calibration, fields: dict[str, Any], said: dict[str, int]) -> list[Any] | None:
    try:
        advice = recommend(TrainingRun.model_validate(fields), calibration=calibration)
    except AdamWScaleError:
        return None  # such as less than a batch of data
    low, high = advice.weight_decay_range
    cautions = [said.setdefault(caution.code + ": " + caution.message, len(said)) for caution in advice.cautions]
    numbers = (advice.weight_decay, low, high, advice.peak_lr, advice.tau.run, advice.tau.epochs)
    return [*(float(f"{number:.4g}") for number in numbers), cautions, advice.doubt.code if advice.doubt else ""]
