"""Input that is surely wrong is refused with its fix, a probable slip is said, and what only looks odd passes."""

import json
import math
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Command, piped
from hypothesis import given
from hypothesis import strategies as st

from adamw_scale import TrainingRun, audit, recommend
from adamw_scale.advisor import plausibility
from adamw_scale.advisor.plausibility import input_cautions, usual_lr
from adamw_scale.errors import SpecError
from adamw_scale.evidence import recipes, tuned_optima
from adamw_scale.evidence.measured_optimum import measured_optima
from adamw_scale.evidence.recipe import ADAMW_LIKE, Recipe
from adamw_scale.theory.conventions import CONVENTIONS
from adamw_scale.theory.lr_laws import LAWS
from adamw_scale.units import factors_of, parse_quantity

LM = "--params 1.3B --tokens 26B --batch-size 0.5M --lr 3e-4"
VIT = "--params 86M --samples 1281167 --epochs 300 --batch-size 1024 --lr 1e-3"
TINY = "--params 40k --tokens 16k --epochs 32 --batch-size 256 --lr 2e-3"
TUNE = "--params 7B --tokens 5M --epochs 3 --batch-size 32k --lr 2e-5 --task finetuning"
MUP = "--parametrization mup"

# What is typed after `recommend` (a later flag takes the place of an earlier one), and what the one line says.
REFUSED = [
    # sequences for tokens
    (
        f"{LM} --batch-size 512 --sequence-length 1024",
        "--batch-size = 512 tokens|--batch-size 512x1024|--sequences 512",
    ),
    (f"{LM} --batch-size 1k --sequence-length 2k", "--batch-size 1000x2000"),
    (f"{LM} --batch-size 512x1024 --sequence-length 2048", "--batch-size = 512x1024|--sequence-length is 2048"),
    (f"{LM} --batch-size 512x1024x8", "--batch-size|as one number"),
    (f"{LM} --sequences 512 --sequence-length 1024", "--sequences and --batch-size|keep one"),
    ("--params 1.3B --tokens 26B --lr 3e-4 --sequences 512", "pass --sequence-length"),
    ("--samples 50k --lr 1e-3 --sequences 512 --sequence-length 8", "--sequences|pass --batch-size"),
    ("--tokens 26B --lr 3e-4 --sequences 0 --sequence-length 8", "--sequences = 0|above 0"),
    ("--tokens 26B --lr 3e-4 --sequences 5,1 --sequence-length 8", "--sequences|write 5.1"),
    (f"{LM} --sequence-length 27B", "--sequence-length = 27B is longer than the data set"),
    (f"{LM} --batch-size 27B", "--batch-size = 27B is larger than the data set|suffix of --tokens"),
    (f"{LM} --batch-size 26B", "lower --batch-size or raise --epochs"),
    # sizes
    (f"{LM} --tokens 20", "--tokens = 20|20 per parameter is --tokens 26B"),
    (f"{LM} --tokens 26", "--tokens = 26|tokens of the data set"),
    (f"{LM} --params 1.3", "--params = 1.3|write 1.3M or 1.3B"),
    (f"{LM} --params 8x7B", "--params|as one number"),
    (f"{LM} --params 0", "--params (num_params) = 0"),
    (f"{LM} --params -1B", "--params"),
    (f"{LM} --tokens 1,000,000", "--tokens|write 1000000 or 1M"),
    (f"{LM} --tokens 26,000,000,000", "write 26000000000 or 26B"),
    (f"{LM} --tokens 1.000.000", "write 1000000 or 1M"),
    (f"{LM} --tokens '26 000 000 000'", "write 26000000000 or 26B"),
    (f"{LM} --tokens '26 B'", "write 26B"),
    (f"{LM} --tokens '26 billion'", "write 26B"),
    (f"{LM} --params '300 million'", "--params|write 300M"),
    (f"{LM} --params '350 M parameters'", "write 350M"),
    (f"{LM} --tokens 26Btokens", "write 26B"),
    (f"{LM} --tokens 26bn", "write 26B"),
    (f"{LM} --tokens ~26B", "write 26B"),
    (f"{LM} --tokens 50%", "--tokens|is a share"),
    (f"{LM} --batch-size 2^19", "--batch-size|write 524288"),
    (f"{LM} --batch-size 2**19", "write 524288"),
    (f"{LM} --batch-size 0,5M", "--batch-size|write 0.5M"),
    (f"{LM} --batch-size 524,288", "write 524288, or 524.288"),
    (f"{LM} --batch-size 0", "--batch-size"),
    (f"{LM} --epochs 50%", "--epochs: 50% is a share"),
    (f"{LM} --epochs 0", "--epochs"),
    (f"{LM} --epochs -1", "--epochs"),
    (f"{LM} --epochs '3 epochs'", "--epochs|write 3"),
    # learning rates
    (f"{LM} --lr 3e4", "--lr (peak_lr)|write 3e-4"),
    (f"{LM} --lr 2.5e4", "write 2.5e-4"),
    (f"{LM} --lr 0,0003", "--lr (peak_lr)|write 0.0003"),
    (f"{LM} --lr 3e-4,", "write 3e-4"),
    (f"{LM} --lr 3e−4", "write 3e-4"),
    (f"{LM} --lr 3x10^-4", "write 3e-4"),
    (f"{LM} --lr 10^-3", "write 1e-3"),
    (f"{LM} --lr 1/1000", "write 0.001"),
    (f"{LM} --lr -3e-4", "--lr (peak_lr)"),
    (f"{LM} --lr 0", "--lr (peak_lr)"),
    # schedule
    (f"{LM} --warmup 52000", "--warmup|does not fit"),
    (f"{LM} --warmup 100%", "--warmup|does not fit"),
    (f"{LM} --warmup 2.5", "--warmup = 2.5|write 2.5%"),
    (f"{LM} --warmup '2 %'", "--warmup|write 2%"),
    (f"{LM} --warmup '2 percent'", "--warmup|write 2%"),
    (f"{LM} --warmup -5", "--warmup"),
    (f"{LM} --final-lr-fraction 10", "--final-lr-fraction|write 10%"),
    (f"{LM} --schedule wsd --decay-fraction 20", "--decay-fraction|write 20%"),
    # optimizer
    (f"{LM} --betas '0.9 0.95'", "--betas|0.9,0.95"),
    (f"{LM} --betas 0.9,0.95,0.99", "--betas|two numbers"),
    (f"{LM} --betas 0,9;0,95", "--betas"),
    (f"{LM} --betas 0.9,1", "--betas|below 1"),
    (f"{LM} --betas 90,95", "--betas (betas.0)"),
    (f"{LM} --weight-decay 1e5", "--weight-decay = 100000"),
    (f"{LM} --weight-decay -0.1", "--weight-decay"),
    (f"{LM} --weight-decay 1e-20", "--weight-decay = 1e-20 is zero"),
    (f"{LM} --eps 1e8", "--eps"),
    # shape
    (f"{LM} {MUP} --width 2048", "--base-width"),
    (f"{LM} --base-width 256 --width 2048", "--base-width has no effect"),
    (f"{LM} {MUP} --width 20M --base-width 256", "--width"),
]

