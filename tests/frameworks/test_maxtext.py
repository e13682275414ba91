"""MaxText's YAML against what its sources compute, step by step: MaxText is not on PyPI, so its code is not run.

Read in maxtext/utils/maxtext_utils.py (create_learning_rate_schedule), maxtext/configs/types.py and
maxtext/optimizers/optimizers.py. Its adamw is optax's, which tests/frameworks/test_optax.py proves.
"""

import math
import re
from typing import Any

import pytest
import yaml
from walking import BASE, STEPS, config_of, from_start, read, short

from adamw_scale import TrainingRun, recommend
from adamw_scale.frameworks import FRAMEWORKS
from adamw_scale.frameworks.emission import emit

RUNS: dict[str, dict[str, Any]] = {
    "linear": {},
    "cosine-to-10-percent": {},
    "wsd": {},
    "constant": {},
    "linear-to-20-percent": {},
    "wsd-cosine": {"schedule": "wsd-cosine", "final_lr_fraction": 0.05},
    "no-warmup": {"warmup_steps": 0},
    "odd": {"warmup_steps": 29, "schedule": "wsd", "decay_fraction": 0.2325},
}
# Documented defaults of base.yml and of types.py.
DEFAULTS = {
    "learning_rate": 3e-5,
    "adam_weight_decay": 0.1,
    "adam_b1": 0.9,
    "adam_b2": 0.95,
    "adam_eps": 1e-8,
    "learning_rate_final_fraction": 0.1,
    "warmup_steps_fraction": 0.1,
    "wsd_decay_steps_fraction": 0.1,
    "steps": 150_001,
}


def real_lr(given: dict[str, Any], step: int) -> float:
    """The learning rate at a step: both ends of the warm-up and of the fall are steps of their own."""
    total, peak, final = given["steps"], given["learning_rate"], given["learning_rate_final_fraction"]
    warmup = int(total * given["warmup_steps_fraction"])
    wsd = given["lr_schedule_type"] == "wsd"
    falling = int(total * given["wsd_decay_steps_fraction"]) if wsd else total - warmup
    if step < warmup:
        return float(peak * step / (warmup - 1)) if warmup > 1 else 0.0
    if step < total - falling:
        return float(peak)
    u = (step - (total - falling)) / (falling - 1) if falling > 1 else 1.0
    left = 1 - u if wsd and given["wsd_decay_style"] == "linear" else 0.5 * (1 + math.cos(math.pi * u))
    return float(peak * (final + (1 - final) * left))


@pytest.mark.parametrize("run", RUNS)
def test_every_step_is_as_recommended(run: str) -> None:
    """The lr is what is written at the start of each step, but that every phase is one step shorter.

    With W steps of warm-up and D of fall, MaxText takes them over W - 1 and D - 1 steps: the lr differs by at most 1/W
    of the peak in the warm-up, by 1/D in a linear and pi / 2 / D in a cosine fall, and in sum by less than one step.
    """
    recommendation = short("linear" if RUNS[run] else run, **RUNS[run])
    config = config_of(recommendation, "maxtext")
    given = yaml.safe_load(emit("maxtext", recommendation).text)
    assert given["steps"] == config.total_steps == STEPS
    assert int(STEPS * given["warmup_steps_fraction"]) == config.warmup_steps
    if config.decay_steps is not None:
        assert int(STEPS * given["wsd_decay_steps_fraction"]) == config.decay_steps
    schedule, peak, warmup = config.lr_schedule, config.peak_lr or 0, config.warmup_steps or 0
    falling = STEPS * schedule.falling_fraction
    difference = 0.0
    for step in range(STEPS):
        lr, wanted = real_lr(given, step) / peak, schedule.multiplier(from_start(step))
        bound = 1 / warmup if step < warmup else math.pi / 2 / falling
        assert lr == pytest.approx(wanted, abs=bound * (1 + 1e-6)), step
        difference += lr - wanted
    assert abs(difference) < 1
    assert given["adam_weight_decay"] == pytest.approx(recommendation.weight_decay, rel=1e-7)


