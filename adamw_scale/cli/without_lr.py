"""The advice as text where no learning rate is known: the product lr·λ, and what laws say about lr."""

from typing import TYPE_CHECKING

from adamw_scale.cli.shared import remark
from adamw_scale.cli.text import columns, labelled, styled
from adamw_scale.units import format_count, format_share, format_significant

if TYPE_CHECKING:
    from adamw_scale.spec.advice import DecayPerStep


def render_product(advice: "DecayPerStep") -> str:
    """The product first, then why, the laws, the competitors, the cautions."""
    low, high = (format_significant(end) for end in advice.lr_times_weight_decay_range)
    tau = advice.timescale
    head = styled(f"lr · weight decay {format_significant(advice.lr_times_weight_decay)}", bold=True)
    rows = {
        "use it": "divide by your peak learning rate to get the weight decay, or pass --lr",
        "rule": f"{advice.rule}: {advice.certainty}; this run is {'inside' if advice.in_domain else 'OUTSIDE'} its domain",
        "source": advice.source,
        "why": advice.derivation,
        "timescale": f"{format_count(round(tau.iters))} steps = {format_count(tau.epochs)} epochs = {format_share(tau.run, 'the run')}",
    }
    if advice.beta2 is not None:
        rows["beta2"] = f"{advice.beta2:.4g} keeps Adam's memory at ten million tokens (arXiv:2507.07101)"
    parts = [
        f"{head}   range {low} to {high}",
        "\n".join(labelled(label, text) for label, text in rows.items()),
        *([_laws(advice)] if advice.laws else []),
        _alternatives(advice),
        *(remark(caution) for caution in advice.cautions),
    ]
    return "\n\n".join(parts)


def _laws(advice: "DecayPerStep") -> str:
    """What each law would train with; its batch is its own optimum, not the run's."""
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
    return (
        columns(("lr laws", "lr", "λ for that lr and your batch", "the law's own batch", "domain"), rows)
        + "\n\n"
        + columns(("law", "source, certainty, remark"), sources)
    )


def _alternatives(advice: "DecayPerStep") -> str:
    rows = [
        (
            other.rule,
            format_significant(1.0 / other.timescale.iters),
            format_share(other.timescale.run, "run"),
            "inside" if other.in_domain else "outside",
            other.source,
        )
        for other in advice.alternatives
    ]
    return columns(("other rules", "lr · λ", "timescale", "domain", "source"), rows)
