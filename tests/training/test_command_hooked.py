"""Trainings without a flag for weight decay or seed: the hook sets both, and it is said where it cannot."""

import shlex
from pathlib import Path

import pytest
import torch
from command_bench import PYTHON, SCRIPTS, WD, Bench, quiet, sweep_of

from adamw_scale.calibration.trained import other_lr
from adamw_scale.errors import SpecError
from adamw_scale.hook.setting import UnsettableError, WeightDecay
from adamw_scale.spec.measurement import ProbeResult

SCRIPT = f"{PYTHON} {shlex.quote(str(SCRIPTS / 'unflagged.py'))}"
STEPS = {"dataset_size": 100 * 64, "batch_size": 64, "epochs": 1}


def probe(folder: Path, arguments: str = "", lr: float = 1e-3, **options: str) -> ProbeResult:
    """A probe of the script."""
    return Bench(folder).run(f"{SCRIPT} {arguments}", fields={**STEPS, "peak_lr": lr}, **options)


@pytest.mark.parametrize(
    "kind", ["plain", "groups", "two", "scheduled", "compiled", "after-adam", "remade", "reloaded"]
)
def test_the_same_bits_as_with_a_flag(tmp_path: Path, kind: str) -> None:
    """With a flag and without: one loss, whether one group decays, some at ratios, or as a schedule says."""
    flagged = probe(tmp_path, f"--kind {kind} --weight-decay {WD}")
    bare = probe(tmp_path, f"--kind {kind}")
    assert bare.status == "done", bare.reason
    relative = 1e-9 if kind in ("groups", "scheduled") else 0.0  # a ratio of rounded numbers is rounded
    assert bare.loss == pytest.approx(flagged.loss, rel=relative, abs=0.0)
    assert bare.metrics["own"] == pytest.approx({"groups": 0.05, "two": 0.1}.get(kind, bare.metrics["own"]))
    assert bare.seen is not None
    assert (bare.seen.least, bare.seen.most, bare.seen.peak_lr) == (100, 100, 1e-3)
    assert not list(tmp_path.rglob("*.hooked"))


def test_a_weight_decay_of_numpy_is_set(tmp_path: Path) -> None:
    """A schedule that numpy computed gives numbers that are no float of Python."""
    result = probe(tmp_path, "--kind float32")
    assert result.status == "done", result.reason
    assert result.metrics["own"] == pytest.approx(0.1)


def test_what_the_training_reads_is_its_own(tmp_path: Path) -> None:
    """Between steps a group has the value that its script gave it."""
    assert probe(tmp_path).metrics["own"] == 0.1


def test_seeds_are_moved(tmp_path: Path) -> None:
    """Every seed that the script sets, by the probe's own: as if it had been given to it."""
    bench = Bench(tmp_path)
    task = bench.task(SCRIPT, reseed="yes")

    losses = {}
    for command, options in ((SCRIPT, {"reseed": "yes"}), (f"{SCRIPT} --weight-decay {WD} --seed {{seed}}", {})):
        task = bench.task(command, **options)
        sweep = sweep_of(task, **STEPS)
        losses[command] = [task.train([sweep.config(seed, -2.0)], quiet)[0].loss for seed in (0, 1)]
    with_hook, with_flags = losses.values()
    assert with_hook == with_flags
    assert with_hook[0] != with_hook[1]


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        ("--kind adam", {}, "its optimizer is torch's Adam, whose weight decay is an L2 penalty"),
        ("--kind undecayed", {}, "no parameter group of its optimizers decays"),
        ("--kind by-itself", {}, "the optimizer has its weight decay from elsewhere"),
        ("", {"convention": "composer"}, "whose weight decay is not that of composer: pass --convention pytorch"),
        ("--kind closure", {}, "its closure sets weight_decay while the optimizer steps"),
        ("--kind crash", {}, "exit status 1"),
        ("--kind idle", {}, "no optimizer of torch.optim made a step in it, so its weight decay could not be set"),
    ],
)
def test_what_cannot_be_set_fails_and_says_why(
    tmp_path: Path, arguments: str, options: dict[str, str], said: str
) -> None:
    """A number from a training whose weight decay was not the one of the probe is no result."""
    result = probe(tmp_path, arguments, **options)
    assert result.status == "failed"
    assert said in str(result.reason)


def test_a_command_without_torch_fails(tmp_path: Path) -> None:
    """It has to have a flag."""
    result = Bench(tmp_path).run(f"{PYTHON} -c 'print(1)'", reseed="yes")
    assert result.status == "failed"
    assert "so its weight decay and seed could not be set (only torch's can)" in str(result.reason)


def test_another_learning_rate_is_told(tmp_path: Path) -> None:
    """The optimizer knows it; a timescale depends on it."""
    assert other_lr(probe(tmp_path)) is None
    told = other_lr(probe(tmp_path, "--lr 0.002"))
    assert told is not None
    assert "hidden matrices is 0.002, not 0.001: pass its own as --lr" in told


def test_reseed_beside_a_seed_is_refused(tmp_path: Path) -> None:
    """One of the two says it."""
    with pytest.raises(SpecError, match="--reseed is for a command that takes no seed"):
        Bench(tmp_path).task(f"{SCRIPT} --seed {{seed}}", reseed="yes")


def test_it_is_said_what_is_set(tmp_path: Path) -> None:
    """A plan tells that the hook sets weight decay, and is another plan than with a flag."""
    bare, flagged = (sweep_of(Bench(tmp_path).task(each), **STEPS) for each in (SCRIPT, f"{SCRIPT} --wd {WD}"))
    assert "it has no {weight_decay}: that of its torch optimizers is set as they step" in bare.data
    assert "{weight_decay}: " not in flagged.data
    assert bare.task["weight_decay_set_by"] == "hook"
    assert "weight_decay_set_by" not in flagged.task


def test_nothing_decays_until_it_can_be_told_what() -> None:
    """An optimizer of another process' kind, made later, keeps its ratio; a group at 0 stays there."""
    weights = [torch.nn.Parameter(torch.ones(4, size)) for size in (4, 2, 1)]
    large = torch.optim.AdamW([{"params": weights[:1]}, {"params": weights[2:], "weight_decay": 0.0}], weight_decay=0.1)
    setter = WeightDecay(0.3, lambda _, group: (sum(p.numel() for p in group["params"]),))
    setter.before(large, lambda: [large])
    assert [group["weight_decay"] for group in large.param_groups] == [0.3, 0.0]
    later = torch.optim.AdamW(weights[1:2], weight_decay=0.2)
    setter.before(later, lambda: [large, later])
    assert later.param_groups[0]["weight_decay"] == pytest.approx(0.6)
    setter.after(later)
    setter.after(large)
    assert (large.param_groups[0]["weight_decay"], later.param_groups[0]["weight_decay"]) == (0.1, 0.2)
    bare = torch.optim.SGD(weights, lr=0.1)
    with pytest.raises(UnsettableError, match="no parameter group of its optimizers decays"):
        WeightDecay(0.3, lambda _, group: (1,)).before(bare, lambda: [bare])
