"""ladder(): the advice for several runs at once, with learning rates and batches of published laws where none is given.

A run is said in words, as in a run file, since without a batch it is no `TrainingRun` yet. What a law gives is filled
in in this order: the batch, which no law makes depend on the learning rate, then the learning rate at that batch. It is
rounded to three digits, so that what is printed is what is taken, and no law is known better.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from adamw_scale.advisor.advice import recommend
from adamw_scale.advisor.inputs import run_calibrated, run_like
from adamw_scale.advisor.laws import laws_for
from adamw_scale.errors import MissingInputError, SpecError, UnknownNameError
from adamw_scale.spec.advice import Caution, LawAdvice
from adamw_scale.spec.ladder import Ladder, Rung, SharedCaution
from adamw_scale.spec.run import TrainingRun, above_0, described_by, sized_by_steps
from adamw_scale.theory.lr_laws import LAWS
from adamw_scale.units import format_count

if TYPE_CHECKING:
    from adamw_scale.spec.measurement import Calibration

TOKENS_PER_PARAM = "tokens_per_param"
DATA = ("tokens", "samples", "dataset_size", "steps")  # what else says how much data there are
TOLD_APART_BY = {
    "num_params": "",
    "dataset_size": "data-",
    "width": "width-",
    "depth": "depth-",
    "batch_size": "batch-",
    "epochs": "epochs-",
    "peak_lr": "lr-",
}


class Filled(NamedTuple):
    """A run with the laws that filled it in."""

    run: TrainingRun
    lr_law: LawAdvice | None = None
    batch_law: LawAdvice | None = None


def ladder(
    runs: Iterable[TrainingRun | Mapping[str, Any]],
    rule: str | None = None,
    calibration: "Calibration | None" = None,
    reference: TrainingRun | None = None,
    lr_law: str | None = None,
) -> Ladder:
    """What `recommend` says of each of several runs, in their order.

    Args:
        runs: Each a run, or the words for one: its fields, tokens, steps, lr, and tokens_per_param, the unique tokens
            per parameter. Where batch or learning rate are missing, a published law fills them in.
        rule: As in `recommend`.
        calibration: As in `recommend`.
        reference: As in `recommend`; what the words do not say is as there, and the rule carries its learning rate.
        lr_law: Name of the law that fills in; without one the first in whose domain the run lies.

    Raises:
        UnknownNameError: no such law, rule or field.
        MissingInputError: a run lacks something that no law gives.
        SpecError: a run contradicts itself, or the law has nothing to fill in.

    Example:
        >>> each = {"tokens_per_param": 20, "batch_size": "0.5M", "lr": 1e-3}
        >>> answer = ladder([{**each, "params": "300M"}, {**each, "params": "1B"}])
        >>> [(rung.name, f"{rung.hidden.weight_decay:.2g}") for rung in answer.rungs]
        [('300M', '0.55'), ('1B', '0.16')]
    """
    if lr_law is not None and lr_law not in LAWS:
        raise UnknownNameError("learning-rate law", lr_law, LAWS)
    said = list(runs)
    rungs = []
    for number, run in enumerate(said, 1):
        try:
            filled = _filled(run, calibration, reference, lr_law)
            rungs.append((filled, recommend(filled.run, rule, calibration, reference)))
        except UnknownNameError:
            raise
        except SpecError as error:
            raise type(error)(f"rung {number} of {len(said)}: {error}" if len(said) > 1 else str(error)) from None
    if not rungs:
        raise MissingInputError("a ladder without a run: give at least one")
    if lr_law is not None and not any(filled.lr_law or filled.batch_law for filled, _ in rungs):
        raise SpecError(
            f"--lr-law {lr_law} has nothing to fill in where --lr and --batch-size are given: drop --lr-law, or one of "
            "the two"
        )
    names = _names([recommendation.run for _, recommendation in rungs])
    answer = tuple(
        Rung(name=name, recommendation=recommendation, lr_law=filled.lr_law, batch_law=filled.batch_law)
        for name, (filled, recommendation) in zip(names, rungs, strict=True)
    )
    own = {rung.name: rung.recommendation.cautions for rung in answer}
    return Ladder(rungs=answer, cautions=(*_of_the_laws(answer), *shared(own)))


def described(words: Mapping[str, Any]) -> dict[str, Any]:
    """Words for a rung as `described_by` gives them, and tokens_per_param as it was said.

    Raises:
        SpecError: the size of the data set is said twice.
    """
    plain = {name.replace("-", "_"): name for name in words}
    own = plain.get(TOKENS_PER_PARAM)
    if own is None:
        return described_by(words)
    if twice := [name for name in DATA if name in plain]:
        raise SpecError(
            f"--tokens-per-param and --{twice[0].replace('_', '-')} both give the size of the data set: keep one"
        )
    return {**described_by({name: value for name, value in words.items() if name != own}), TOKENS_PER_PARAM: words[own]}


def without_what_is_said_anew(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Words, as `described` gives them, but for the size of the data set where the words over them say it otherwise."""
    if TOKENS_PER_PARAM in own:
        return {name: value for name, value in base.items() if name not in DATA}
    dropped = {TOKENS_PER_PARAM} if own.keys() & set(DATA) else set()
    return {name: value for name, value in base.items() if name not in dropped}


