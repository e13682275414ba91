"""adamw-scale recommend: the advice."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from adamw_scale.cli.axis import Row, log_axis
from adamw_scale.cli.plot_option import PlotOption, refuse_other_plots
from adamw_scale.cli.run_flags import Given, run_options
from adamw_scale.cli.shared import describe_run, inputs_from, print_snippet, remark
from adamw_scale.cli.text import columns, labelled, styled
from adamw_scale.errors import MissingInputError
from adamw_scale.theory.conventions import CONVENTIONS
from adamw_scale.theory.parametrizations import PARAMETRIZATIONS
from adamw_scale.units import format_count, format_percent, format_share, format_significant

if TYPE_CHECKING:
    from adamw_scale.spec.advice import Current, InConvention, Recommendation, Transfer
    from adamw_scale.spec.run import TrainingRun

NOTABLE_BETA2 = 0.01
SETTLED_RETENTION = 0.15  # above it, the run ends before weights reach their equilibrium


@run_options
def command(
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
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference",
            help="A tuned run (file with its fields, lr and weight_decay) to carry to this one; what you do not say is as there.",
            metavar="FILE",
        ),
    ] = None,
    emit: Annotated[
        str | None,
        typer.Option(
            "--emit", help="Write the answer as this framework's config, as adamw-scale emit does.", metavar="NAME"
        ),
    ] = None,
    picture: Annotated[
        bool | None,
        typer.Option(
            "--picture/--no-picture", help="Draw the range and the other rules; by default on a terminal only."
        ),
    ] = None,
    plot: PlotOption = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout, numbers unrounded.")] = False,
) -> None:
    """Which weight decay to use for a run: the value, its range, its source, its competitors, its limits.

    adamw-scale recommend --params 1.3B --tokens 26B --batch-size 0.5M --lr 3e-4 --schedule linear

    adamw-scale recommend --reference tuned.toml --tokens 100B --params 3B

    The weight decay is in PyTorch's convention: each step multiplies weights by 1 - lr·λ. Without --lr the
    answer is the product lr·λ, with the learning rates that published laws suggest.
    """
    refuse_other_plots(plot)
    inputs = inputs_from(given, calibration, reference)
    if inputs.run.peak_lr is None and inputs.reference is None and emit is None:
        from adamw_scale.advisor import decay_per_step
        from adamw_scale.cli.without_lr import render_product

        if plot is not None:
            raise MissingInputError("--plot draws weight decays, which take a learning rate: pass --lr")
        advice = decay_per_step(inputs.run, rule)
        print(advice.to_json() if json else render_product(advice))
        return
    recommendation = inputs.recommendation(rule)
    if plot is not None:
        from adamw_scale.report import answer_figure, save

        save(answer_figure(recommendation), plot)
    if emit is not None:
        print_snippet(emit, recommendation, json=json)
        return
    if json:
        print(recommendation.to_json())
        return
    print(render(recommendation, picture=sys.stdout.isatty() if picture is None else picture))


def render(recommendation: "Recommendation", *, picture: bool = False) -> str:
    """The advice for a person: the number first, then why, then against what, then how far to trust it."""
    parts = [_answer(recommendation), _alternatives(recommendation)]
    if picture and recommendation.weight_decay:
        parts.append(_picture(recommendation))
    parts.append(_groups(recommendation))
    parts += [remark(caution) for caution in recommendation.cautions]
    return "\n\n".join(parts)


def _answer(recommendation: "Recommendation") -> str:
    tau, about = recommendation.timescale, recommendation.companions
    settles = about.retention < SETTLED_RETENTION
    domain = "inside" if about.in_domain else "OUTSIDE"
    rows = {
        "run": describe_run(recommendation.run),
        "rule": f"{recommendation.rule}: {about.certainty}; this run is {domain} its domain",
        "source": about.source,
        "why": about.derivation + _on_hidden(recommendation),
        "timescale": f"{format_count(round(tau.iters))} steps = {format_count(tau.epochs)} epochs = {format_share(tau.run, 'the run')}",
        "effect": f"{format_percent(about.retention)} of the initial weights survive"
        + (
            f"; hidden weights settle near RMS {format_significant(about.equilibrium_rms)}, "
            f"each step turns them by {format_percent(about.relative_update)}"
            if settles
            else ""
        ),
    }
    carried = about.reference is not None and about.reference.betas is not None
    if about.beta2 is not None and abs(about.beta2 - recommendation.run.betas[1]) > NOTABLE_BETA2 and not carried:
        rows["beta2"] = f"{about.beta2:.4g} would keep Adam's memory at ten million tokens (arXiv:2507.07101)"
    if about.reference is not None:
        rows["reference"] = _describe_transfer(about.reference, recommendation)
    if about.in_convention is not None:
        rows["unit"] = _describe_unit(about.in_convention)
    if about.current is not None:
        rows["today"] = _describe_current(about.current, recommendation)
    return _headline(recommendation) + "\n\n" + "\n".join(labelled(label, text) for label, text in rows.items())


def _on_hidden(recommendation: "Recommendation") -> str:
    """The step from the base value to the headline's, where width makes one."""
    factor = recommendation.param_groups[0].weight_decay / recommendation.weight_decay
    return "" if abs(factor - 1) < 1e-9 else f"; × {factor:.4g} on hidden matrices"


