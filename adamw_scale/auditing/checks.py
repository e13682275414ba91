"""One function per kind of finding. A check takes the facts and yields what it finds; a new one is a line in `CHECKS`.

error: the config surely does not do what it says. warning: it probably is not meant. note: worth knowing.
"""

import math
from collections.abc import Callable, Iterator

from adamw_scale.advisor.cautions import INERT_RETENTION, LARGEST_KNOWN_DECAY_PER_STEP
from adamw_scale.advisor.plausibility import LARGEST_DECOUPLED, input_cautions
from adamw_scale.auditing.cost import CURVATURE_RANGE, MEASURED_UP_TO, relative_loss
from adamw_scale.auditing.facts import Facts
from adamw_scale.auditing.provenance import NAMES
from adamw_scale.frameworks.config import Finding, finding
from adamw_scale.theory import conventions
from adamw_scale.theory.parametrizations import EMBEDDING, HIDDEN, NORM_AND_BIAS, OUTPUT
from adamw_scale.units import format_count, format_percent, format_significant

Check = Callable[[Facts], Iterator[Finding]]

SEVERITIES = ("error", "warning", "note")
RUINOUS_DECAY_PER_STEP = 0.1  # a tenth of every weight a step: ten steps and the weights are gone
NEARLY_ALL = 0.99  # of the initial weights; where more survives, decay does nothing at all
LAWS_OWN = "linear"  # decay to zero, which the laws were fitted on (2502.15938)
LAST_STRETCH = 0.1  # of the run, whose weight in the final weights is told
LORA = "lora"
LENGTHS = {
    "total_steps": "steps",
    "epochs": "epochs",
    "total_tokens": "tokens",
    "batch_size": "samples or sequences a step",
    "per_device_batch_size": "a device",
    "sequence_length": "tokens a sequence",
}
FORGOTTEN = 2.0  # timescales of warm-up, in which the lr is half its peak on average, so that a whole one passes
WHOLE_RUN = 0.95  # of the run, from which a warm-up is all of it
FAR_OFF = 4.0  # times outside the range, from which on another unit is suspected
OTHER_UNITS = {"independent": "composer", "normalized": "loshchilov", "squared": "modded-nanogpt"}


def _implausible(facts: Facts) -> Iterator[Finding]:
    """Sizes and learning rates that are possible and usually a slip; how a config spells its end is no slip of ours."""
    for caution in input_cautions(facts.run) if facts.run else ():
        if caution.code != "final-lr":
            yield finding("warning", caution.code, None, caution.message, caution.fix)


def _l2(facts: Facts) -> Iterator[Finding]:
    if facts.kind == conventions.L2 and facts.config.weight_decay and facts.config.weight_decay_known:
        message = (
            f"{facts.config.optimizer} adds weight_decay {facts.config.weight_decay:g} to the gradient (L2), which "
            "Adam then divides by the gradient's own size, so it is no weight decay and has no timescale"
        )
        fix = f"use AdamW{_recommended(facts, ' with weight_decay ')}"
        yield finding("error", "l2", "weight_decay", message, fix)


def _wrong_unit(facts: Facts) -> Iterator[Finding]:
    """A PyTorch value where each step takes the value itself off."""
    value, lr = facts.config.weight_decay, facts.hidden.peak_lr
    if facts.kind in ("independent", "fixed") and value > LARGEST_DECOUPLED and facts.config.weight_decay_known:
        per_lr = f": write {format_significant(value * lr)} ({value:g} · lr)" if lr else " times the learning rate"
        message = (
            f"{facts.title} takes weight_decay {value:g} off every weight at each step at peak lr, not lr · {value:g}: "
            f"the weights forget in {1 / value:.3g} steps"
        )
        fix = f"if {value:g} is a PyTorch value, it is another number here{per_lr}"
        yield finding("error", "wrong-unit", "weight_decay", message, fix)


def _other_unit(facts: Facts) -> Iterator[Finding]:
    """A value that is far off here and right in another library's unit."""
    advice, hidden = facts.advice, facts.hidden
    if (
        advice is None
        or not advice.companions.in_domain
        or facts.finetuning
        or facts.kind != "pytorch"
        or not hidden.weight_decay
        or facts.run is None
    ):
        return
    low, high = _range(facts)
    if low / FAR_OFF <= hidden.weight_decay <= high * FAR_OFF:
        return
    setting = facts.run.setting._replace(peak_lr=hidden.peak_lr)
    for kind, example in OTHER_UNITS.items():
        meant = conventions.to_pytorch(example, facts.config.weight_decay, setting, match="mass")
        if low <= meant <= high:
            message = (
                f"{facts.config.weight_decay:g} is {_times(hidden.weight_decay, low, high)} what is recommended, but "
                f"would be λ {format_significant(meant)}, inside the range, where a step takes off "
                f"{conventions.KINDS[kind].formula} ({example})"
            )
            fix = f"if the value comes from such a recipe, write {format_significant(meant)} here"
            yield finding("warning" if kind == "independent" else "note", "other-unit", "weight_decay", message, fix)
            return


