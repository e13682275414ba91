"""Advice on a screen: at most 15 lines of 80 columns, the number first. `--explain` has the rest.

Input that looks wrong stands right below the number. Each row says one thing, and is cut where it has no room.
"""

import math
import textwrap
from collections.abc import Iterator
from typing import NamedTuple

from adamw_scale.cli.shared import describe_schedule, describe_warmup
from adamw_scale.cli.text import LABEL_WIDTH, labelled, styled, width
from adamw_scale.rules.kept import STANCE
from adamw_scale.spec.advice import Current, DecayPerStep, Recommendation
from adamw_scale.spec.run import TrainingRun, usual_betas
from adamw_scale.units import format_count, format_percent, format_significant

MOST_LINES = 15
CHECKS = 2  # of the input, that are shown in full
SPARED = ("nearby", "other laws", "costs", "decays")  # rows that go where there are more than lines; --explain has them
LEAST_LOSS = 40  # characters that a list may lose to end with a whole item
SURE = ((1.3, "well"), (2.5, "fairly"), (4.0, "roughly"), (math.inf, "hardly"))  # octaves of the range; judgement


class Line(NamedTuple):
    """A label, its text, and how many lines it may fill."""

    label: str
    text: str
    most: int = 1
    color: str | None = None


def render(advice: Recommendation | DecayPerStep, *, explain: bool = False) -> str:
    """The advice for a person."""
    rows = list(_of_a_product(advice) if isinstance(advice, DecayPerStep) else _of_a_weight_decay(advice))
    head, *rows = rows
    if explain:
        from adamw_scale.cli.advice_explained import explained

        lines = [_headline(advice, head.text), *(labelled(row.label, row.text, row.color) for row in rows)]
        return "\n\n".join(["\n".join(lines), *explained(advice)])
    for label in SPARED:
        if len(rows) >= MOST_LINES:
            rows = [row for row in rows if row.label != label]
    wanted = [min(row.most, len(_wrapped(row.text))) for row in rows]
    while sum(wanted) >= MOST_LINES:  # the last long one gives way, what looks wrong after all others
        wanted[max((rows[i].color is None, i) for i in range(len(rows)) if wanted[i] > 1)[1]] -= 1
    lines = [_headline(advice, head.text)]
    lines += [labelled(row.label, _cut(row.text, most), row.color) for row, most in zip(rows, wanted, strict=True)]
    return "\n".join(lines)


def _headline(advice: Recommendation | DecayPerStep, text: str) -> str:
    """The first line: what is the answer in bold, and in red where it is none."""
    value, gap, rest = text.partition("   ")
    return styled(value, bold=True, color="red" if advice.doubt else None) + gap + rest


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, width() - LABEL_WIDTH - 2, break_long_words=False) or [""]


def _cut(text: str, most: int) -> str:
    """As many lines of a text as there is room for."""
    lines = _wrapped(text)
    if len(lines) <= most:
        return text
    kept = " ".join(lines[:most])
    while " " in kept and len(_wrapped(kept + " …")) > most:
        kept = kept.rpartition(" ")[0]
    at = kept.rfind(", ")
    return (kept[:at] if at > len(kept) - LEAST_LOSS else kept.rstrip(",")) + " …"