# The same for what is answered, with the code of the caution and what it says.
CAUTIONED = [
    (f"{LM} --batch-size 512", "batch-unit", "--batch-size is 512 tokens|--batch-size 512x1024"),
    (f"{LM} --batch-size 2048 --sequence-length 1024", "batch-unit", "--batch-size 2048x1024"),
    (f"{LM} --params 35M --lr 3e-3 --batch-size 64", "batch-unit", "2,048 on are usual at 35M|64x1024"),
    ("--tokens 26B --batch-size 512 --lr 3e-4 --rule fixed", "batch-unit", "50.78M steps|512x1024"),
    (f"{TUNE} --batch-size 128", "batch-unit", "--batch-size is 128 tokens"),
    (f"{VIT} --epochs 1M", "epochs", "--epochs 1M|--steps 1e+06"),
    (f"{VIT} --batch-size 1 --epochs 20", "steps", "25.62M optimizer steps|--batch-size"),
    (f"{LM} --batch-size 500M", "batch-large", "--batch-size 500M|128M"),
    (f"{TINY} --batch-size 16k", "full-batch", "--batch-size is the whole data set"),
    (f"{LM} --epochs 2000", "epochs", "--epochs 2,000|--steps 2000"),
    (f"{LM} --params 26B --tokens 1.3B", "few-units", "--params 26B|0.05 per parameter|0.14|swap"),
    (f"{LM} --params 350", "few-params", "--params 350|350M"),
    (f"{LM} --params 1300", "few-params", "Pythia-14M"),
    (f"{LM} --lr 0.06 --params 350M", "lr", "--lr (peak_lr) 0.06 is high|350M|porian"),
    (f"{LM} --lr 0.03", "lr", "0.03 is high|1.3B"),
    (f"{LM} --lr 3e-5", "lr", "3e-05 is low|moonlight|--task finetuning"),
    (f"{LM} --lr 3e-9", "lr", "3e-09 is low"),
    (f"{TINY} --lr 0.2", "lr", "0.2 is high"),
    (f"{TINY} --lr 3e-7", "lr", "3e-07 is low"),
    (f"{VIT} --lr 0.1", "lr", "0.1 is high|86M|5e-4 to 5e-3"),
    (f"{VIT} --lr 1e-6", "lr", "1e-06 is low"),
    (f"{LM} --optimizer muon --lr 0.5", "lr", "0.5 is high|Moonlight"),
    (f"{LM} --optimizer muon --lr 2e-5", "lr", "2e-05 is low"),
    (f"{LM} --optimizer lion --lr 3e-3", "lr", "0.003 is high|Lion takes 3 to 10 times less"),
    (f"{LM} {MUP} --width 2048 --base-width 2048 --lr 0.1", "lr", "0.1 is high|for hidden matrices"),
    (f"{TUNE} --lr 2e-2", "lr", "0.02 is high for finetuning|2e-5"),
    (f"{TUNE} --task lora --lr 0.2", "lr", "0.2 is high for LoRA|2e-4"),
    ("--samples 50k --epochs 20 --batch-size 128 --lr 0.5", "lr", "0.5 is high"),
    (f"{LM} --warmup 2", "warmup-unit", "--warmup 2 was taken as 2 steps|--warmup 2%"),
    (f"{LM} --warmup 5", "warmup-unit", "--warmup 5%"),
    (f"{LM} --warmup 60%", "warmup-long", "--warmup is 60 % of the run"),
    (f"{LM} --warmup 40000", "warmup-long", "--warmup is 77 % of the run"),
    (f"{LM} --final-lr-fraction 3e-5", "final-lr", "--final-lr-fraction 3e-05|--final-lr-fraction 0.1"),
    (f"{LM} --weight-decay 1e2", "large-decay", "--weight-decay 100|3.2|--convention"),
    (f"{LM} --weight-decay 0.1 --convention composer", "unit", "--weight-decay 0.1|composer|leave --convention out"),
    (f"{LM} --betas 0.95,0.9", "betas-order", "--betas 0.95,0.9|--betas 0.9,0.95"),
    (f"{LM} --eps 0.1", "eps", "--eps 0.1|1e-8 to 1e-5"),
    (f"{LM} --width 24 --depth 2048", "width-depth", "--width 24|--depth 2048|swap"),
    (f"{LM} --params 1.3M --lr 3e-3 --width 2048 --depth 24", "params-shape", "--params 1.3M|1.208B"),
    (f"{LM} --params 1.3T --width 2048 --depth 24", "params-shape", "--params 1.3T"),
    (f"{LM} {MUP} --width 256 --base-width 2048", "base-width", "--base-width 2048|swap"),
    (
        f"{LM} --parametrization completep --width 256 --base-width 256 --depth 4 --base-depth 40",
        "base-depth",
        "--base-depth 40",
    ),
]