def _no_decay(facts: Facts) -> Iterator[Finding]:
    if not facts.config.weight_decay_known:
        return
    if facts.config.weight_decay:
        if "weight_decay" in facts.config.defaults:
            message = (
                f"the config says nothing of weight decay, so the default of {facts.default_of('weight_decay')} acts, "
                f"{facts.config.weight_decay:g}"
            )
            fix = f"write it{_recommended(facts, '; recommended is ')}"
            yield finding("note", "decay-by-default", None, message, fix)
        return
    if "weight_decay" in facts.config.defaults:
        message = (
            "nothing decays: the config does not set weight decay, and the default of "
            f"{facts.default_of('weight_decay')} is 0"
        )
        fix = f"write weight_decay 0 if that is meant{_recommended(facts, ', else ')}"
        yield finding("note" if facts.finetuning else "warning", "no-decay-by-default", None, message, fix)
        return
    message = "nothing decays: weight_decay is 0"
    fix = f"nothing to do if that is meant{_recommended(facts, '; recommended is ')}"
    yield finding("note", "no-decay", "weight_decay", message, fix)


def _defaults(facts: Facts) -> Iterator[Finding]:
    """Learning rate, duration and batch that nobody wrote, and what a launch may change."""
    config = facts.config
    if "peak_lr" in config.defaults and config.peak_lr is not None:
        message = (
            f"the config says nothing of the learning rate, so the default of {facts.default_of('peak_lr')} acts, "
            f"{config.peak_lr:g}"
        )
        yield finding("note", "lr-by-default", None, message, fix="write it")
    lengths = {
        name: getattr(config, field)
        for field, name in LENGTHS.items()
        if field in config.defaults and getattr(config, field) is not None
    }
    if lengths:
        shown = ", ".join(f"{format_count(value)} {name}" for name, value in lengths.items())
        message = f"not in the config, and so by default of {facts.default_of('epochs')}: {shown}"
        yield finding("note", "length-by-default", None, message, fix="write what is meant")
    if changeable := [field for field in config.overridable if getattr(config, field) is not None]:
        names = ", ".join(NAMES[field] for field in changeable)
        message = f"{names}: defaults of the script, which its command line or environment may change"
        yield finding("note", "script-defaults", None, message, fix="pass what a launch sets as an option, if it does")


def _not_adamw(facts: Facts) -> Iterator[Finding]:
    name = facts.config.optimizer
    if "adam" not in name.lower():
        message = f"the optimizer is {name}: its timescale is what is said here, but every rule was fitted on AdamW"
        yield finding("note", "not-adamw", "optim", message, fix="tune weight decay for it, or calibrate")


def _inert(facts: Facts) -> Iterator[Finding]:
    kept = facts.hidden.retention
    if facts.hidden.weight_decay and kept is not None and kept > INERT_RETENTION[facts.task] and facts.hidden.timescale:
        nothing = "nothing" if kept > NEARLY_ALL else "little"
        message = (
            f"weight decay does {nothing}: {format_percent(kept)} of the initial weights survive the run, whose "
            f"{format_count(facts.total_steps or 0)} steps are {1 / (facts.hidden.timescale.run or math.inf):.2g} "
            "timescales"
        )
        fix = f"nothing to do if that is meant{_recommended(facts, '; else write ')}"
        yield finding("note" if facts.finetuning else "warning", "inert", "weight_decay", message, fix)


def _too_fast(facts: Facts) -> Iterator[Finding]:
    tau = facts.hidden.timescale
    if tau is None or (facts.kind in ("independent", "fixed") and facts.config.weight_decay > LARGEST_DECOUPLED):
        return  # `_wrong_unit` says it
    if 1 / tau.iters > LARGEST_KNOWN_DECAY_PER_STEP:
        message = (
            f"lr · λ = {format_significant(1 / tau.iters)} a step: the weights forget in "
            f"{format_significant(tau.iters)} steps; the largest published setting we know is 0.013"
        )
        fix = f"check the unit of weight_decay, and the learning rate{_recommended(facts, '; recommended is ')}"
        yield finding(
            "error" if 1 / tau.iters >= RUINOUS_DECAY_PER_STEP else "warning",
            "decay-per-step",
            "weight_decay",
            message,
            fix,
        )