def _headline(recommendation: "Recommendation") -> str:
    """The value and its range on the hidden matrices, which are nearly all weights."""
    hidden = recommendation.param_groups[0]
    low, high = (format_significant(end) for end in recommendation.hidden_range)
    where = "at peak lr" if recommendation.one_for_all else "on hidden matrices, at their peak lr"
    text = styled(f"weight decay {format_significant(hidden.weight_decay)}", bold=True)
    doubt = recommendation.doubt
    warning = styled(f"   NOT USABLE AS IT IS, see {doubt}", color="red") if doubt else ""
    unit = "" if recommendation.companions.in_convention is None else ", in PyTorch's unit"
    return f"{text}   range {low} to {high}   {where} {hidden.peak_lr:.4g}{unit}{warning}"


def _describe_unit(value: "InConvention") -> str:
    """The number to write where the library counts otherwise."""
    low, high = (format_significant(end) for end in value.weight_decay_range)
    return (
        f"{value.convention} wants weight_decay {format_significant(value.weight_decay)} (range {low} to {high}), which it "
        f"takes off as {CONVENTIONS[value.convention].formula}; every λ above and below is PyTorch's, lr_t * value"
    )


def _describe_transfer(transfer: "Transfer", recommendation: "Recommendation") -> str:
    """What moved, what that does to λ, and what batch and duration ask of the rest."""
    moved = ", ".join(f"{quantity} × {format_significant(ratio)}" for quantity, ratio in transfer.moved.items())
    text = (
        f"λ {format_significant(transfer.weight_decay)} at lr {transfer.peak_lr:g}; {moved or 'nothing moved'}: λ × "
        f"{format_significant(transfer.factor, 3)}"
    )
    own = next((other for other in recommendation.alternatives if other.peak_lr), None)
    if own and "lr" not in transfer.moved:
        text += f"; lr was kept, {own.rule} would carry it to {own.peak_lr:.3g}"
    if transfer.betas and transfer.eps:
        text += (
            f"; Complete(d)P also wants betas {transfer.betas[0]:.4g} and {transfer.betas[1]:.4g}, eps {transfer.eps:.3g} "
            "(arXiv:2512.22382)"
        )
    if transfer.half_life_beta2 is not None:
        text += f"; beta2 with the same half-life in tokens is {transfer.half_life_beta2:.4g} (arXiv:2507.07101)"
    return text


def _describe_current(current: "Current", recommendation: "Recommendation") -> str:
    """The verdict on the decay in use."""
    low, high = recommendation.hidden_range
    value = current.weight_decay
    about = recommendation.companions.in_convention
    said = "" if about is None else f"{recommendation.run.weight_decay:g} in {about.convention} amounts to "
    if low * (1 - 1e-9) <= value <= high * (1 + 1e-9):
        verdict = "inside the range, no reason to change it"
    else:
        factor = recommendation.param_groups[0].weight_decay / value if value else 0.0
        side = "below" if value < low else "above"
        verdict = f"{side} the range" + (
            f", the recommendation is {format_significant(factor)} times that" if value else ""
        )
    return f"{said}λ {format_significant(value)} keeps {format_percent(current.retention)} of the initial weights: {verdict}"


def _alternatives(recommendation: "Recommendation") -> str:
    if recommendation.companions.reference is not None:
        return _carried(recommendation)
    rows = [
        (
            f"{other.rule} (published)" if other.rule == recommendation.rule else other.rule,
            format_significant((other.weight_decay or 0) * recommendation.on_hidden),
            format_share(other.timescale.run, "run"),
            "inside" if other.in_domain else "outside",
            other.source,
        )
        for other in recommendation.alternatives
    ]
    return columns(("other rules", _symbol(recommendation), "timescale", "domain", "source"), rows)


def _picture(recommendation: "Recommendation") -> str:
    """The range, the other rules and the value in use on one axis."""
    factor = recommendation.on_hidden
    rows = [Row(recommendation.rule, recommendation.weight_decay * factor, recommendation.hidden_range, bold=True)]
    rows += [
        Row(
            f"{other.rule} (published)" if other.rule == recommendation.rule else other.rule,
            other.weight_decay * factor,
        )
        for other in recommendation.alternatives
        if other.weight_decay
    ]
    current = recommendation.companions.current
    if current is not None and current.weight_decay:
        rows.append(Row("yours", current.weight_decay))
    return log_axis(_symbol(recommendation), rows)


def _symbol(recommendation: "Recommendation") -> str:
    """What values of the hidden matrices stand under."""
    return "λ" if recommendation.one_for_all else "λ of hidden"


def _carried(recommendation: "Recommendation") -> str:
    """What other rules keep of the tuned run, by their factor on its λ."""
    rows = [
        (
            other.rule,
            format_significant(other.weight_decay or 0),
            f"× {other.factor or 0:.3g}",
            f"{other.peak_lr or recommendation.peak_lr:.3g}",
            format_share(other.timescale.run, "run"),
            other.source,
        )
        for other in recommendation.alternatives
    ]
    return columns(("carried by", "λ", "factor", "at lr", "timescale", "source"), rows)


def _groups(recommendation: "Recommendation") -> str:
    groups = recommendation.param_groups
    decayed = [group for group in groups if group.weight_decay]
    if recommendation.one_for_all:
        spared = ", ".join(group.group for group in groups if not group.weight_decay)
        return labelled("decays", f"{', '.join(group.group for group in decayed)}; not {spared}")
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
    header = (f"{recommendation.run.parametrization} groups", "λ", "peak lr", "eps", "init variance", "output")
    return columns(header, rows) + _residual(recommendation.run)


def _residual(run: "TrainingRun") -> str:
    """The multiplier on residual branches, where depth asks for one."""
    factor = PARAMETRIZATIONS[run.parametrization].residual(run.depth_ratio)
    return "" if factor == 1 else f"\n  residual branches × {factor:.3g}"