# What looks odd and is meant.
ODD = [
    f"{LM} --batch-size 256x2Ki --sequence-length 2048",
    f"{LM} --batch-size '512 x 1k' --sequence-length 1000",
    f"{LM} --batch-size 512*1024",
    f"{LM} --batch-size 512×1024",
    "--params 1.3B --tokens 26B --lr 3e-4 --sequences 256 --sequence-length 2Ki",
    f"{LM} --epochs 0.5",
    f"{LM} --tokens 26_000_000_000",
    f"{LM} --warmup 2000",
    f"{LM} --warmup 10",
    f"{LM} --warmup 2%",
    f"{LM} --lr 3e-3",
    f"{LM} --final-lr-fraction 1%",
    f"{LM} --betas 0.9,0.9",
    f"{LM} --eps 1e-15",
    f"{LM} --weight-decay 0",
    f"{LM} {MUP} --width 2048 --base-width 256 --lr 1e-2",
    f"{LM} --optimizer lion --lr 3e-5",
    f"{LM} --optimizer muon --lr 0.02",
    f"{TUNE} --lr 1e-6",
    f"{TUNE} --batch-size 4k --warmup 10",
    f"{TUNE} --task lora --lr 2e-4",
    f"{VIT} --warmup 5%",
    TINY,
    f"{TINY} --sequence-length 32",
    "--samples 2708 --epochs 200 --batch-size 2708 --lr 1e-2",
    "--samples 150 --epochs 100 --batch-size 16 --lr 3e-3 --params 51",
    "--samples 1000 --epochs 4 --batch-size 100 --lr 1e-3 --warmup 2",
]