def shared(cautions: Mapping[str, Iterable[Caution]]) -> tuple[SharedCaution, ...]:
    """The cautions of rungs by name, every code once."""
    by_code: dict[str, list[tuple[str, Caution]]] = {}
    for name, of_rung in cautions.items():
        for caution in of_rung:
            by_code.setdefault(caution.code, []).append((name, caution))
    return tuple(_as_one(each) for each in by_code.values())


def _as_one(of_rungs: Sequence[tuple[str, Caution]]) -> SharedCaution:
    last, caution = of_rungs[-1]
    alike = all(other.message == caution.message for _, other in of_rungs)
    return SharedCaution(
        code=caution.code,
        message=caution.message if alike else f"at {last}: {caution.message}",
        fix=caution.fix,
        rungs=tuple(dict.fromkeys(name for name, _ in of_rungs)),
    )


def _filled(
    said: TrainingRun | Mapping[str, Any],
    calibration: "Calibration | None",
    reference: TrainingRun | None,
    lr_law: str | None,
) -> Filled:
    """The run that is said, with batch and learning rate; a reference gives both, unless a law is asked for."""
    if isinstance(said, TrainingRun):
        run, batch_law = said, None
    else:
        run, batch_law = _run_of(_sized(described(said)), calibration, reference, lr_law)
    if run.peak_lr is not None or (reference is not None and lr_law is None):
        return Filled(run, None, batch_law)
    law = _law(run, "--lr", lr_law if batch_law is None else batch_law.law)
    at_lr = {**dict(run), "peak_lr": _rounded(law.peak_lr or 0.0)}
    return Filled(TrainingRun.model_construct(_fields_set=set(run.model_fields_set), **at_lr), law, batch_law)


def _run_of(
    words: dict[str, Any], calibration: "Calibration | None", reference: TrainingRun | None, lr_law: str | None
) -> tuple[TrainingRun, LawAdvice | None]:
    """The run of the words; where nothing says its batch, a law's."""
    if reference is not None:
        return run_like(reference, words), None
    if calibration is not None and lr_law is None:
        return run_calibrated(calibration, words), None
    if words.keys() & {"batch_size", "sequences", "steps"} or "dataset_size" not in words:
        return TrainingRun.model_validate(sized_by_steps(words)), None
    words = sized_by_steps(words)  # without steps it only leaves out those of a schedule's table
    least = words.get("sequence_length") or 1  # any will do: a law's batch depends on model and data alone
    unbatched = TrainingRun.model_validate({**words, "batch_size": least})
    law = _law(unbatched, "--batch-size", lr_law)
    sequence = unbatched.sequence_length
    batch = law.batch_size or 0.0
    whole = max(1, round(batch / sequence)) * sequence if sequence else _rounded(batch)
    return TrainingRun.model_validate({**words, "batch_size": whole}), law


