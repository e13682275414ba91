"""Reasons why advice holds less surely that do not depend on which rule gave it."""

import math
from collections.abc import Iterator

from adamw_scale.advisor.answers import how_to_measure, moved_by, tuned_timescale
from adamw_scale.advisor.plausibility import LARGEST_USUAL_DECAY, input_cautions
from adamw_scale.law.posterior import Posterior
from adamw_scale.rules.kept import STANCE
from adamw_scale.spec.advice import Caution
from adamw_scale.spec.run import Timescale, TrainingRun
from adamw_scale.theory import timescale as ema
from adamw_scale.theory.batch_scaling import lr_sde
from adamw_scale.theory.parametrizations import published_decay_factors
from adamw_scale.units import format_count, format_percent, format_significant

LARGEST_KNOWN_DECAY_PER_STEP = 2e-2  # the largest lr*λ that was read in a source is 1.3e-2 (Muon, Slowrun)
# Of the initial weights, what survives where decay hardly acts; of pretrained ones, worth keeping, nearly all.
INERT_RETENTION = {"pretraining": 0.8, "lora": 0.8, "finetuning": 0.99}
LAW_AND_TUNING_AGREE = 4.0
FEW_EPOCHS = 1.5  # up to which the best timescale hardly depends on the learning rate
WIDE = 3.0  # octaves of an 80 % interval from which measuring beats believing; judgement
TOO_WIDE = math.log2(100)  # octaves from which no value within is worth naming; judgement


def cautions_of(
    run: TrainingRun,
    weight_decay: float | None,
    tau: Timescale,
    octaves: tuple[float, float] | None,
    reference: TrainingRun | None,
    measured: bool,
) -> Iterator[Caution]:
    """All of them.

    `octaves` bounds what is believed of log2 of the timescale at 80 %, None where only practice is known;
    `weight_decay` and `tau` are of the hidden matrices, the first None where no learning rate is known; `reference` is
    a tuned run that was taken in; `measured` says that the optimum of this very run was seen.
    """
    yield from _of_the_input(run, reference)
    if reference:
        yield from _of_the_transfer(run, reference)
    yield from _of_what_is_known(run, octaves)
    if run.peak_lr is None and run.epochs > FEW_EPOCHS and run.task == "pretraining":
        yield LR_MATTERS
    yield from _of_the_parametrization(run, tau)
    if not measured:
        yield from _of_the_number(run, weight_decay, tau)
    yield from _of_the_timescale(run, tau)
    if run.optimizer in OTHER_OPTIMIZERS:
        yield OTHER_OPTIMIZERS[run.optimizer]
    if run.task == "finetuning":
        yield PULLS_TO_ZERO
    if run.task == "lora":
        yield ADAPTER


def _of_the_input(run: TrainingRun, reference: TrainingRun | None) -> Iterator[Caution]:
    """Values that are usually a slip, of the run, and of the tuned run where they are its own."""
    own = list(input_cautions(run))
    yield from own
    for caution in input_cautions(reference) if reference else ():
        if caution not in own:
            yield caution.model_copy(update={"message": f"in the tuned run {caution.message}"})