def asked(words: str) -> list[str]:
    """Arguments of the command line."""
    return ["recommend", *shlex.split(words)]


@pytest.mark.parametrize(("words", "says"), REFUSED, ids=[words for words, _ in REFUSED])
def test_what_cannot_be_meant_is_refused_with_the_fix(adamw_scale: Command, words: str, says: str) -> None:
    """Status 2, nothing on stdout, one line that names the flag and what to write."""
    outcome = adamw_scale(*asked(words))
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.count("\n") == 1
    for part in says.split("|"):
        assert part in outcome.err


@pytest.mark.parametrize(("words", "code", "says"), CAUTIONED, ids=[words for words, *_ in CAUTIONED])
def test_what_is_probably_a_slip_is_a_caution_of_the_input(
    adamw_scale: Command, words: str, code: str, says: str
) -> None:
    """Answered, and told apart from what is said about the answer."""
    outcome = adamw_scale(*asked(words), "--json")
    assert outcome.code in (0, 1), outcome.err  # 1 where the range is too wide for a value
    (caution,) = [each for each in json.loads(outcome.out)["cautions"] if each["code"] == code]
    assert caution["about"] == "input"
    for part in says.split("|"):
        assert part in f"{caution['message']} {caution['fix']}"


@pytest.mark.parametrize("words", ODD)
def test_what_only_looks_odd_passes(adamw_scale: Command, words: str) -> None:
    """No caution about the input."""
    outcome = adamw_scale(*asked(words), "--json")
    assert outcome.code in (0, 1), outcome.err  # 1 where the range is too wide for a value
    assert [each for each in json.loads(outcome.out)["cautions"] if each["about"] == "input"] == []


FILES = [
    ("batch_size = 512\nsequence_length = 1024", "--batch-size = 512|--batch-size 512x1024"),
    ('batch_size = "512x1024"\nsequence_length = 2048', "--batch-size = 512x1024"),
    ("sequences = 512", "pass --sequence-length"),
    ('sequences = 512\nbatch_size = "0.5M"\nsequence_length = 1024', "--sequences and --batch-size"),
    ('batch_size = "0.5M"\npeak_lr = 3e4', "--lr (peak_lr)|write 3e-4"),
    ('batch_size = "0,5M"', "--batch-size|write 0.5M"),
    ('batch_size = "0.5M"\nnum_params = "1.3 billion"', "--params (num_params)|write 1.3B"),
    ('batch_size = "0.5M"\nwarmup = 2.5', "--warmup = 2.5|write 2.5%"),
    ('batch_size = "0.5M"\nfinal_lr_fraction = 10', "--final-lr-fraction|write 10%"),
]


@pytest.mark.parametrize(("text", "says"), FILES, ids=[text for text, _ in FILES])
def test_files_are_refused_as_flags_are(adamw_scale: Command, tmp_path: Path, text: str, says: str) -> None:
    """The key is named."""
    file = tmp_path / "run.toml"
    file.write_text(f'tokens = "26B"\n{text}\n')
    outcome = adamw_scale("recommend", "--run", str(file), "--json")
    assert outcome.code == 2
    for part in says.split("|"):
        assert part in outcome.err


