"""The rest of an answer, for `--explain`: sources, competitors with theirs, the picture, groups, every caution."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from adamw_scale.cli.range_chart import Row, draw_ranges
from adamw_scale.cli.shared import describe_timescale, remark
from adamw_scale.cli.text import columns, labelled, paragraphs_of
from adamw_scale.spec.advice import Alternative, DecayPerStep, Recommendation
from adamw_scale.theory.conventions import CONVENTIONS
from adamw_scale.theory.parametrizations import PARAMETRIZATIONS
from adamw_scale.units import format_count, format_percent, format_share, format_significant

if TYPE_CHECKING:
    from adamw_scale.spec.advice import Companions, Current, InConvention, Transfer
    from adamw_scale.spec.run import Timescale

NOTABLE_BETA2 = 0.01
SETTLED_RETENTION = 0.15  # above it, the run ends before weights reach their equilibrium


def explained(advice: Recommendation | DecayPerStep) -> list[str]:
    """All that does not fit on the first screen, in paragraphs."""
    parts = _product(advice) if isinstance(advice, DecayPerStep) else _recommendation(advice)
    return [*parts, *(remark(caution) for caution in advice.cautions)]


def _recommendation(advice: Recommendation) -> list[str]:
    rows = {
        **_reasons(advice.rule, advice.companions, advice.timescale),
        **_known(advice.companions),
        "effect": _describe_effect(advice),
        **_companions(advice),
        "assumed": _assumed(advice),
    }
    return [paragraphs_of(rows), _alternatives(advice), _ranges(advice), _groups(advice)]


def _product(advice: DecayPerStep) -> list[str]:
    """What laws say about lr where none is known."""
    rows = _reasons(advice.rule, advice, advice.timescale)
    if advice.beta2 is not None:
        rows["beta2"] = f"{advice.beta2:.4g} keeps Adam's memory at ten million tokens (arXiv:2507.07101)"
    others = _others(advice.alternatives, "lr · λ", lambda other: 1.0 / other.timescale.iters)
    return [paragraphs_of(rows), *_laws(advice), others]


def _reasons(rule: str, about: "Companions | DecayPerStep", tau: "Timescale | None") -> dict[str, str]:
    domain = "inside" if about.in_domain else "OUTSIDE"
    return {
        "rule": f"{rule}: {about.certainty}; this run is {domain} its domain",
        "source": about.source,
        "why": about.derivation,
        "timescale": "none: nothing decays" if tau is None else describe_timescale(tau),
    }


def _known(about: "Companions") -> dict[str, str]:
    """How near the evidence is, and what a miss costs."""
    near = ", ".join(f"{each.source} ({each.octaves:.1f} octaves away)" for each in about.evidence)
    cost = about.cost_of_factor_2
    costs = (
        "not known for such a run"
        if cost is None
        else f"{format_percent(cost)} of the loss (CS312 sweep of a 35M model)"
    )
    return {**({"nearest": near} if near else {}), "a miss": f"half or twice the best λ costs: {costs}"}


def _laws(advice: DecayPerStep) -> list[str]:
    """What each law would train with; its batch is its own optimum, not the run's."""
    if not advice.laws:
        return []
    rows = [
        (
            law.law,
            "-" if law.peak_lr is None else f"{law.peak_lr:.3g}",
            "-" if law.weight_decay is None else format_significant(law.weight_decay),
            "-" if law.batch_size is None else format_count(law.batch_size),
            "inside" if law.in_domain else "outside",
        )
        for law in advice.laws
    ]
    sources = [(law.law, f"{law.source}. {law.certainty}; {law.remark}") for law in advice.laws]
    return [
        columns(("lr laws", "--lr", "λ for that lr and your batch", "the law's own batch", "domain"), rows),
        columns(("law", "source, certainty, remark"), sources),
    ]


def _assumed(advice: Recommendation) -> str:
    """What is always taken to be so."""
    return (
        "the loss of the pretraining itself is what counts, not what is done with the model later; weights are "
        "initialised and batches drawn as usual; gains, biases and norms do not decay"
    )


def _describe_effect(advice: Recommendation) -> str:
    about = advice.companions
    kept = f"{format_percent(about.retention)} of the initial weights survive"
    if (
        about.equilibrium_rms is None
        or about.relative_update is None
        or about.retention >= SETTLED_RETENTION
        or advice.run.optimizer != "adamw"
    ):
        return kept
    return (
        f"{kept}; hidden weights settle near RMS {format_significant(about.equilibrium_rms)}, each step turns them by "
        f"{format_percent(about.relative_update)}"
    )


def _companions(advice: Recommendation) -> dict[str, str]:
    """What else there is to say, where there is."""
    about, rows = advice.companions, {}
    carried = about.reference is not None and about.reference.betas is not None
    if about.beta2 is not None and abs(about.beta2 - advice.run.betas[1]) > NOTABLE_BETA2 and not carried:
        rows["beta2"] = f"{about.beta2:.4g} would keep Adam's memory at ten million tokens (arXiv:2507.07101)"
    if about.reference is not None:
        rows["reference"] = _describe_transfer(about.reference, advice)
    if about.in_convention is not None:
        rows["unit"] = _describe_unit(about.in_convention)
    if about.current is not None:
        rows["today"] = _describe_current(about.current, advice)
    return rows


