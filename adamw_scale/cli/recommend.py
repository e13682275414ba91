"""adamw-scale recommend: the advice."""

from typing import TYPE_CHECKING, Annotated

import typer

from adamw_scale.cli.run_options import Given, run_from, run_options
from adamw_scale.cli.text import columns, labelled, styled
from adamw_scale.units import format_count, format_percent, format_significant

if TYPE_CHECKING:
    from adamw_scale.spec import Calibration, Recommendation, TrainingRun


@run_options
def recommend(
    given: Given,
    rule: Annotated[
        str | None,
        typer.Option("--rule", help="Use this rule instead of the default of the run's regime.", metavar="NAME"),
    ] = None,
    calibration: Annotated[
        str | None,
        typer.Option(
            "--calibration",
            help="Use constants measured by calibrate; without run options, advise the calibrated run.",
            metavar="FILE",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout, numbers unrounded.")] = False,
) -> None:
    """Which weight decay to use for a run: the value, its range, its source, its competitors, its limits.

    adamw-scale recommend --params 1.3B --tokens 26B --batch-size 0.5M --lr 3e-4 --schedule linear

    The weight decay is in PyTorch's convention: each step multiplies weights by 1 - lr·λ.
    """
    recommendation = recommendation_from(given, rule, calibration)
    if json:
        print(recommendation.to_json())
    else:
        print(render(recommendation))


def recommendation_from(given: Given, rule: str | None = None, calibration: str | None = None) -> "Recommendation":
    """The advice that options ask for; shared by every command that starts from a run."""
    from adamw_scale.advisor import recommend as advise

    measured = None
    if calibration is not None:
        from adamw_scale.calibration import load_calibration

        measured = load_calibration(calibration)
    run = _calibrated_run(measured) if measured and not given else run_from(given)
    return advise(run, rule=rule, calibration=measured)


def _calibrated_run(calibration: "Calibration") -> "TrainingRun":
    """The run that was probed, as a run to advise."""
    return calibration.optima[0].run


def render(recommendation: "Recommendation") -> str:
    """The advice for a person: the number first, then why, then against what, then how far to trust it."""
    parts = [_answer(recommendation), _alternatives(recommendation), _groups(recommendation)]
    parts += [
        labelled("caution", f"{caution.code}: {caution.message}", color="yellow")
        + "\n"
        + labelled("  fix", caution.fix)
        for caution in recommendation.cautions
    ]
    return "\n\n".join(parts)


def _answer(recommendation: "Recommendation") -> str:
    low, high = (format_significant(end) for end in recommendation.weight_decay_range)
    tau, about = recommendation.timescale, recommendation.companions
    domain = "inside" if about["in_domain"] else "OUTSIDE"
    headline = styled(f"weight decay {format_significant(recommendation.weight_decay)}", bold=True)
    rows = {
        "rule": f"{recommendation.rule}: {about['certainty']}; this run is {domain} its domain",
        "source": about["source"],
        "why": about["derivation"],
        "timescale": f"{format_count(round(tau.iters))} steps = {tau.epochs:.3g} epochs = {format_percent(tau.run)} of the run",
        "effect": f"{format_percent(about['retention'])} of the initial weights survive; decayed weights settle near RMS "
        f"{format_significant(about['equilibrium_rms'])}",
    }
    if "current" in about:
        rows["today"] = _describe_current(about["current"], recommendation.weight_decay)
    lines = [labelled(label, text) for label, text in rows.items()]
    return f"{headline}   range {low} to {high}   at peak lr {recommendation.peak_lr:g}\n\n" + "\n".join(lines)


def _describe_current(current: dict[str, float], recommended: float) -> str:
    value = current["weight_decay"]
    if not value:
        return "no decay"
    factor = recommended / value
    change = (
        "as recommended" if 0.999 < factor < 1.001 else f"the recommendation is {format_significant(factor)} times that"
    )
    return (
        f"λ {format_significant(value)} keeps {format_percent(current['retention'])} of the initial weights; {change}"
    )


def _alternatives(recommendation: "Recommendation") -> str:
    rows = [
        (
            other.rule,
            format_significant(other.weight_decay),
            f"{format_percent(other.timescale.run)} of run",
            "inside" if other.in_domain else "outside",
            other.source,
        )
        for other in recommendation.alternatives
    ]
    return columns(("other rules", "λ", "timescale", "domain", "source"), rows)


def _groups(recommendation: "Recommendation") -> str:
    groups = recommendation.param_groups
    decayed = [group for group in groups if group.weight_decay]
    if len({(group.peak_lr, group.weight_decay) for group in decayed}) == 1:
        spared = ", ".join(group.group for group in groups if not group.weight_decay)
        return labelled("decays", f"{', '.join(group.group for group in decayed)}; not {spared}")
    rows = [(group.group, format_significant(group.weight_decay), f"{group.peak_lr:.4g}") for group in groups]
    return columns((f"{recommendation.run.parametrization} groups", "λ", "peak lr"), rows)
