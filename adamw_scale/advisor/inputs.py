"""The run that advice is for, where it is said by what differs from another one: a tuned run, or a calibrated one."""

from collections.abc import Mapping
from typing import Any

from adamw_scale.errors import SpecError
from adamw_scale.spec.measurement import Calibration
from adamw_scale.spec.run import TrainingRun
from adamw_scale.theory.schedules import OPTIONS

OF_THE_SAME_RUN = {"sequence_length", "weight_decay", "convention"}  # what leaves a calibration's run the probed one


def run_like(tuned: TrainingRun, fields: Mapping[str, Any]) -> TrainingRun:
    """The run that fields describe, everything else as in the tuned one.

    Left to the fields, or to the rule: the learning rate. Left out where the model changed and they were not
    said again: its parameters. The tuned weight decay is no decay in use.

    Raises:
        SpecError: the fields count in another unit, or contradict the rest.
    """
    fixed = {"peak_lr", "weight_decay", "convention"}
    if {"width", "depth"} & fields.keys():
        fixed |= {"num_params"}
    if {"schedule", "schedule_table"} & fields.keys():
        fixed |= {*OPTIONS, "schedule"}
    if {"warmup_fraction", "warmup_steps"} & fields.keys():
        fixed |= {"warmup_fraction", "warmup_steps"}
    if fields.get("parametrization", tuned.parametrization) == "standard":
        fixed |= {"base_width", "base_depth"}
    inherited = {name: value for name, value in tuned if name not in fixed and value is not None}
    if fields.get("unit", tuned.unit) != tuned.unit:
        raise SpecError(f"the reference counts {tuned.unit}: give every size in {tuned.unit}")
    return TrainingRun.model_validate({**inherited, **fields})


def run_calibrated(calibration: Calibration, fields: Mapping[str, Any]) -> TrainingRun:
    """The run that fields describe; the probed one where they describe no other."""
    probed = calibration.optima[0].run.model_dump() if fields.keys() <= OF_THE_SAME_RUN else {}
    return TrainingRun.model_validate({**probed, **fields})
