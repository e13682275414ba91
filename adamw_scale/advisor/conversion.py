"""convert(): one library's weight decay in another's unit, with the cautions each deserves."""

from collections.abc import Iterator

from adamw_scale.errors import MissingInputError, SpecError, UnknownNameError
from adamw_scale.spec.advice import Caution, Conversion
from adamw_scale.theory import conventions
from adamw_scale.theory.conventions import CONVENTIONS, FOLLOWS_SQUARE, Setting

LARGEST = 1e12  # weight decay that is read anywhere
LARGEST_INDEPENDENT = 1e-2  # a fully decoupled value above this is usually a PyTorch value
SMALLEST_PYTORCH = 1e-3  # one below this was usually meant for a fully decoupled optimizer
SMALLEST = 1e-30  # below it, and far below any decay that acts, numbers lose their digits


def convert(value: float, source: str, target: str, setting: Setting, match: str = "peak") -> Conversion:
    """A weight decay in another library's unit.

    Args:
        value: The weight decay as the first library takes it; >= 0.
        source: Its convention, a key of `conventions.CONVENTIONS`.
        target: The convention wanted.
        setting: Learning rate, steps and schedule, as far as they are known.
        match: "peak" keeps the decay at peak learning rate, "mass" its sum over the run; they differ only
            between conventions that follow the schedule differently.

    Raises:
        UnknownNameError: no such convention or match.
        MissingInputError: the conversion depends on something that the setting lacks.
        SpecError: one of the two is L2, which no decoupled weight decay imitates, or the value is too small to act.

    Example:
        >>> convert(1e-4, "big-vision", "pytorch", Setting(peak_lr=1e-3)).weight_decay
        0.1
    """
    if match not in conventions.MATCHES:
        raise UnknownNameError("match", match, conventions.MATCHES)
    for name in (source, target):
        conventions.kind_of(name)  # refuses unknown names and L2
    if not 0 <= value <= LARGEST:
        raise SpecError(f"VALUE = {value:g}: a weight decay lies between 0 and {LARGEST:g}")
    same = CONVENTIONS[source].kind == CONVENTIONS[target].kind
    result = value if same else _converted(value, source, target, setting, match)
    if value and not min(value, result) >= SMALLEST:
        raise SpecError(f"weight decay {value:g} in {source} is zero for every purpose: pass 0, or a larger value")
    return Conversion(
        weight_decay=result,
        from_=source,
        to=target,
        value=value,
        match=match,
        other_match=None if same else _other_match(value, source, target, setting, match),
        pytorch=None if same else conventions.to_pytorch(source, value, setting, match),
        formulas={name: f"w <- w * (1 - {CONVENTIONS[name].formula})" for name in (source, target)},
        cautions=tuple(_cautions(value, source, target, result, match)),
    )


def _converted(value: float, source: str, target: str, setting: Setting, match: str) -> float:
    return conventions.from_pytorch(target, conventions.to_pytorch(source, value, setting, match), setting, match)


def _other_match(value: float, source: str, target: str, setting: Setting, match: str) -> float | None:
    """The result had the other quantity been kept; None where that is the same, or cannot be told."""
    if conventions.kind_of(source).shape is conventions.kind_of(target).shape:
        return None
    other = "mass" if match == "peak" else "peak"
    try:
        return _converted(value, source, target, setting, other)
    except MissingInputError:
        return None


def _cautions(value: float, source: str, target: str, result: float, match: str) -> Iterator[Caution]:
    kinds = {name: conventions.kind_of(name) for name in (source, target)}
    same_shape = kinds[source].shape is kinds[target].shape
    kept = "the decay at peak lr" if match == "peak" else "the sum over the run"
    for name, kind in kinds.items():
        if kind.caution and kinds[source] is not kinds[target] and not (same_shape and kind.shape is FOLLOWS_SQUARE):
            yield Caution(
                code=CONVENTIONS[name].kind,
                message=f"{name}: {kind.caution}; {kept} was kept",
                fix=f"pass --match {'mass' if match == 'peak' else 'peak'} (with --schedule) to keep the other",
            )
    for name, number in ((source, value), (target, result)):
        unit = CONVENTIONS[name].kind
        if unit in ("independent", "fixed") and number > LARGEST_INDEPENDENT:
            yield Caution(
                code="looks-like-pytorch",
                message=f"{number:.3g} removes {number:.2%} of a weight each step at peak in {name}; values there are "
                "1e-6 to 1e-3",
                fix=f"check the unit: PyTorch's 0.1 at lr 1e-3 is 1e-4 in {name}",
            )
        if unit == "pytorch" and 0 < number < SMALLEST_PYTORCH:
            yield Caution(
                code="looks-independent",
                message=f"{number:.3g} hardly decays in {name}, which multiplies it by the learning rate",
                fix="check the unit: values of this size are usually meant for a fully decoupled optimizer",
            )
