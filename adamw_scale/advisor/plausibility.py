"""Values that are possible and usually a slip: each against what was published, with the flag that gave it.

A limit lies beyond every recipe, tuned and measured optimum of `evidence` that it applies to, by the room that is named
beside it; tests/cli/test_wrong_inputs.py holds them against all of these. What cannot be is refused in `spec.run`.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

from adamw_scale.noun import named
from adamw_scale.spec.advice import Caution
from adamw_scale.spec.run import A_MODEL, TrainingRun
from adamw_scale.theory.conventions import CONVENTIONS
from adamw_scale.theory.lr_laws import LAWS
from adamw_scale.theory.parametrizations import PARAMETRIZATIONS
from adamw_scale.units import format_count, format_percent, format_significant

# Learning rates. Room in factors: above the largest law (one tuned at 300M is 2.5 times that, 2509.02046), and below
# the least one (that of Galactica-120B is a twelfth of it).
ABOVE_LAWS, BELOW_LAWS = 4.0, 16.0
LARGEST_KNOWN_LR = 0.1  # twice the largest that was published for AdamW, ResNet-20 at 0.05 (2305.17212)
LARGEST_OF_A_MODEL = 0.04  # 5 times the largest above a million parameters (2509.02046)
LEAST_OF_A_TOY = 1e-5  # models that are smaller than any law's
BASE_LR_ROOM = 4.0  # of muP, where the hidden matrices' own rate is judged
MUON_LR = (1e-4, 0.1)  # recipes: 0.00042 (Moonlight) to 0.025 (modded-nanogpt), 4 times either way
LION_LR = (10.0, 3.0)  # below AdamW's, at most and at least (2302.06675)
OTHER_LR = {
    ("pretraining", "tokens"): (2e-6, 0.03, "recipes of language models have 7e-6 to 8e-3"),
    ("pretraining", "samples"): (8e-6, 0.02, "recipes and tuned runs on samples have 5e-4 to 5e-3"),
    ("finetuning", "tokens"): (1e-7, 1e-3, "recipes of finetuning have 2e-5 (OLMo, BERT)"),
    ("finetuning", "samples"): (1e-7, 0.02, "recipes of finetuning on samples have 1e-5 to 4e-3"),
    ("lora", "tokens"): (1e-6, 0.01, "axolotl's example of LoRA has 2e-4"),
    ("lora", "samples"): (1e-6, 0.01, "axolotl's example of LoRA has 2e-4"),
}
TOY_ON_SAMPLES = (1e-6, LARGEST_KNOWN_LR, "recipes and tuned small models on samples have 5e-4 to 0.05")

# Sizes.
SMALLEST_USUAL_BATCH = ((1e8, 16_384), (A_MODEL, 2048))  # tokens, for models from so many parameters on
SMALLEST_FINETUNING_BATCH = 512  # tokens
LARGEST_USUAL_BATCH = {"tokens": 3e8, "samples": 4e6}  # recipes have up to 1.28e8 (MiniMax-Text-01) and 2.6e5
MOST_STEPS = 2e7  # recipes have up to 5.2M (SmolLM2)
UNITS_PER_PARAM = (0.1, 1e5)  # evidence has 0.14 (a GPT on bytes) to 21,000 (Pythia-14M)
MANY_EPOCHS = {"tokens": 1000.0, "samples": 1e5}  # evidence has up to 64 and 1800
SHAPE = (1 / 4, 64.0)  # parameters over 12 * depth * width²; recipes have 0.57 to 18 (mixtures of experts)
LARGEST_VOCABULARY = 262_144.0

# The rest.
FEW_WARMUP_STEPS, STEPS_WHERE_PERCENT_DIFFERS = 5.0, 200.0  # 2 steps of 100 are 2 %
LONG_WARMUP = 0.5  # of the run
LARGEST_DECOUPLED = 1e-2  # a fully decoupled value above this is usually a PyTorch value
LARGEST_USUAL_DECAY = 10.0  # the largest published is 3.2 (2509.14786)
LARGEST_USUAL_EPS = 1e-3  # recipes have 1e-8 to 1e-5
SMALLEST_FINAL_LR = 1e-7  # recipes end at 0 or from 1e-6 on


class Usual(NamedTuple):
    """Learning rates that are no slip, and who says so."""

    low: float
    high: float
    source: str


def input_cautions(run: TrainingRun) -> Iterator[Caution]:
    """Every value of a run that is probably not what its user meant.

    Example:
        >>> run = TrainingRun(dataset_size="7B", batch_size="0.5M", num_params="350M", peak_lr=0.06)
        >>> [caution.code for caution in input_cautions(run)]
        ['lr']
    """
    yield from _of_the_learning_rate(run)
    yield from _of_the_batch(run)
    yield from _of_the_sizes(run)
    yield from _of_the_shape(run)
    yield from _of_the_schedule(run)
    yield from _of_the_optimizer(run)


def _check(code: str, message: str, fix: str) -> Caution:
    return Caution(code=code, message=message, fix=fix, about="input")


def usual_lr(run: TrainingRun) -> Usual:
    """The learning rates of its kind of training: by the laws for a language model whose size is known, else practice.

    Under muP and its kin they are those of the hidden matrices, with more room.
    """
    if run.optimizer == "muon":
        return Usual(*MUON_LR, "Muon was trained at 0.00042 (Moonlight) to 0.025 (modded-nanogpt)")
    params = run.num_params or 0.0
    if (run.task, run.unit) == ("pretraining", "tokens") and params:
        laws = {name: law.peak_lr(params, run.total_units, run.batch_size) for name, law in LAWS.items()}
        low, high = min(laws, key=laws.__getitem__), max(laws, key=laws.__getitem__)
        says = f"laws say {format_significant(laws[low])} ({low}) to {format_significant(laws[high])} ({high})"
        most = min(laws[high] * ABOVE_LAWS, LARGEST_OF_A_MODEL if params >= A_MODEL else LARGEST_KNOWN_LR)
        usual = Usual(laws[low] / BELOW_LAWS if params >= A_MODEL else LEAST_OF_A_TOY, most, says)
    elif (run.task, run.unit) == ("pretraining", "samples") and params < A_MODEL:
        usual = Usual(*TOY_ON_SAMPLES)
    else:
        usual = Usual(*OTHER_LR[run.task, run.unit])
    if run.optimizer == "lion":
        usual = Usual(usual.low / LION_LR[0], usual.high / LION_LR[1], f"{usual.source}, Lion takes 3 to 10 times less")
    if PARAMETRIZATIONS[run.parametrization].needs:
        usual = Usual(usual.low / BASE_LR_ROOM, usual.high * BASE_LR_ROOM, f"{usual.source}, for hidden matrices")
    return usual


def _of_the_learning_rate(run: TrainingRun) -> Iterator[Caution]:
    if run.peak_lr is None:
        return
    low, high, source = usual_lr(run)
    lr = run.hidden_lr
    if low <= lr <= high:
        return
    kind = {"pretraining": "", "finetuning": "finetuning ", "lora": "LoRA "}[run.task]
    size = f" with {format_count(run.num_params)} parameters" if run.num_params else ""
    own = "" if math.isclose(lr, run.lr) else f", {format_significant(lr)} on hidden matrices"
    yield _check(
        "lr",
        f"{named(TrainingRun, 'peak_lr')} {run.lr:g}{own} is {'low' if lr < low else 'high'} for {kind}a run{size}: "
        f"{source}",
        "check its exponent, and that it is the peak learning rate"
        + ("" if run.task != "pretraining" or lr > low else "; pass --task finetuning if weights were trained before"),
    )


def _of_the_batch(run: TrainingRun) -> Iterator[Caution]:
    """Tokens that are perhaps sequences, and the other way round."""
    batch, params, tokens = run.batch_size, run.num_params or 0.0, run.unit == "tokens"
    usual = next((least for size, least in SMALLEST_USUAL_BATCH if params >= size), 0)
    if usual and run.task != "pretraining":
        usual = SMALLEST_FINETUNING_BATCH
    many = run.total_steps > MOST_STEPS
    if tokens and (batch < usual or (many and run.sequence_length is None)):
        length = run.sequence_length or 1024
        yield _check(
            "batch-unit",
            f"--batch-size is {batch:g} tokens"
            + (f", from {usual:,} on are usual at {format_count(params)} parameters" if batch < usual else "")
            + (f", so the run has {format_count(run.total_steps)} steps, where recipes have up to 5.2M" if many else "")
            + ": are these sequences?",
            f"for sequences of {length:g} tokens write --batch-size {batch:g}x{length:g}",
        )
    elif many:
        yield _check(
            "steps",
            f"the run has {format_count(run.total_steps)} optimizer steps, where recipes have up to 5.2M",
            f"check --batch-size, --epochs and --{run.unit}",
        )
    if batch > LARGEST_USUAL_BATCH[run.unit]:
        known = "128M tokens (MiniMax-Text-01)" if tokens else "262,144 samples (AlgoPerf)"
        yield _check(
            "batch-large",
            f"--batch-size {format_count(batch)} {run.unit} a step; recipes have up to {known}",
            "check its suffix",
        )
    if tokens and batch == run.dataset_size:
        yield _check(
            "full-batch",
            f"--batch-size is the whole data set of {format_count(batch)} tokens, so an epoch is one step",
            "check both",
        )


def _of_the_sizes(run: TrainingRun) -> Iterator[Caution]:
    """Parameters, data and epochs against each other."""
    low, high = UNITS_PER_PARAM
    ratio = run.tokens_per_param
    if ratio is not None and run.task == "pretraining" and (run.num_params or 0) >= A_MODEL and ratio < low:
        yield _check(
            "few-units",
            f"--params {format_count(run.num_params or 0)} for {format_count(run.total_units)} {run.unit} seen are "
            f"{format_significant(ratio)} per parameter; the least in any evidence is 0.14, usual are 20",
            f"if --params and --{run.unit} are swapped, swap them; check their suffixes",
        )
    if ratio is not None and ratio > high:
        yield _check(
            "few-params",
            f"--params {format_count(run.num_params or 0)} for {format_count(run.total_units)} {run.unit} seen are "
            f"{format_count(ratio)} per parameter; the most in any recipe is 21,000 (Pythia-14M), usual are 20",
            "check the suffix of --params: 350 million are 350M",
        )
    if run.epochs > MANY_EPOCHS[run.unit]:
        yield _check(
            "epochs",
            f"--epochs {format_count(run.epochs)} passes over the data; the most in any evidence are "
            f"{'64 on tokens' if run.unit == 'tokens' else '1,800 on samples'}",
            f"if optimizer steps are meant, pass --steps {run.epochs:g} instead",
        )


def _of_the_shape(run: TrainingRun) -> Iterator[Caution]:
    """Width and depth against each other, the base and the parameters."""
    width, depth = run.width, run.depth
    if width and depth and width < depth:
        yield _check(
            "width-depth",
            f"--width {width:g} is less than --depth {depth:g}: models are wider than deep",
            "if the two are swapped, swap them",
        )
    elif width and depth and run.num_params and run.num_params >= A_MODEL and run.unit == "tokens":
        blocks = 12 * depth * width**2
        if not SHAPE[0] * blocks <= run.num_params <= SHAPE[1] * (blocks + 2 * LARGEST_VOCABULARY * width):
            yield _check(
                "params-shape",
                f"--params {format_count(run.num_params)} does not go with --width {width:g} and --depth {depth:g}: a "
                f"transformer of these has about {format_count(blocks)} (12 · depth · width²) without its embeddings",
                "check the suffix of --params, and the other two",
            )
    for what, size, base in (("width", width, run.base_width), ("depth", depth, run.base_depth)):
        if size and base and base > size:
            yield _check(
                f"base-{what}",
                f"--base-{what} {base:g}, at which lr was tuned, is larger than --{what} {size:g}: it is carried down "
                f"to {size / base:.3g} times the {what}",
                "nothing to do if you tuned the larger model; else swap the two",
            )


def _of_the_schedule(run: TrainingRun) -> Iterator[Caution]:
    steps = run.warmup_steps
    if steps and 1 <= steps <= FEW_WARMUP_STEPS and steps == int(steps):
        if run.total_steps > STEPS_WHERE_PERCENT_DIFFERS:
            yield _check(
                "warmup-unit",
                f"--warmup {steps:g} was taken as {steps:g} steps of {format_count(run.total_steps)}",
                f"for {steps:g} % of the run write --warmup {steps:g}%",
            )
    elif run.warmup_share > LONG_WARMUP:
        yield _check(
            "warmup-long",
            f"--warmup is {format_percent(run.warmup_share)} of the run; recipes have up to 10 %",
            "check whether it is in steps or in per cent: 2000 is steps, 2% a share",
        )
    final = run.final_lr_fraction
    if final and run.peak_lr is not None and final <= run.peak_lr and final * run.peak_lr < SMALLEST_FINAL_LR:
        yield _check(
            "final-lr",
            f"--final-lr-fraction {final:g} is of the peak, so the run ends at lr {final * run.peak_lr:.2g}",
            f"for a final learning rate of {final:g} write --final-lr-fraction {final / run.peak_lr:.3g}",
        )


def _of_the_optimizer(run: TrainingRun) -> Iterator[Caution]:
    value, kind = run.weight_decay or 0.0, CONVENTIONS[run.convention].kind
    if kind in ("independent", "fixed") and value > LARGEST_DECOUPLED:
        yield _check(
            "unit",
            f"--weight-decay {value:g} would remove {format_percent(value)} of each weight every step in "
            f"{run.convention}",
            "if it is PyTorch's, leave --convention out",
        )
    if kind == "pytorch" and value > LARGEST_USUAL_DECAY:
        yield _check(
            "large-decay",
            f"--weight-decay {value:g} is far above every published one (3.2, 2509.14786)",
            "check it, and its unit: name another library's with --convention",
        )
    beta1, beta2 = run.betas
    if beta1 > beta2:
        yield _check(
            "betas-order",
            f"--betas {beta1:g},{beta2:g}: the first is above the second, in every recipe it is below",
            f"if the two are swapped, write --betas {beta2:g},{beta1:g}",
        )
    if run.eps > LARGEST_USUAL_EPS:
        yield _check(
            "eps", f"--eps {run.eps:g} holds Adam's steps back; recipes have 1e-8 to 1e-5", "check its exponent"
        )