def _warmup(facts: Facts) -> Iterator[Finding]:
    warmup, tau, total = facts.warmup_steps, facts.hidden.timescale, facts.total_steps
    if total and warmup >= total * WHOLE_RUN:
        message = (
            f"warm-up takes {format_count(warmup)} steps and the run has {format_count(total)}: the peak learning "
            "rate is hardly used, if ever"
        )
        fix = "shorten the warm-up to a few per cent of the run"
        yield finding("error", "warmup-fills-run", "warmup", message, fix)
    elif tau is not None and warmup > tau.iters:
        message = (
            f"warm-up takes {format_count(warmup)} steps, longer than the timescale of "
            f"{format_count(round(tau.iters))}: most of what is learnt at its start is forgotten when it ends"
        )
        fix = "shorten the warm-up, if the run stays stable"
        yield finding(
            "warning" if warmup > FORGOTTEN * tau.iters else "note", "warmup-outlasts-timescale", "warmup", message, fix
        )


def _norms(facts: Facts) -> Iterator[Finding]:
    written = facts.group(NORM_AND_BIAS).written
    if written and facts.task != LORA:
        named = facts.named(NORM_AND_BIAS)
        message = f"gains and biases{named} decay too, at {written:g}; most recipes spare them"
        yield finding("warning", "decay-on-norms", "weight_decay", message, fix=facts.how_to_spare)


def _embeddings(facts: Facts) -> Iterator[Finding]:
    names = [name for name in (EMBEDDING, OUTPUT) if facts.group(name).written]
    language = facts.config.unit != "samples" and (facts.run is None or facts.run.unit == "tokens")
    if (
        EMBEDDING in names
        and facts.hidden.written
        and facts.kind != conventions.L2
        and language
        and not facts.finetuning
    ):
        message = (
            f"embeddings{facts.named(EMBEDDING)} decay too, at {facts.group(EMBEDDING).written:g}; rarely seen tokens "
            "shrink without being trained (OLMo and levanter spare embeddings, nanoGPT, Megatron and the Trainer do "
            "not)"
        )
        yield finding("note", "decay-on-embeddings", "weight_decay", message, fix="nothing to do if that is meant")


def _mup(facts: Facts) -> Iterator[Finding]:
    """A hidden learning rate that was divided by width, with λ left alone."""
    hidden, other = facts.group(HIDDEN), facts.group(EMBEDDING)
    in_mup = facts.config.width_ratio or (facts.run and facts.run.parametrization != "standard")
    if not (in_mup and hidden.peak_lr and other.peak_lr and hidden.weight_decay and hidden.timescale):
        return
    m = other.peak_lr / hidden.peak_lr
    follows = hidden.weight_decay * hidden.peak_lr
    expected = (other.weight_decay or hidden.weight_decay) * other.peak_lr
    if m > 1 and not math.isclose(m, 1.0, rel_tol=1e-3) and follows < expected / m**0.75:
        message = (
            f"muP divides the hidden learning rate by {m:.4g} and λ stays at {facts.config.weight_decay:g}, so the "
            f"hidden matrices' timescale is {m:.4g} times as long as at the base width, "
            f"{format_count(round(hidden.timescale.iters))} steps"
        )
        fix = (
            f"give the hidden matrices weight_decay · {m:.4g} = {facts.config.weight_decay * m:.4g} (2405.13698), "
            "unless you follow 2512.05620"
        )
        yield finding("warning", "mup-decay", "weight_decay", message, fix)


def _far(facts: Facts) -> Iterator[Finding]:
    """Outside of the recommended range, with what that costs."""
    advice, hidden = facts.advice, facts.hidden
    if advice is None or not hidden.weight_decay or hidden.timescale is None:
        return
    low, high = _range(facts)
    if low * (1 - 1e-9) <= hidden.weight_decay <= high * (1 + 1e-9):
        return
    best = _advised(facts)
    ratio = best / hidden.weight_decay
    message = (
        f"the timescale of {format_count(round(hidden.timescale.iters))} steps is {format_significant(ratio)} times "
        "the recommended "
        f"{format_count(round(1 / (best * (hidden.peak_lr or 1))))} ({advice.rule}, {advice.companions.source}), "
        "outside its range; " + _cost(facts, ratio)
    )
    fix = (
        f"write weight_decay {format_significant(facts.written(best))} (range "
        f"{format_significant(facts.written(low))} to {format_significant(facts.written(high))})"
    )
    yield finding("warning", "far-from-recommended", "weight_decay", message, fix)


