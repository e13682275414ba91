"""nanoGPT's assignments in train.py's own formula and torch's AdamW, and what a reader finds in other spellings."""

import math
from typing import Any

import pytest
import torch
from walking import STEPS, TinyLM, assert_walks_as_recommended, config_of, read, short

from adamw_scale.frameworks import FRAMEWORKS
from adamw_scale.frameworks.emission import emit

RUNS = ("cosine-to-10-percent", "constant")


def lr_at(it: int, given: dict[str, Any]) -> float:
    """get_lr of train.py, as its source defines it."""
    lr, low, warmup, end = (given[key] for key in ("learning_rate", "min_lr", "warmup_iters", "lr_decay_iters"))
    if it < warmup:
        return float(lr * (it + 1) / (warmup + 1))
    if it > end:
        return float(low)
    return float(low + 0.5 * (1 + math.cos(math.pi * (it - warmup) / (end - warmup))) * (lr - low))


def sampled(step: int, warmup: int = 40) -> float:
    """Progress at which a step takes the schedule: in the warm-up (it + 1) / (W + 1) of it, then the step's start."""
    return (step + 1) / (warmup + 1) * warmup / STEPS if step < warmup else step / STEPS


@pytest.mark.parametrize("run", RUNS)
def test_every_step_is_as_recommended(run: str) -> None:
    """All 400 steps; in the warm-up the lr is at most 1 / (W + 1) of the peak above what is written, then equal."""
    recommendation = short(run)
    given: dict[str, Any] = {}
    exec(emit("nanogpt", recommendation).text, given)
    config = config_of(recommendation, "nanogpt")
    assert given["decay_lr"] is True
    assert given["max_iters"] + 1 == STEPS  # `if iter_num > max_iters: break` after each step
    assert given["batch_size"] * given["gradient_accumulation_steps"] == 256
    for step in range(STEPS):
        difference = lr_at(step, given) / given["learning_rate"] - config.lr_schedule.multiplier(step / STEPS)
        assert -1e-6 <= difference <= (1 / 41 if step < 40 else 1e-6)
    model = TinyLM()
    tensors = list(model.parameters())
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in tensors if p.dim() >= 2], "weight_decay": given["weight_decay"]},
            {"params": [p for p in tensors if p.dim() < 2], "weight_decay": 0.0},
        ],
        lr=lr_at(0, given),
        betas=(given["beta1"], given["beta2"]),
    )
    steps = iter(range(1, STEPS + 1))

    def next_step() -> None:
        lr = lr_at(next(steps), given)
        for group in optimizer.param_groups:
            group["lr"] = lr

    assert_walks_as_recommended(model, optimizer, next_step, config, sampled)


@pytest.mark.parametrize("run", ["linear", "wsd", "linear-to-20-percent"])
def test_other_schedules_become_the_nearest(run: str) -> None:
    """Only the cosine falls here."""
    snippet = emit("nanogpt", short(run))
    assert "nearest-schedule" in [caution.code for caution in snippet.cautions]


def test_epsilon_that_no_key_sets_is_said() -> None:
    """The file tells that another epsilon is not set."""
    assert "1e-15" not in emit("nanogpt", short()).text
    assert "epsilon stays at 1e-08, not 1e-15" in emit("nanogpt", short(eps=1e-15)).text


def test_defaults_are_those_of_train_py() -> None:
    """As its source of 2025 has them; nothing is installed that could be asked."""
    config = read(FRAMEWORKS["nanogpt"](), "out_dir = 'out'\n")
    assert (config.peak_lr, config.weight_decay, config.betas) == (6e-4, 0.1, (0.9, 0.95))
    assert (config.schedule, config.warmup_steps, config.total_steps) == ("cosine", 2000, 600_001)
    assert config.final_lr_fraction == pytest.approx(0.1)
    assert config.group("norm-and-bias").weight_decay == 0
    assert {"peak_lr", "weight_decay", "warmup_steps", "total_steps"} <= set(config.defaults)
    assert config.batch_size is None
    assert not config.findings


FILE = """
# train a miniature character-level model
batch_size = 64
block_size = 256
gradient_accumulation_steps = 5 * 8
learning_rate = 1e-3
max_iters = 5000
lr_decay_iters = 5000
min_lr = learning_rate / 10
beta2 = 0.99
warmup_iters = 100
"""
SHELL = """
torchrun --standalone train.py --batch_size=64 --block_size=256 --gradient_accumulation_steps=40 --learning_rate=1e-3 \\
  --max_iters=5000 --lr_decay_iters=5000 --min_lr=1e-4 --beta2=0.99 --warmup_iters=100
"""


@pytest.mark.parametrize("text", [FILE, SHELL], ids=["python", "shell"])
def test_reads_files_and_command_lines(text: str) -> None:
    """The same run in two languages."""
    config = read(FRAMEWORKS["nanogpt"](), text)
    assert (config.peak_lr, config.betas, config.total_steps) == (1e-3, (0.9, 0.99), 5001)
    assert (config.global_batch, config.sequence_length, config.warmup_steps) == (64 * 40, 256, 100)
    assert config.final_lr_fraction == pytest.approx(0.1)
    assert not config.findings


@pytest.mark.parametrize(
    ("text", "code", "severity"),
    [
        ("max_iters = 5000\nlearning_rate = 1e-3", "other-end", "warning"),
        ("max_iters = 5000\nlr_decay_iters = 2000", "other-end", "warning"),
        ("decay_lr = False\nwarmup_iters = 100", "warmup-ignored", "error"),
        ("lr = 1e-3", "unknown-key", "warning"),
    ],
)
def test_traps_are_said(text: str, code: str, severity: str) -> None:
    """Each follows from the formula and the loop of train.py."""
    config = read(FRAMEWORKS["nanogpt"](), text)
    assert [(finding.code, finding.severity) for finding in config.findings] == [(code, severity)]


def test_without_decay_lr_it_is_constant_from_the_first_step() -> None:
    """The default warmup_iters does not count then."""
    config = read(FRAMEWORKS["nanogpt"](), "decay_lr = False\nmax_iters = 99\nlearning_rate = 1e-3")
    assert (config.schedule, config.lr_schedule.mean()) == ("constant", 1.0)


@pytest.mark.parametrize(("last", "end"), [(4999, 2000), (1999, 5000)])
def test_a_fall_of_another_length_is_judged_as_get_lr_has_it(last: int, end: int) -> None:
    """get_lr of train.py, written out."""
    text = f"max_iters = {last}\nlr_decay_iters = {end}\nwarmup_iters = 100\nlearning_rate = 1e-3\nmin_lr = 1e-4\n"
    config = read(FRAMEWORKS["nanogpt"](), text)

    def get_lr(it: int) -> float:
        if it < 100:
            return (it + 1) / 101
        ratio = min(1.0, (it - 100) / (end - 100))
        return 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * ratio))

    for step in range(0, last + 1, 100):
        assert config.lr_schedule.multiplier(step / (last + 1)) == pytest.approx(get_lr(step), abs=0.011)
    assert config.lr_schedule.mean() == pytest.approx(sum(map(get_lr, range(last + 1))) / (last + 1), abs=1e-3)
    assert all("as if" not in finding.message for finding in config.findings)