def _describe_unit(value: "InConvention") -> str:
    """The number to write where the library counts otherwise."""
    low, high = (format_significant(end) for end in value.weight_decay_range)
    return (
        f"{value.convention} wants weight_decay {format_significant(value.weight_decay)} (range {low} to {high}), "
        f"which it takes off as {CONVENTIONS[value.convention].formula}; every λ above and below is PyTorch's, "
        "lr_t * value"
    )


def _describe_transfer(transfer: "Transfer", advice: Recommendation) -> str:
    """What moved, what that does to λ, and what batch and duration ask of the rest."""
    moved = ", ".join(f"{quantity} × {format_significant(ratio)}" for quantity, ratio in transfer.moved.items())
    text = (
        f"λ {format_significant(transfer.weight_decay)} at lr {transfer.peak_lr:g}; {moved or 'nothing moved'}: λ × "
        f"{format_significant(transfer.factor, 3)}"
    )
    own = next((other for other in advice.alternatives if other.peak_lr), None)
    if own and "lr" not in transfer.moved:
        text += f"; lr was kept, {own.rule} would carry it to {own.peak_lr:.3g}"
    if transfer.betas and transfer.eps:
        text += (
            f"; Complete(d)P also wants betas {transfer.betas[0]:.4g} and {transfer.betas[1]:.4g}, eps "
            f"{transfer.eps:.3g} (arXiv:2512.22382)"
        )
    if transfer.half_life_beta2 is not None:
        text += f"; beta2 with the same half-life in tokens is {transfer.half_life_beta2:.4g} (arXiv:2507.07101)"
    return text


def _describe_current(current: "Current", advice: Recommendation) -> str:
    """How the decay in use stands to the range."""
    value, unit = current.weight_decay, advice.companions.in_convention
    said = "" if unit is None else f"{advice.run.weight_decay:g} in {unit.convention} amounts to "
    said += f"λ {format_significant(value)} keeps {format_percent(current.retention)} of the initial weights: "
    if advice.holds(value):
        return f"{said}inside the range, no reason to change it"
    said += f"{'below' if value < advice.weight_decay_range[0] else 'above'} the range"
    if not value:
        return said
    factor = format_significant(advice.weight_decay / value)
    return f"{said}, the recommendation is {factor} times that"


def _alternatives(advice: Recommendation) -> str:
    if advice.companions.reference is None:
        return _others(
            advice.alternatives,
            _symbol(advice),
            lambda other: other.weight_decay or 0,
            advice.rule,
        )
    rows = [
        (
            other.rule,
            format_significant(other.weight_decay or 0),
            f"× {other.factor or 0:.3g}",
            f"{other.peak_lr or advice.base_peak_lr:.3g}",
            format_share(other.timescale.run, "run"),
            other.source,
        )
        for other in advice.alternatives
    ]
    return columns(("carried by", _symbol(advice), "factor", "--lr", "timescale", "source"), rows)


def _others(
    alternatives: Iterable[Alternative], symbol: str, value_of: Callable[[Alternative], float], taken: str = ""
) -> str:
    """What the other rules say; that of the `taken` name is its published self."""
    rows = [
        (
            _name(other, taken),
            format_significant(value_of(other)),
            format_share(other.timescale.run, "run"),
            "inside" if other.in_domain else "outside",
            other.source,
        )
        for other in alternatives
    ]
    return columns(("other rules", symbol, "timescale", "domain", "source"), rows)


def _name(other: Alternative, taken: str) -> str:
    return f"{other.rule} (alone)" if other.rule == taken else other.rule


def _ranges(advice: Recommendation) -> str:
    """The range, the other rules and the value in use on one axis."""
    current = advice.companions.current
    rows = [Row(advice.rule, advice.weight_decay, advice.weight_decay_range, bold=True)]
    rows += [Row(_name(other, advice.rule), other.weight_decay) for other in advice.alternatives if other.weight_decay]
    if current is not None and current.weight_decay:
        rows.append(Row("yours", current.weight_decay))
    return draw_ranges(_symbol(advice), rows)


def _symbol(advice: Recommendation) -> str:
    """What values of the hidden matrices stand under."""
    return "λ" if advice.one_for_all else "λ of hidden"


def _groups(advice: Recommendation) -> str:
    groups = advice.param_groups
    if advice.one_for_all:
        decayed = ", ".join(group.group for group in groups if group.weight_decay)
        spared = ", ".join(group.group for group in groups if not group.weight_decay)
        return labelled("decays", f"{decayed}; not {spared}")
    rows = [
        (
            group.group,
            format_significant(group.weight_decay),
            f"{group.peak_lr:.4g}",
            f"{group.eps:.3g}",
            f"× {group.init_variance:.3g}",
            f"× {group.forward:.3g}",
        )
        for group in groups
    ]
    header = (f"{advice.run.parametrization} groups", "λ", "peak lr", "eps", "init variance", "output")
    residual = PARAMETRIZATIONS[advice.run.parametrization].residual(advice.run.depth_ratio)
    return columns(header, rows) + ("" if residual == 1 else f"\n  residual branches × {residual:.3g}")