def _of_the_transfer(run: TrainingRun, reference: TrainingRun) -> Iterator[Caution]:
    """Where published answers to this very move disagree."""
    tuned = tuned_timescale(reference).run
    kept = ema.retention(reference.decay_schedule.mean(), tuned)
    if kept > INERT_RETENTION[run.task]:
        yield Caution(
            code="reference-inert",
            message=f"decay hardly acted in the tuned run ({format_percent(kept)} of its initial weights survive), "
            "so its λ says little",
            fix="compare with the answer without --reference, which is the published law's",
        )
    law, known = Posterior().predict(reference), reference.num_params or reference.unit == "samples"
    ratio = tuned / 2.0**law.log2_tau
    far = abs(math.log2(ratio)) > max(math.log2(LAW_AND_TUNING_AGREE), law.interval[1] - law.log2_tau)
    if run.task == "pretraining" and known and far:
        yield Caution(
            code="unlike-law",
            message=f"the law would give the tuned run λ {format_significant(reference.hidden_weight_decay * ratio)}, "
            f"{format_significant(ratio)} times what is said to be tuned",
            fix="check the unit of the reference's weight decay and its lr; if it was really tuned, believe it "
            "rather than the law",
        )
    moved = {quantity: ratio for quantity, ratio in moved_by(run, reference).items() if not math.isclose(ratio, 1.0)}
    duration = run.total_units / reference.total_units
    if not math.isclose(duration, 1.0):
        yield Caution(
            code="duration",
            message=f"{format_significant(duration)} times the units seen: published λ goes as duration^-1 "
            "(2405.13698), ^-0.473 (2505.13738), ^-1/2 with lr (2512.22382), ^-1/2 (1711.05101) or stays (Marin); the "
            "other rules show each",
            fix="where they differ by more than you can bear, tune λ again at an intermediate size",
        )
    batch = moved.get("batch", 1.0)
    if not 1 / 8 <= batch <= 4:
        yield Caution(
            code="batch",
            message=f"the batch is {format_significant(batch)} times the tuned one; keeping the timescale, and lr ~ "
            "sqrt(batch), was seen to hold from 1/8 to 4 times (2512.22382), and fails beyond the critical batch size "
            "(2505.13738)",
            fix="tune lr and λ again at this batch",
        )
    if "batch" in moved and run.peak_lr == reference.peak_lr:
        yield Caution(
            code="batch-lr",
            message="the learning rate was kept while the batch moved; published exponents of lr in batch run from "
            "0.1 (2507.07101, small batches) to 0.5 (2205.10287), and beyond the noise scale lr falls again "
            "(2405.14578)",
            fix=f"if lr moves, pass it: at sqrt(batch) --lr {lr_sde(run.lr, batch):.3g}; the timescale is kept and λ "
            "follows",
        )
    if "width" in moved and run.parametrization == "standard" and run.peak_lr == reference.peak_lr:
        yield Caution(
            code="width-lr",
            message="the width moved in standard parametrization and the learning rate was kept; most widths want "
            "their own",
            fix="pass the --lr you will use, or --parametrization mup with --width and --base-width",
        )


def _of_the_parametrization(run: TrainingRun, tau: Timescale) -> Iterator[Caution]:
    """Width: where λ under lr / m is disputed, and where common code lets the timescale drift."""
    if math.isclose(run.width_ratio, 1.0) or run.parametrization == "standard":
        return
    drift = run.drift
    factors = published_decay_factors(run.width_ratio)
    yield Caution(
        code="width-exponent",
        message=f"at {run.width_ratio:.4g} times the width published factors on the hidden λ differ: "
        + ", ".join(f"{format_significant(factor)} for {name}" for name, factor in factors.items())
        + (
            f"; λ * m also slows the first steps, to 1/m at the start and "
            f"{format_percent(ema.implicit_warmup(run.width_ratio, tau.iters, tau.iters))} after one timescale "
            "(2510.19093)"
            if run.width_ratio > 1 and math.isclose(drift, 1.0)
            else ""
        ),
        fix="compare top singular values of hidden matrices between the two widths (2510.15262), or tune λ at two "
        "widths",
    )
    if not math.isclose(drift, 1.0):
        shipped = run.parametrization == "mup-as-shipped"
        yield Caution(
            code="timescale-drift",
            message=f"{run.parametrization} makes the timescale of hidden matrices {format_significant(drift)} times "
            "that of the base width",
            fix=f"multiply the hidden matrices' λ by {format_significant(drift)}, as --parametrization mup does"
            if shipped
            else "nothing to do if you follow that paper; --parametrization mup keeps the timescale",
        )


PULLS_TO_ZERO = Caution(
    code="pulls-to-zero",
    message="decay pulls the weights to zero, not to the pretrained ones; in LoRA the sign is the opposite (--task "
    "lora)",
    fix="to stay near the pretrained weights use L2-SP (arXiv:1802.01483) or Selective Projection Decay "
    "(arXiv:2411.01713)",
)
LR_MATTERS = Caution(
    code="lr-matters",
    message="in many passes the best lr·λ moves with the learning rate itself; this is for the rate that is usual for "
    "the size, or that was calibrated",
    fix="pass --lr",
)
OTHER_OPTIMIZERS = {
    "muon": Caution(
        code="optimizer",
        message="the number is for the matrices that Muon trains at --lr; one tuned Muon run is known (modded-nanogpt "
        "track 3), and the rest of its weights, under AdamW, hardly decayed (λ .001 at lr .7, .004 and .015)",
        fix="set it on Muon's group alone, and leave the decay of the AdamW groups near zero",
    ),
    "lion": Caution(
        code="optimizer",
        message="no tuned Lion run is known to us; lr·λ is taken to be as for AdamW at 5 times the learning rate "
        "(arXiv:2302.06675 takes 3 to 10)",
        fix="treat the range as the answer, or measure",
    ),
}
ADAPTER = Caution(
    code="adapter",
    message="in LoRA and other adapters decay pulls the adapter to zero, and so the model toward the pretrained one: "
    "the opposite of what it does when all weights are trained",
    fix="raise it to stay nearer to the pretrained model, lower it to move further; judge by held-out loss",
)