def _of_a_weight_decay(advice: Recommendation) -> Iterator[Line]:
    """The rows of a recommendation, the headline first."""
    about, run = advice.companions, advice.run
    keeps = advice.rule == "kept" and run.task != "pretraining"
    decay, (low, high) = format_significant(advice.weight_decay), map(format_significant, advice.weight_decay_range)
    at = f"{'at' if advice.one_for_all else 'hidden, at'} lr {advice.peak_lr:.3g}"
    if advice.doubt and advice.doubt.code == "too-wide":
        yield Line("", f"weight decay not known   range {low} to {high} (80 %)   {at}")
        yield Line("because", f"{advice.doubt.message}; {advice.doubt.fix}", 2, "red")
    elif advice.doubt:
        yield Line("", f"weight decay {decay} is NOT USABLE   {at}")
        yield Line("because", f"{advice.doubt.message}; {advice.doubt.fix}", 3, "red")
    elif keeps:
        yield Line("", f"weight decay: {STANCE}")
    else:
        yield Line("", f"weight decay {decay}   range {low} to {high} (80 %)   {at}")
    yield from _checks(advice)
    if about.in_convention is not None:
        own, (first, last) = about.in_convention, map(format_significant, about.in_convention.weight_decay_range)
        value = format_significant(own.weight_decay)
        yield Line("unit", f"write {value} ({first} to {last}) for {own.convention}; the rest here is PyTorch's λ", 2)
    if about.at_twice_the_lr is not None and not keeps and not advice.doubt:
        twice = format_significant(about.at_twice_the_lr)
        of = "" if advice.peak_lr == run.lr else f"; this one is --lr {run.lr:.3g}"
        yield Line("other lr", f"at twice the lr λ {twice}: lr·λ {_moves(advice)}{of}")
    yield Line("how sure", _sureness(advice, advice.weight_decay_range), 2)
    if about.reference is not None:
        moved = ", ".join(f"{name} × {format_significant(ratio)}" for name, ratio in about.reference.moved.items())
        tuned, factor = format_significant(about.reference.weight_decay), format_significant(about.reference.factor)
        yield Line("carried", f"tuned λ {tuned} × {factor}; {moved or 'nothing moved'}", 2)
    if not advice.doubt and not keeps:
        yield Line("costs", _costs(advice))
    yield Line("why", about.derivation, 2)
    yield from _said_and_assumed(run)
    yield Line("decays", _groups(advice), 2)
    yield from _laws(advice, {each.rule: each.weight_decay for each in advice.alternatives}, "λ")
    yield from _near(advice)
    yield from _ending(advice, "adamw-scale emit FRAMEWORK writes your config")


def _of_a_product(advice: DecayPerStep) -> Iterator[Line]:
    """The rows where no learning rate is known."""
    low, high = map(format_significant, advice.lr_times_weight_decay_range)
    product = format_significant(advice.lr_times_weight_decay)
    if advice.doubt:
        yield Line("", f"lr · weight decay {product} is NOT USABLE   range {low} to {high} (80 %)")
        yield Line("because", f"{advice.doubt.message}; {advice.doubt.fix}", 3, "red")
    else:
        yield Line("", f"lr · weight decay {product}   range {low} to {high} (80 %)")
    yield from _checks(advice)
    if any(caution.code == "lr-matters" for caution in advice.cautions):
        yield Line("use it", "pass --lr: in many passes the product moves with the learning rate")
    else:
        yield Line("use it", "pass --lr, or divide by the peak lr of the hidden matrices")
    for law in [law for law in advice.laws if law.peak_lr is not None and law.weight_decay is not None][:3]:
        inside = "" if law.in_domain else ", outside its domain"
        yield Line(
            "lr law", f"{law.law}: --lr {law.peak_lr:.2g}, λ {format_significant(law.weight_decay or 0)}{inside}"
        )
    yield Line("how sure", _sureness(advice, advice.lr_times_weight_decay_range), 2)
    yield Line("why", advice.derivation, 2)
    yield from _said_and_assumed(advice.run)
    yield from _laws(advice, {each.rule: 1 / each.timescale.iters for each in advice.alternatives}, "lr·λ")
    yield from _ending(advice, "the same command with --lr")


def _checks(advice: Recommendation | DecayPerStep) -> Iterator[Line]:
    """What of the input looks wrong."""
    found = [caution for caution in advice.cautions if caution.about == "input"]
    for caution in found[:CHECKS]:
        yield Line("CHECK", f"{caution.message}: {caution.fix} [{caution.code}]", 3, "red")
    if more := found[CHECKS:]:
        yield Line("CHECK", f"and {', '.join(caution.code for caution in more)}, see --explain", 1, "red")


def _moves(advice: Recommendation) -> str:
    """What the product does while the learning rate doubles."""
    factor = format_significant(2 * (advice.companions.at_twice_the_lr or 0) / advice.weight_decay)
    return "stays" if factor == "1" else f"becomes {factor} times as large"


def _sureness(advice: Recommendation | DecayPerStep, ends: tuple[float, float]) -> str:
    """In a word, and why."""
    low, high = ends
    about = advice.companions if isinstance(advice, Recommendation) else advice
    near = advice.companions.evidence if isinstance(advice, Recommendation) else ()
    if low == 0:
        return about.certainty
    octaves = math.log2(high / low)
    word = next(word for most, word in SURE if octaves <= most) if about.in_domain else "a guess"
    said = f"{word}: the range spans a factor {format_significant(high / low)}"
    if near:
        said += f", nearest evidence {near[0].octaves:.1f} octaves away"
    return said if about.in_domain else f"{said}; the run is OUTSIDE what {advice.rule} was fitted on"


