"""The run that advice is for, where it is said by what differs from another one: a tuned run, or a calibrated one."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from adamw_scale.errors import SpecError
from adamw_scale.spec.run import TrainingRun, said_over, sized_by_steps
from adamw_scale.units import parse_quantity

if TYPE_CHECKING:
    from adamw_scale.spec.measurement import Calibration

OF_THE_SAME_RUN = {"sequence_length", "weight_decay", "convention"}  # what leaves a calibration's run the probed one
OF_ITS_OWN = {"peak_lr", "weight_decay", "convention"}  # left to the words, or to the rule that carries the tuned run


def run_like(tuned: TrainingRun, words: Mapping[str, Any]) -> TrainingRun:
    """The run that words (as `described_by` gives them) describe, everything else as in the tuned one.

    A model of another width or depth has other parameters, so those of the tuned one are left out there.

    Raises:
        SpecError: the words count in another unit, or contradict the rest.
    """
    inherited = {name: value for name, value in tuned if name not in OF_ITS_OWN and value is not None}
    if any(_differs(words[size], inherited[size]) for size in {"width", "depth"} & words.keys() & inherited.keys()):
        inherited.pop("num_params", None)
    return TrainingRun.model_validate(sized_by_steps(said_over(inherited, words)))


def _differs(said: Any, tuned: float) -> bool:
    """Whether a size that was said, perhaps as text, is another than the tuned run's."""
    try:
        return parse_quantity(str(said)) != tuned
    except SpecError:
        return True  # the run itself refuses it


def run_calibrated(calibration: "Calibration", words: Mapping[str, Any]) -> TrainingRun:
    """The run that words describe; the probed one where they describe no other."""
    probed = calibration.optima[0].run.model_dump() if words.keys() <= OF_THE_SAME_RUN else {}
    return TrainingRun.model_validate(sized_by_steps({**probed, **words}))