def _of_what_is_known(run: TrainingRun, octaves: tuple[float, float] | None) -> Iterator[Caution]:
    """Where the range is so wide that measuring beats believing, or only practice is known."""
    if octaves is None:
        yield Caution(
            code="no-law",
            message=f"nothing published says which decay finetuning wants: {STANCE}",
            fix="raise it only if held-out loss says so",
        )
    elif (wide := octaves[1] - octaves[0]) > WIDE:
        code, therefore = (
            ("too-wide", "that is no answer") if wide > TOO_WIDE else ("calibrate", "little is known here")
        )
        yield Caution(
            code=code,
            message=f"the range spans a factor {format_significant(2**wide)}: {therefore}",
            fix=how_to_measure(run),
        )


def _of_the_number(run: TrainingRun, weight_decay: float | None, tau: Timescale) -> Iterator[Caution]:
    """Weight decays that left everything ever published."""
    if weight_decay is not None and weight_decay > LARGEST_USUAL_DECAY:
        yield Caution(
            code="weight-decay",
            message=f"λ = {format_significant(weight_decay)} is far above every published one (3.2): at lr {run.lr:g} "
            f"and {format_count(run.total_steps)} steps decay cannot act as it does in pretraining",
            fix="do not use this number as it is; if this is finetuning, pass --task finetuning, else check --lr",
        )
    if 1.0 / tau.iters > LARGEST_KNOWN_DECAY_PER_STEP:
        yield Caution(
            code="decay-per-step",
            message=f"lr*λ = {format_significant(1.0 / tau.iters)} is above every published setting we know "
            f"(1.3e-2): the run has only {format_count(run.total_steps)} steps",
            fix="do not use this number as it is; if this is finetuning, pass --task finetuning, else train in more, "
            "smaller batches",
        )


def _of_the_timescale(run: TrainingRun, tau: Timescale) -> Iterator[Caution]:
    """Timescales that are longer than the run can use, or shorter than what they must outlast."""
    beta1, beta2 = run.betas
    kept = ema.retention(run.decay_schedule.mean(), tau.run)
    from_scratch = run.task == "pretraining"
    if run.task == "finetuning" and kept < INERT_RETENTION[run.task] - 1e-6:  # but for rounding
        yield Caution(
            code="erases",
            message=f"after this run {format_percent(kept)} of the pretrained weights are left",
            fix="if they should stay, lower --weight-decay: a hundredth of decay mass keeps "
            f"{INERT_RETENTION[run.task]:.0%}",
        )
    elif kept > INERT_RETENTION[run.task]:
        yield Caution(
            code="inert",
            message=f"{format_percent(kept)} of the initial weights survive the run: decay hardly acts, so its value "
            "can hardly matter",
            fix="do not tune it"
            + ("; if decay should act, raise λ, train longer or at a higher learning rate" if from_scratch else ""),
        )
    warmup_steps = run.warmup_share * run.total_steps
    if tau.iters < warmup_steps:
        yield Caution(
            code="warmup",
            message=f"the timescale ({format_count(tau.iters)} steps) is shorter than the warm-up "
            f"({format_count(warmup_steps)} steps)",
            fix="shorten the warm-up",
        )
    if tau.iters < 10 / (1 - beta1) or tau.iters < 1 / (1 - beta2):
        yield Caution(
            code="betas",
            message=f"the timescale ({format_count(tau.iters)} steps) is short against Adam's own memory "
            f"({1 / (1 - beta1):.0f} and {1 / (1 - beta2):.0f} steps)",
            fix="use a smaller batch, so that the run has more steps, or lower the beta whose memory is longest",
        )