def test_sequences_are_a_word_of_files_and_flags(adamw_scale: Command, tmp_path: Path) -> None:
    """Sequences times their length, whichever of the two is said last; a batch said anew takes their place."""
    file = tmp_path / "run.toml"
    file.write_text('tokens = "26B"\nparams = "1.3B"\nsequences = 512\nsequence_length = 1024\nlr = 3e-4\n')

    def batch(*more: str) -> float:
        run: dict[str, float] = json.loads(adamw_scale("recommend", "--run", str(file), *more, "--json").out)["run"]
        return run["batch_size"]

    assert batch() == 512 * 1024
    assert batch("--sequence-length", "2048") == 512 * 2048
    assert batch("--sequences", "256") == 256 * 1024
    assert batch("--batch-size", "256x1Ki") == 256 * 1024


def test_steps_of_a_product_are_steps_of_its_tokens(adamw_scale: Command) -> None:
    """Steps times the batch are the data."""
    words = "--params 1.3B --steps 50k --batch-size 512x1024 --lr 3e-4 --json"
    assert json.loads(adamw_scale(*asked(words)).out)["run"]["dataset_size"] == 50e3 * 512 * 1024


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"batch_size": 512, "sequence_length": 1024}, "--batch-size 512x1024"),
        ({"batch_size": "512x1024", "sequence_length": "2k"}, "--sequence-length is 2000"),
        ({"batch_size": "5e5", "num_params": 1e9, "dataset_size": 20}, "per parameter is --tokens 20B"),
        ({"batch_size": 5e5, "peak_lr": 3e4}, "write 3e-4"),
        ({"batch_size": 5e5, "num_params": "26 B"}, "write 26B"),
        ({"batch_size": 5e5, "epochs": "3%"}, "is a share"),
    ],
    ids=str,
)
def test_python_is_refused_likewise(fields: dict[str, Any], says: str) -> None:
    """The noun itself refuses."""
    with pytest.raises(SpecError) as error:
        TrainingRun(**{"dataset_size": 26e9, **fields})
    assert says in str(error.value)


def test_python_takes_a_product() -> None:
    """Of a batch and of a data set."""
    run = TrainingRun(dataset_size="50k x 0.5M", batch_size="512*1Ki", sequence_length=1024)
    assert (run.dataset_size, run.batch_size) == (25e9, 512 * 1024)


def test_every_reader_of_a_run_refuses(adamw_scale: Command, tmp_path: Path) -> None:
    """emit, audit, timescale, recipes, convert and calibrate read the same words."""
    config = tmp_path / "launch.sh"
    config.write_text(
        "torchrun pretrain_gpt.py --lr 3e-4 --weight-decay 0.1 --train-iters 5000 --lr-decay-style cosine"
    )
    sequences = shlex.split(f"{LM} --batch-size 512 --sequence-length 1024")
    for words in (
        ["emit", "pytorch", *sequences],
        ["timescale", *sequences],
        ["recipes", "--near", *sequences],
        ["audit", str(config), "--batch-size", "512", "--sequence-length", "1024", "--params", "1B"],
        ["convert", "0.1", "--from", "pytorch", "--to", "composer", *sequences],
        ["calibrate", "--plan", "--batch-size", "16", "--sequence-length", "32"],
    ):
        outcome = adamw_scale(*words)
        assert outcome.code == 2, words
        assert "is less than one sequence" in outcome.err


def test_every_reader_of_a_run_cautions(adamw_scale: Command, tmp_path: Path) -> None:
    """A snippet on stderr, an audit as a finding, a timescale in its text and its document."""
    words = shlex.split(f"{LM} --lr 0.06")
    outcome = piped("", "emit", "pytorch", *words)
    assert "caution lr: --lr (peak_lr) 0.06 is high" in outcome.err
    assert "0.06 is high" in " ".join(adamw_scale("timescale", *words).out.split())
    assert json.loads(adamw_scale("timescale", *words, "--json").out)["cautions"][0]["code"] == "lr"
    launch = "torchrun pretrain_gpt.py --lr 0.06 --weight-decay 0.1 --train-iters 50000 --lr-decay-style cosine"
    found = audit(launch, "megatron", suffix=".sh", params="1.3B", sequences=512, sequence_length=1024)
    assert found.run is not None
    assert found.run.batch_size == 512 * 1024
    assert "lr" in [finding.code for finding in found.findings]