def _sized(words: dict[str, Any]) -> dict[str, Any]:
    """Words with the size of the data set in place of tokens_per_param."""
    if TOKENS_PER_PARAM not in words:
        return words
    ratio, params = words.pop(TOKENS_PER_PARAM), words.get("num_params")
    if params is None:
        raise MissingInputError("--tokens-per-param needs the number of parameters: pass --params")
    if words.get("unit", "tokens") != "tokens":
        raise SpecError("--tokens-per-param gives tokens, and --unit says samples: drop one of the two")
    size = above_0("--tokens-per-param", ratio) * above_0("--params", params)
    return {**words, "dataset_size": size, "unit": "tokens"}


def _law(run: TrainingRun, option: str, name: str | None) -> LawAdvice:
    """The law that gives what an option would: the one of that name, else the first in whose domain the run lies.

    Raises:
        MissingInputError: there is none.
    """
    laws = [law for law in laws_for(run) if option == "--lr" or law.batch_size is not None]
    if not laws:
        raise MissingInputError(f"{_why_silent(run)}, so no published law gives what {option} does not: pass {option}")
    if name is None:
        inside = next((law for law in laws if law.in_domain), None)
        if inside is None:
            raise MissingInputError(
                f"{format_count(run.num_params or 0)} parameters and {format_count(run.total_units)} tokens are "
                f"outside the domain of every published law: pass {option}, or take one as it is with --lr-law NAME "
                f"({', '.join(law.law for law in laws)})"
            )
        return inside
    chosen = next((law for law in laws if law.law == name), None)
    if chosen is None:
        raise MissingInputError(f"--lr-law {name} gives no batch: pass {option}, or another law")
    return chosen


def _why_silent(run: TrainingRun) -> str:
    """Why no law speaks of a run."""
    if run.unit != "tokens":
        return "sizes are in samples"
    if run.num_params is None:
        return "--params is not given"
    return f"--task is {run.task}" if run.task != "pretraining" else f"--optimizer is {run.optimizer}"


def _rounded(value: float) -> float:
    """To three significant digits."""
    return float(f"{value:.3g}")


def _names(runs: Sequence[TrainingRun]) -> list[str]:
    """What tells runs apart: the first quantity in which no two are alike, else their numbers."""
    for field, prefix in TOLD_APART_BY.items():
        values = [getattr(run, field) for run in runs]
        if None in values:
            continue
        texts = [f"{prefix}{_short(value)}" for value in values]
        if len(set(texts)) == len(texts):
            return texts
    return [f"rung-{number}" for number in range(1, len(runs) + 1)]


def _short(value: float) -> str:
    """A quantity as part of a file name."""
    return format_count(value).replace(",", "") if value >= 1 else f"{value:g}"


def _of_the_laws(rungs: Sequence[Rung]) -> Iterator[SharedCaution]:
    """Where the learning rates come from more than one law."""
    of_law: dict[str, list[str]] = {}
    for rung in rungs:
        if rung.lr_law is not None:
            of_law.setdefault(rung.lr_law.law, []).append(rung.name)
    if len(of_law) > 1:
        yield SharedCaution(
            code="several-laws",
            message="learning rates are of "
            + ", ".join(f"{law} at {', '.join(names)}" for law, names in of_law.items())
            + "; each law was fitted on its own, so the rate jumps between them",
            fix=f"take one for all, as with --lr-law {max(of_law, key=lambda law: len(of_law[law]))}, or pass --lr",
            rungs=tuple(name for names in of_law.values() for name in names),
        )