def _costs(advice: Recommendation) -> str:
    """What keeping the decay in use, or else the usual one, costs."""
    about = advice.companions
    kept: Current = about.current or about.usual
    name = f"{'keeping' if about.current else 'the usual'} {format_significant(kept.weight_decay)}"
    if about.current and advice.holds(kept.weight_decay):
        return f"{name} is inside the range: no reason to change it"
    cost = "not known for such a run" if kept.cost is None else f"about {format_percent(kept.cost)} of the loss"
    return f"{name} costs: {cost}"


def _said_and_assumed(run: TrainingRun) -> Iterator[Line]:
    """The run as it was said, and what stands where nothing was."""
    about = list(_described(run))
    for label, said in (("you said", True), ("assumed", False)):
        if texts := [text for fields, text in about if bool(run.model_fields_set & fields) is said]:
            yield Line(label, ", ".join(texts), 2)


def _described(run: TrainingRun) -> Iterator[tuple[set[str], str]]:
    """Everything that is known of the run, with the fields that say it."""
    if run.num_params is not None:
        yield {"num_params"}, f"{format_count(run.num_params)} parameters"
    yield {"dataset_size"}, f"{format_count(run.dataset_size)} {run.unit}"
    yield {"epochs"}, f"{run.epochs:.4g} epoch{'s' if run.epochs != 1 else ''}"
    yield (
        {"batch_size"},
        f"batch {format_count(run.batch_size)} = {format_count(round(run.total_steps))} steps",
    )
    if run.peak_lr is not None:
        yield {"peak_lr"}, f"lr {run.peak_lr:.4g}"
    if run.width is not None:
        yield {"width"}, f"width {format_count(run.width)}"
    over = f" over width {format_count(run.base_width)}" if run.base_width else ""
    yield {"parametrization"}, f"{run.parametrization}{over}" + ("" if over else " parametrization")
    yield {"schedule", "final_lr_fraction", "decay_fraction", "schedule_table"}, describe_schedule(run)
    yield {"warmup_fraction", "warmup_steps"}, describe_warmup(run)
    yield (
        {"betas"} if run.betas != usual_betas(run.unit, run.task) else set(),
        f"betas {run.betas[0]:g} and {run.betas[1]:g}",
    )
    yield {"task"}, run.task
    if run.optimizer != "adamw":
        yield {"optimizer"}, run.optimizer
    if run.weight_decay is not None:
        yield {"weight_decay"}, f"weight decay {run.weight_decay:g}"


def _groups(advice: Recommendation) -> str:
    """What decays, and each group's own values where one does not serve all."""
    decayed = [group for group in advice.param_groups if group.weight_decay]
    spared = ", ".join(group.group for group in advice.param_groups if not group.weight_decay)
    if not decayed:
        return "nothing"
    if advice.one_for_all:
        return f"{', '.join(group.group for group in decayed)}; not {spared}"
    each = (f"{group.group} {format_significant(group.weight_decay)} at lr {group.peak_lr:.3g}" for group in decayed)
    return f"{', '.join(each)}; not {spared}"


def _laws(advice: Recommendation | DecayPerStep, values: dict[str, float | None], symbol: str) -> Iterator[Line]:
    """What other rules say."""
    said = [
        f"{name}{' (alone)' if name == advice.rule else ''} {format_significant(value)}"
        for name, value in values.items()
        if value
    ]
    if said:
        yield Line("other laws", f"{symbol} {', '.join(said)}")


def _near(advice: Recommendation) -> Iterator[Line]:
    """Tuned runs nearby."""
    near = [
        f"{each.source.partition(', arXiv')[0]}: tau {format_percent(each.timescale_run)} of the run"
        for each in advice.companions.evidence
    ]
    if near:
        yield Line("nearby", ", ".join(near))


def _ending(advice: Recommendation | DecayPerStep, otherwise: str) -> Iterator[Line]:
    """Codes of cautions, and what to do next."""
    codes = [caution.code for caution in advice.cautions if caution.about != "input"]
    if codes:
        yield Line("cautions", f"{', '.join(dict.fromkeys(codes))} (--explain; adamw-scale explain CODE)", 1, "yellow")
    measure = {"calibrate", "too-wide", "decay-per-step", "weight-decay"} & set(codes)
    advised = "adamw-scale calibrate measures it on your data" if measure else otherwise
    yield Line("next", f"{advised}; --explain shows all")