def test_a_slip_in_a_tuned_run_is_said_to_be_there() -> None:
    """Once where it was inherited, and named where it is the reference's own."""
    run = TrainingRun(dataset_size=26e9, batch_size=5e5, num_params=1.3e9, peak_lr=3e-4)
    tuned = run.model_copy(update={"peak_lr": 0.06, "weight_decay": 0.1})
    (own,) = [each for each in recommend(run, reference=tuned).cautions if each.code == "lr"]
    assert own.message.startswith("in the tuned run --lr")
    both = [each for each in recommend(tuned, reference=tuned).cautions if each.code == "lr"]
    assert len(both) == 1


TUNED: dict[str, Any] = {
    "dataset_size": 10e9, "batch_size": 2**19, "peak_lr": 3e-4, "weight_decay": 0.1, "schedule": "cosine"
}  # fmt: skip


@pytest.mark.parametrize(
    ("reference", "run", "told", "assumed"),
    [
        ({"num_params": 5e8}, {}, "--params (num_params) 500M is said of the tuned run alone", "one size"),
        ({}, {"num_params": 5e8}, "--params (num_params) 500M is said of the run alone", "one size"),
        ({}, {"width": 2048}, "--width 2048 is said of the run alone", "one size"),
        ({"width": 512}, {}, "--width 512 is said of the tuned run alone", "one size"),
        ({"num_params": 5e8, "width": 512}, {"width": 1024}, "--params (num_params) 500M", "square of the width"),
        ({"num_params": 5e8}, {"width": 1024}, "--width 1024 is said of the run alone", "one size"),
        ({}, {"depth": 24}, "--depth 24 is said of the run alone", "the same in both"),
        (
            {"num_params": 5e8},
            {"num_params": 5e8, "width": 1024, "parametrization": "mup", "base_width": 256},
            "--width 1024 is said of the run alone",
            "--base-width 256",
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize("rule", [None, "run-fraction"])
def test_what_only_one_run_says_is_told(
    reference: dict[str, Any], run: dict[str, Any], told: str, assumed: str, rule: str | None
) -> None:
    """Whose it is and what was assumed, whichever rule carries."""
    tuned = TrainingRun(**TUNED, **reference)
    here = TrainingRun(**{**TUNED, "weight_decay": None, "dataset_size": 20e9}, **run)
    (caution,) = [each for each in recommend(here, rule, reference=tuned).cautions if each.code == "one-sided"]
    assert told in caution.message
    assert assumed in caution.message
    assert caution.about == "input"


@pytest.mark.parametrize(
    ("reference", "run"),
    [
        ({}, {}),
        ({"num_params": 5e8}, {"num_params": 1e9}),
        ({"num_params": 5e8}, {"num_params": 1e9, "width": 2048, "depth": 24}),
        ({"num_params": 5e8, "sequence_length": 2048}, {"num_params": 1e9}),
        ({"width": 512}, {"width": 1024}),
    ],
    ids=str,
)
def test_what_cannot_move_the_answer_is_not_told(reference: dict[str, Any], run: dict[str, Any]) -> None:
    """Where parameters are known of both, width and depth say nothing more; a sequence's length never does."""
    tuned = TrainingRun(**TUNED, **reference)
    here = TrainingRun(**{**TUNED, "weight_decay": None, "dataset_size": 20e9}, **run)
    assert "one-sided" not in [each.code for each in recommend(here, reference=tuned).cautions]


def test_a_size_that_one_run_lacks_widens_the_answer() -> None:
    """The tuned value counts less where nothing tells whether its model was as large."""
    here = TrainingRun(**{**TUNED, "weight_decay": None}, num_params=5e8)
    spans = []
    for params in ({"num_params": 5e8}, {}):
        low, high = recommend(here, reference=TrainingRun(**TUNED, **params)).weight_decay_range
        spans.append(high / low)
    assert spans[1] > 1.1 * spans[0]


def test_a_width_that_the_tuned_run_lacks_leaves_its_parameters_open(adamw_scale: Command, tmp_path: Path) -> None:
    """On the command line the rest is inherited; a new width is not the old number of parameters."""
    file = tmp_path / "tuned.toml"
    file.write_text('tokens = "10B"\nbatch_size = 524288\nlr = 3e-4\nparams = "500M"\nweight_decay = 0.1\n')
    words = ("recommend", "--reference", str(file), "--tokens", "20B", "--width", "2048")
    document = json.loads(adamw_scale(*words, "--json").out)
    assert [each["code"] for each in document["cautions"] if each["about"] == "input"] == ["one-sided"]
    sized = json.loads(adamw_scale(*words, "--params", "1B", "--json").out)
    assert "one-sided" not in [each["code"] for each in sized["cautions"]]
    assert "--params" in adamw_scale(*words, "--rule", "power-lines").err


def run_of(recipe: Recipe) -> TrainingRun | None:
    """A recipe as a run; None where it lacks a size, or has another optimizer or base rates."""
    seen = recipe.dataset_size or recipe.total_units
    optimizer = {"Muon+AdamW": "muon", **dict.fromkeys((*ADAMW_LIKE, "Adam"), "adamw")}.get(recipe.optimizer)
    convention = recipe.convention or "pytorch"
    if not (seen and recipe.total_units and recipe.batch_size and optimizer) or convention not in CONVENTIONS:
        return None
    stated = {
        "num_params": recipe.num_params,
        "width": recipe.width,
        "depth": recipe.depth,
        "peak_lr": recipe.peak_lr,
        "betas": None if recipe.beta1 is None else (recipe.beta1, recipe.beta2),
        "eps": recipe.eps,
        "weight_decay": recipe.weight_decay,
        "final_lr_fraction": recipe.final_lr / recipe.peak_lr if recipe.peak_lr and recipe.final_lr else None,
    }
    return TrainingRun(
        unit=recipe.unit,
        dataset_size=seen,
        epochs=recipe.total_units / seen,
        batch_size=recipe.batch_size,
        task=recipe.task,
        optimizer=optimizer,
        convention=convention,
        **{name: value for name, value in stated.items() if value is not None},
    )


def known_runs() -> Iterator[tuple[str, TrainingRun]]:
    """Every published and measured run that this package has."""
    for recipe in recipes():
        if run := run_of(recipe):
            yield recipe.name, run
    for tuned in tuned_optima():
        yield tuned.name, tuned.run
    for measured in measured_optima():
        yield measured.source, measured.run


KNOWN = list(known_runs())


def test_most_recipes_are_runs() -> None:
    """Those without sizes, of other optimizers and with base rates are left out, and no others."""
    assert sum(run_of(recipe) is not None for recipe in recipes()) >= 0.9 * len(recipes())


def test_everything_known_passes() -> None:
    """No recipe, no tuned optimum and no toy of this project gets a caution about its input."""
    assert [(name, each.code) for name, run in KNOWN for each in input_cautions(run)] == []


def test_slips_of_a_known_learning_rate_are_caught() -> None:
    """Hundredfold ones upwards of models from a million parameters on, and tenfold ones from what laws say.

    Not more: published rates of one size are tens of times apart, and ten times GPT-3's is what others tuned.
    """

    def passes(run: TrainingRun, lr: float) -> bool:
        return "lr" not in [each.code for each in input_cautions(run.model_copy(update={"peak_lr": lr}))]

    models = {
        name: run
        for name, run in KNOWN
        if run.peak_lr and (run.num_params or 0) >= 1e6 and (run.task, run.optimizer) == ("pretraining", "adamw")
    }
    assert len(models) > 100
    far_below_the_laws = {"Galactica-120B", "BERT-base"}  # 7e-6 and 1e-4
    assert {name for name, run in models.items() if passes(run, 100 * run.lr)} == far_below_the_laws
    assert [name for name, run in models.items() if passes(run, run.lr / 1e5)] == []
    for name, run in models.items():
        if run.unit == "tokens":
            said = [law.peak_lr(run.num_params or 0, run.total_units, run.batch_size) for law in LAWS.values()]
            assert not passes(run, 10 * max(said)), name
            assert not passes(run, min(said) / 20), name


def test_limits_lie_beyond_what_their_comments_name() -> None:
    """The numbers that cautions cite are the extremes of the tables."""
    runs = [run for _, run in KNOWN]
    assert round(max(run.batch_size for run in runs if run.unit == "tokens") / 1e6) == 128
    assert max(run.batch_size for run in runs if run.unit == "samples") == 262_144
    assert round(max(run.total_steps for run in runs) / 1e6, 1) == 5.2
    per_param = [run.tokens_per_param for run in runs if run.tokens_per_param and run.unit == "tokens"]
    assert round(min(per_param), 2) == 0.14
    assert round(max(per_param), -3) == 21_000
    assert max(run.epochs for run in runs if run.unit == "tokens") == 64
    assert max(run.epochs for run in runs if run.unit == "samples") == 1800
    assert max(run.weight_decay or 0 for run in runs if run.convention == "pytorch") == 3.2
    assert max(run.eps for run in runs) == 1e-5
    assert max(run.warmup_share for run in runs) <= 0.1
    sized = [run for run in runs if run.width and run.depth and run.num_params and run.unit == "tokens"]
    shapes = [(run.num_params or 0) / (12 * (run.depth or 0) * (run.width or 0) ** 2) for run in sized]
    assert (round(min(shapes), 2), round(max(shapes))) == (0.57, 18)
    assert all(run.width > run.depth for run in runs if run.width and run.depth)
    rates = sorted(
        run.lr
        for run in runs
        if (run.unit, run.task, run.optimizer) == ("tokens", "pretraining", "adamw") and run.peak_lr
    )
    assert (rates[0], rates[-1]) == (7e-6, 8e-3)


@pytest.mark.parametrize("unit", ["tokens", "samples"])
@pytest.mark.parametrize("task", ["pretraining", "finetuning", "lora"])
@pytest.mark.parametrize("optimizer", ["adamw", "muon", "lion"])
def test_usual_rates_span_octaves_everywhere(unit: str, task: str, optimizer: str) -> None:
    """For any kind and size of run there is room, and an end, on both sides."""
    for params in (None, 50, 1e5, 1e6, 1e9, 1e12):
        run = TrainingRun(
            unit=unit, dataset_size=1e9, batch_size=1e5, task=task, optimizer=optimizer, num_params=params
        )
        low, high, source = usual_lr(run)
        assert math.log2(high / low) > 6, (params, source)
        assert 1e-9 < low < high <= plausibility.LARGEST_KNOWN_LR


SEPARATED = st.builds(
    lambda digits, separator: separator.join(digits),
    st.lists(st.from_regex(r"\d{1,4}", fullmatch=True), min_size=2, max_size=4),
    st.sampled_from([",", " ", "'", "\u00a0", "\u202f", "\u2009", ", ", ";", "’"]),
)


@given(SEPARATED, st.sampled_from(["", "k", "M", "B", "%", "e3", ".5"]))
def test_numbers_with_separators_are_never_read(text: str, end: str) -> None:
    """Half the world writes 0,001 for 0.001: nothing is guessed, and any advice is itself a number."""
    for read in (parse_quantity, factors_of):
        with pytest.raises(SpecError, match="is not a number: write ") as error:
            read(text + end)
    advice = str(error.value).partition(": write ")[2]
    if not advice.startswith("for example"):
        for each in advice.removesuffix(" if the comma is a decimal one").replace(", or ", " or ").split(" or "):
            assert parse_quantity(each) >= 0


@given(st.lists(st.integers(1, 10**6), min_size=2, max_size=2), st.sampled_from(["x", "*", "×", " x ", "X"]))
def test_a_product_is_two_factors(factors: list[int], sign: str) -> None:
    """And no quantity of anything else."""
    text = sign.join(map(str, factors))
    assert factors_of(text) == tuple(factors)
    with pytest.raises(SpecError):
        parse_quantity(text)
