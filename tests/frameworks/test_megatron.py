"""Megatron's arguments in megatron-core's own scheduler."""

import math
import re
import shlex
import warnings
from typing import Any

import pytest
import torch
from torch import nn
from walking import advice, config_of, read, short

from adamw_scale.frameworks import FRAMEWORKS
from adamw_scale.frameworks.emission import emit

RUNS = ("linear", "cosine-to-10-percent", "wsd", "wsd-1-sqrt", "constant", "linear-to-20-percent", "inverse-sqrt")


def real_scheduler(optimizer: torch.optim.Optimizer, **arguments: Any) -> Any:
    """megatron-core's scheduler, whose import warns of optional parts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from megatron.core.optimizer_param_scheduler import OptimizerParamScheduler

        return OptimizerParamScheduler(optimizer, **arguments)


@pytest.mark.parametrize("run", RUNS)
def test_every_step_is_as_recommended(run: str) -> None:
    """The scheduler sets lr and weight decay of each step, taken at its end."""
    recommendation = short("linear", schedule=run) if run == "inverse-sqrt" else short(run)
    given, config = arguments_of(emit("megatron", recommendation).text), config_of(recommendation, "megatron")
    assert (given["weight-decay-incr-style"], given["optimizer"]) == ("constant", "adam")
    assert given["global-batch-size"] == "256"
    optimizer = torch.optim.AdamW([nn.Parameter(torch.ones(2, 2))], lr=1.0)
    optimizer.param_groups[0]["default_config"] = True
    scheduler = real_scheduler(
        optimizer,
        init_lr=0.0,
        max_lr=float(given["lr"]),
        min_lr=float(given["min-lr"]),
        lr_warmup_steps=int(given["lr-warmup-iters"]),
        lr_decay_steps=int(given["lr-decay-iters"]),
        lr_decay_style=given["lr-decay-style"],
        start_wd=float(given["weight-decay"]),
        end_wd=float(given["weight-decay"]),
        wd_incr_steps=int(given["train-iters"]),
        wd_incr_style=given["weight-decay-incr-style"],
        wsd_decay_steps=int(given["lr-wsd-decay-iters"]) if "lr-wsd-decay-iters" in given else None,
        lr_wsd_decay_style=given.get("lr-wsd-decay-style"),
    )
    steps = int(given["train-iters"])
    for step in range(1, steps + 1):
        scheduler.step(1)
        group = optimizer.param_groups[0]
        lr = recommendation.peak_lr * config.lr_schedule.multiplier(step / steps)
        assert group["lr"] == pytest.approx(lr, rel=1e-6, abs=1e-12)
        assert group["weight_decay"] == pytest.approx(recommendation.weight_decay, rel=1e-7)


def test_start_and_end_override_the_value() -> None:
    """What the finding says is so: the real scheduler writes start and end into the optimizer."""
    optimizer = torch.optim.AdamW([nn.Parameter(torch.ones(2, 2))], lr=1.0, weight_decay=0.1)
    optimizer.param_groups[0]["default_config"] = True
    real_scheduler(
        optimizer,
        init_lr=0.0,
        max_lr=1e-3,
        min_lr=0.0,
        lr_warmup_steps=0,
        lr_decay_steps=10,
        lr_decay_style="cosine",
        start_wd=0.033,
        end_wd=0.033,
        wd_incr_steps=10,
        wd_incr_style="constant",
    ).step(1)
    assert optimizer.param_groups[0]["weight_decay"] == 0.033
    config = read(
        FRAMEWORKS["megatron"](),
        "--lr 1e-3 --weight-decay 0.1 --start-weight-decay 0.033 --end-weight-decay 0.033 --train-iters 100",
    )
    assert config.weight_decay == 0.033
    assert [(finding.code, finding.severity) for finding in config.findings] == [("decay-overridden", "error")]


def arguments_of(text: str) -> dict[str, str]:
    """Flags of the emitted bash array."""
    inside = re.search(r"ADAMW_ARGS=\(\n(.*)\n\)", text, re.DOTALL)
    assert inside
    words = shlex.split(inside[1])
    return {flag.removeprefix("--"): value for flag, value in zip(words[::2], words[1::2], strict=True)}


def test_mup_writes_the_hidden_decay() -> None:
    """One λ for all groups: that of the matrices, which are nearly all weights, and the snippet says so."""
    recommendation = advice("mup")
    snippet = emit("megatron", recommendation)
    hidden = recommendation.param_groups[0]
    assert float(arguments_of(snippet.text)["weight-decay"]) == pytest.approx(hidden.weight_decay)
    assert math.isclose(hidden.weight_decay, 8 * recommendation.base_weight_decay)
    assert {caution.code for caution in snippet.cautions} == {"one-weight-decay", "one-eps"}


def test_reads_variables_samples_and_mup() -> None:
    """A launch script with variables; durations in samples; muP's width ratio."""
    config = read(
        FRAMEWORKS["megatron"](),
        "LR=6e-4\nARGS=(\n  --lr ${LR} --min-lr 6e-5 --train-samples 512000\n  --lr-warmup-samples 51200\n"
        "  --global-batch-size 512 --seq-length 2048 --weight-decay 0.1 --use-mup --hidden-size 2048\n"
        "  --mup-base-hidden-size 256 --lr-decay-style cosine --adam-beta2 0.95\n)\n",
    )
    assert (config.peak_lr, config.final_lr_fraction) == (6e-4, pytest.approx(0.1))
    assert (config.total_steps, config.warmup_steps) == (1000, 100)
    assert config.group("hidden").lr_factor == 1 / 8
    assert config.group("embedding").lr_factor == 1


def test_reads_what_decoupled_lr_and_another_end_do() -> None:
    """Embedding and output at their own rate; a fall that ends before the run does."""
    config = read(
        FRAMEWORKS["megatron"](),
        "--lr 3e-4 --decoupled-lr 6e-4 --train-iters 1000 --lr-decay-iters 100 --lr-decay-style cosine --weight-decay "
        "0.1",
    )
    assert [group.lr_factor for group in config.groups] == [1, 2, 2, 1]
    assert [finding.code for finding in config.findings] == ["other-end"]
    assert (config.lr_schedule.multiplier(0.05), config.lr_schedule.multiplier(0.5)) == (
        pytest.approx(0.5, abs=1e-3),
        0,
    )


def test_reads_scripts_as_people_write_them() -> None:
    """Arguments in a quoted string, redirections, further arguments, and a variable that nobody sets."""
    config = read(
        FRAMEWORKS["megatron"](),
        'ARGS="\n  --lr 3e-4 \\\n  --weight-decay 0.1 \\\n  --train-iters 1000\n"\n'
        'torchrun pretrain_gpt.py $ARGS --min-lr 3e-5 "$@" > log.txt 2>&1\necho done\n',
    )
    assert (config.peak_lr, config.weight_decay, config.total_steps) == (3e-4, 0.1, 1000)
    assert config.final_lr_fraction == pytest.approx(0.1)
    unknown = read(FRAMEWORKS["megatron"](), "--lr 3e-4 --weight-decay $WD --train-iters 10")
    assert [(finding.code, finding.key) for finding in unknown.findings] == [("unread-value", "weight_decay")]