def test_fractions_are_rounded_down_to_whole_steps() -> None:
    """A plain W / S loses a step for many runs, 22 steps with 15 of warm-up among them."""
    assert int(22 * (15 / 22)) == 14
    part = FRAMEWORKS["maxtext"]()
    for total in (22, 100, 1777, 49_591, 3_000_001):
        for warmup in {1, total // 3, 2 * total // 3, 15}:
            config = config_of(short("linear"), "maxtext").model_copy(
                update={"total_steps": total, "warmup_steps": warmup}
            )
            given = yaml.safe_load(part.write(config))
            assert int(total * given["warmup_steps_fraction"]) == warmup
            assert int(total * given["wsd_decay_steps_fraction"]) == total - warmup


def test_mask_spares_gains_and_biases() -> None:
    """A mask is searched in a weight's path, and what it finds does not decay."""
    given = yaml.safe_load(emit("maxtext", short("mup")).text)

    def spared(path: str) -> bool:
        return any(re.search(mask, path) for mask in given["adamw_mask"])

    assert spared("params/decoder/decoder_norm/scale")
    assert spared("params/decoder/layers/self_attention/query/bias")
    assert not spared("params/decoder/layers/self_attention/query/kernel")
    assert not spared("params/token_embedder/embedding")
    assert not spared("params/decoder/logits_dense/kernel")


def test_defaults_are_those_of_the_sources() -> None:
    """A config that says nothing trains with base.yml."""
    config = read(FRAMEWORKS["maxtext"](), "run_name: test\n")
    assert config.peak_lr == DEFAULTS["learning_rate"]
    assert [group.weight_decay for group in config.groups] == [DEFAULTS["adam_weight_decay"]] * 4
    assert config.betas == (DEFAULTS["adam_b1"], DEFAULTS["adam_b2"])
    assert (config.eps, config.total_steps) == (DEFAULTS["adam_eps"], DEFAULTS["steps"])
    assert (config.schedule, config.final_lr_fraction) == ("cosine", DEFAULTS["learning_rate_final_fraction"])
    assert config.warmup_steps == int(DEFAULTS["steps"] * DEFAULTS["warmup_steps_fraction"])
    assert {"peak_lr", "weight_decay", "total_steps", "final_lr_fraction"} <= set(config.defaults)


def test_reads_a_command_line() -> None:
    """key=value after base.yml, over several lines."""
    config = read(
        FRAMEWORKS["maxtext"](),
        "export LIBTPU_INIT_ARGS=x\npython3 -m maxtext.trainers.pre_train.train maxtext/configs/base.yml run_name=a "
        "\\\n"
        "  learning_rate=3e-4 adam_weight_decay=0.05 steps=1000 lr_schedule_type=wsd wsd_decay_steps_fraction=0.2 \\\n"
        "  wsd_decay_style=cosine per_device_batch_size=8 max_target_length=4096 adamw_mask=\"['bias','.*norm']\"\n",
    )
    assert (config.peak_lr, config.weight_decay, config.total_steps) == (3e-4, 0.05, 1000)
    assert (config.schedule, config.decay_steps, config.warmup_steps) == ("wsd-cosine", 200, 100)
    assert (config.per_device_batch_size, config.sequence_length) == (8, 4096)
    assert config.group("norm-and-bias").weight_decay == 0
    assert config.group("embedding").weight_decay == 0.05


def test_schedule_of_another_length_is_said() -> None:
    """Steps after the schedule have lr 0; a schedule cut short ends above its final lr."""
    part = FRAMEWORKS["maxtext"]()
    long = read(part, "steps: 1200\nlearning_rate_schedule_steps: 1000\n")
    assert (long.total_steps, long.schedule_end, long.lr_schedule.final) == (1200, 1000, 0)
    assert long.lr_schedule.multiplier(0.8333) == pytest.approx(0.1, rel=1e-2)
    assert "the rest runs at a learning rate of 0" in long.findings[0].message
    short_run = read(part, "steps: 800\nlearning_rate_schedule_steps: 1000\n")
    assert "not come down" in short_run.findings[0].message
    made = read(part, "steps: 1000\n").lr_schedule
    assert short_run.lr_schedule.multiplier(0.5) == pytest.approx(made.multiplier(0.4), rel=1e-3)
    assert short_run.lr_schedule.final == pytest.approx(made.multiplier(0.8), rel=1e-3)
    assert not read(part, "steps: -1\nlearning_rate_schedule_steps: 1000\n").findings


def test_old_name_of_the_final_fraction_is_read_and_said() -> None:
    """The key of releases before WSD."""
    config = read(FRAMEWORKS["maxtext"](), "cosine_learning_rate_final_fraction: 0.2\nsteps: 100\n")
    assert config.final_lr_fraction == 0.2
    assert [finding.code for finding in config.findings] == ["renamed-key"]


def test_batch_is_read_back_from_its_comment() -> None:
    """MaxText knows a batch per device only, and refuses keys of others."""
    part, run = FRAMEWORKS["maxtext"](), TrainingRun(**BASE)
    text = emit(part.name, recommend(run)).text
    assert "batch" not in yaml.safe_load(text)
    assert read(part, text).batch_size == 256