def _cost(facts: Facts, ratio: float) -> str:
    """The expected loss of being off, where it was measured."""
    if facts.finetuning or facts.run is None or facts.run.unit != "tokens" or facts.run.epochs >= MEASURED_UP_TO:
        return "what that costs was not measured for this kind of training"
    measured = min(max(ratio, 1 / MEASURED_UP_TO), MEASURED_UP_TO)
    low, high = (relative_loss(measured, curvature) for curvature in CURVATURE_RANGE)
    far = "more than " if measured != ratio else ""
    return f"expected cost {far}{low:.1%} to {high:.1%} of the loss (refit of the runs of 2503.04715)"


def _floor(facts: Facts) -> Iterator[Finding]:
    final = facts.config.final_lr_fraction
    if final is not None and final > 1:
        message = f"the minimum learning rate is {final:.3g} times the peak, so the schedule rises where it should fall"
        fix = "lower the minimum learning rate to a tenth of the peak or less"
        yield finding("error", "floor-above-peak", "min_lr", message, fix)


def _ends(facts: Facts) -> Iterator[Finding]:
    """What the end of the schedule does to the average."""
    schedule, tau = facts.schedule, facts.hidden.timescale
    if schedule is None or tau is None:
        return
    if facts.kind == "fixed" and schedule.final < 0.5:
        message = (
            f"weight decay does not follow the learning rate, which ends at {format_percent(schedule.final)} of its "
            "peak: the weights shrink on when nothing replaces what they lose"
        )
        fix = "schedule weight decay with the learning rate"
        yield finding("warning", "decay-outlasts-lr", "weight_decay", message, fix)
    if not schedule.falls:
        message = (
            "the learning rate never falls, so the final weights average no more than the last "
            f"{format_count(round(tau.iters))} steps or so"
        )
        fix = (
            "nothing to do for a checkpoint that will be cooled down; else let it fall over the last tenth of the run "
            "or more"
        )
        yield finding("note", "no-fall", "schedule", message, fix)
    elif schedule.final == 0 and schedule.name != LAWS_OWN and not facts.finetuning:
        share = schedule.mean() - schedule.cumulative(1 - LAST_STRETCH)
        message = (
            f"the learning rate, and weight decay with it, ends at zero: the last {LAST_STRETCH:.0%} of the run do "
            f"{format_percent(share / schedule.mean())} of all decay, and training on from the end means warming up "
            "again"
        )
        fix = "nothing to do if the run ends there; else end at a tenth of the peak"
        yield finding("note", "no-floor", "schedule", message, fix)


def _advised(facts: Facts) -> float:
    """The recommended λ of the hidden matrices at the learning rate that this config gives them: the same lr*λ."""
    if facts.advice is None or not facts.hidden.peak_lr:
        return 0.0
    return facts.advice.weight_decay * facts.advice.peak_lr / facts.hidden.peak_lr


def _range(facts: Facts) -> tuple[float, float]:
    """The recommended range of λ at the learning rate that this config gives them."""
    if facts.advice is None:
        return 0.0, math.inf
    low, high = (end / facts.advice.weight_decay for end in facts.advice.weight_decay_range)
    return low * _advised(facts), high * _advised(facts)


def _recommended(facts: Facts, before: str) -> str:
    """The recommended value in the config's own unit, if there is one and it matters."""
    if facts.advice is None or facts.advice.weight_decay_range[0] == 0 or not facts.hidden.peak_lr:
        return ""
    return before + format_significant(facts.written(_advised(facts)))


def _times(value: float, low: float, high: float) -> str:
    """How far a value is outside of a range."""
    return (
        f"{format_significant(low / value)} times below"
        if value < low
        else f"{format_significant(value / high)} times above"
    )


CHECKS: tuple[Check, ...] = (
    _implausible,
    _l2,
    _wrong_unit,
    _too_fast,
    _no_decay,
    _defaults,
    _not_adamw,
    _other_unit,
    _far,
    _inert,
    _warmup,
    _mup,
    _norms,
    _embeddings,
    _floor,
    _ends,
)
