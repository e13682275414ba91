"""Reasons why advice holds less surely that do not depend on which rule gave it."""

from collections.abc import Iterator

from adamw_scale import timescale as ema
from adamw_scale.advisor.answers import how_to_measure
from adamw_scale.rules.regimes import Regime
from adamw_scale.spec import Caution, Timescale, TrainingRun
from adamw_scale.units import format_count, format_percent, format_significant

# Largest lr and lr*λ of any AdamW setting that was read in a source: 0.05 (2305.17212), 3.2e-3 (2509.14786).
LARGEST_KNOWN_LR = 0.1
LARGEST_KNOWN_DECAY_PER_STEP = 5e-3
LARGEST_SANE_WEIGHT_DECAY = 10.0
SMALLEST_USUAL_BATCH = 16_384  # tokens, for models of more than 100M parameters
INERT_RETENTION = 0.8
HARMLESS_RETENTION = 0.99


def cautions_of(run: TrainingRun, weight_decay: float, tau: Timescale, kind: Regime | None) -> Iterator[Caution]:
    """All of them; `kind` is the regime whose default rule answered, None for a rule that was asked for."""
    if kind:
        yield from _of_the_regime(run, tau, kind)
    yield from _of_the_input(run)
    yield from _of_the_number(run, weight_decay)
    yield from _of_the_timescale(run, tau)


def _of_the_regime(run: TrainingRun, tau: Timescale, kind: Regime) -> Iterator[Caution]:
    """What is unsettled about this kind of training."""
    if kind.calibrate:
        yield Caution(
            code="calibrate",
            message=kind.calibrate,
            fix=how_to_measure(run),
        )
    if kind.indifferent_up_to:
        yield Caution(
            code="no-law",
            message=f"nothing published says which decay finetuning wants; 0 to {kind.indifferent_up_to:g} is common practice",
            fix="keep what you have, no decay included; raise it only if held-out loss says so",
        )
    kept = ema.retention(run.lr_schedule.mean(), tau.run)
    if kind.indifferent_up_to and kept < HARMLESS_RETENTION:
        yield Caution(
            code="erases",
            message=f"after this run {format_percent(kept)} of the pretrained weights are left",
            fix=f"if they should stay, lower --weight-decay: a hundredth of decay mass keeps {HARMLESS_RETENTION:.0%}",
        )


def _of_the_input(run: TrainingRun) -> Iterator[Caution]:
    """Values that are possible but usually a slip."""
    if run.unit == "tokens" and run.batch_size < SMALLEST_USUAL_BATCH and (run.num_params or 0) > 1e8:
        yield Caution(
            code="batch-unit",
            message=f"a batch of {run.batch_size:g} tokens is smaller than usual for a model of this size: are these sequences?",
            fix="give --batch-size in tokens: sequences times sequence length",
        )
    if run.peak_lr > LARGEST_KNOWN_LR:
        yield Caution(
            code="lr",
            message=f"lr {run.peak_lr:g} moves each weight by about that much a step; the largest published AdamW setting we know is 0.05",
            fix="check --lr",
        )


def _of_the_number(run: TrainingRun, weight_decay: float) -> Iterator[Caution]:
    """Weight decays that left everything ever published."""
    if weight_decay > LARGEST_SANE_WEIGHT_DECAY:
        yield Caution(
            code="weight-decay",
            message=f"λ = {format_significant(weight_decay)} is far above every published one (3.2): at lr {run.peak_lr:g} and "
            f"{format_count(run.total_steps)} steps decay cannot act as it does in pretraining",
            fix="do not use this number as it is; if this is finetuning, pass --task finetuning, else check --lr",
        )
    if run.peak_lr * weight_decay > LARGEST_KNOWN_DECAY_PER_STEP:
        yield Caution(
            code="decay-per-step",
            message=f"lr*λ = {format_significant(run.peak_lr * weight_decay)} is above every published AdamW setting we know (3.2e-3): "
            f"the run has only {format_count(run.total_steps)} steps",
            fix="do not use this number as it is; if this is finetuning, pass --task finetuning, else train in more, smaller batches",
        )


def _of_the_timescale(run: TrainingRun, tau: Timescale) -> Iterator[Caution]:
    """Timescales that are longer than the run can use, or shorter than what they must outlast."""
    beta1, beta2 = run.betas
    kept = ema.retention(run.lr_schedule.mean(), tau.run)
    if kept > INERT_RETENTION:
        yield Caution(
            code="inert",
            message=f"{format_percent(kept)} of the initial weights survive the run: decay hardly acts, so its value can hardly matter",
            fix="do not tune it; if decay should act, train longer or at a higher learning rate",
        )
    warmup_steps = run.warmup_share * run.total_steps
    if tau.iters < warmup_steps:
        yield Caution(
            code="warmup",
            message=f"the timescale ({format_count(tau.iters)} steps) is shorter than the warm-up ({format_count(warmup_steps)} steps)",
            fix="shorten the warm-up",
        )
    if tau.iters < 10 / (1 - beta1) or tau.iters < 1 / (1 - beta2):
        yield Caution(
            code="betas",
            message=f"the timescale ({format_count(tau.iters)} steps) is short against Adam's own memory "
            f"({1 / (1 - beta1):.0f} and {1 / (1 - beta2):.0f} steps)",
            fix="use a smaller batch, so that the run has more steps, or lower the beta whose memory is longest",
        )
