"""The run that advice is for, where it is said by what differs from another one: a tuned run, or a calibrated one."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from adamw_scale.errors import SpecError
from adamw_scale.spec.run import TrainingRun, said_over, sized_by_steps
from adamw_scale.units import parse_quantity

if TYPE_CHECKING:
    from adamw_scale.spec.measurement import Calibration

OF_ITS_OWN = {"weight_decay", "convention"}  # left to the words


def run_like(tuned: TrainingRun, words: Mapping[str, Any]) -> TrainingRun:
    """The run that words (as `described_by` gives them) describe, everything else as in the tuned one.

    A model of another width or depth has other parameters, so those of the tuned one are left out there, and where the
    tuned one does not say it.

    Raises:
        SpecError: the words count in another unit, or contradict the rest.
    """
    return _like(tuned, words, {*OF_ITS_OWN, "peak_lr"})  # its rate is left to the rule that carries it


def run_calibrated(calibration: "Calibration", words: Mapping[str, Any]) -> TrainingRun:
    """The same, like the first run that was probed, at its learning rate."""
    return _like(calibration.optima[0].run, words, OF_ITS_OWN)


def _like(tuned: TrainingRun, words: Mapping[str, Any], own: set[str]) -> TrainingRun:
    """Only what the words say counts as said (`model_fields_set`)."""
    inherited = {name: value for name, value in tuned if name not in own and value is not None}
    if any(_differs(words[size], inherited.get(size)) for size in {"width", "depth"} & words.keys()):
        inherited.pop("num_params", None)  # a model of another shape has another size, and the other way round
    if "num_params" in words and _differs(words["num_params"], inherited.get("num_params", 0)):
        inherited = {name: value for name, value in inherited.items() if name not in ("width", "depth")}
    run = TrainingRun.model_validate(sized_by_steps(said_over(inherited, words)))
    of_others = {"steps": {"dataset_size", "epochs"}, "sequences": {"batch_size"}}
    said = {*words}.union(*(fields for word, fields in of_others.items() if word in words))
    return TrainingRun.model_construct(_fields_set=said & {*TrainingRun.model_fields}, **dict(run))


def _differs(said: Any, tuned: float | None) -> bool:
    """Whether a size that was said, perhaps as text, is another than the tuned run's, or perhaps is."""
    try:
        return parse_quantity(str(said)) != tuned
    except SpecError:
        return True  # the run itself refuses it
