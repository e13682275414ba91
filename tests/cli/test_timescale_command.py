"""The commands that show: timescale, list, and recommend without a learning rate."""

import json
from pathlib import Path

import pytest
from conftest import EVERY_SCHEDULE, Command

from adamw_scale.theory.schedules import SCHEDULES

STEPS = ("timescale", "--steps", "100k", "--lr", "3e-4", "--weight-decay", "0.1")
LM = ("recommend", "--params", "1B", "--tokens", "20B", "--batch-size", "0.5M")


def test_timescale_of_a_run_of_so_many_steps(adamw_scale: Command) -> None:
    """Three views, retention, window and quantiles; no picture in a pipe."""
    outcome = adamw_scale(*STEPS, "--schedule", "linear")
    assert outcome.code == 0
    assert "33,333 steps" in outcome.out
    assert "22 % of the initial weights survive" in outcome.out
    assert "⠀" not in outcome.out


def test_picture_fits_80_columns_and_needs_no_colour(adamw_scale: Command) -> None:
    """Two curves in dots, on the same axis."""
    outcome = adamw_scale(*STEPS, "--schedule", "cosine", "--warmup", "5%", "--picture")
    assert "what the final weights remember" in outcome.out
    assert "\x1b" not in outcome.out
    assert all(len(line) <= 80 for line in outcome.out.splitlines())
    assert sum("⠁" <= char <= "⣿" for char in outcome.out) > 40


@pytest.mark.parametrize("schedule", [name for name in SCHEDULES if name != "table"])
def test_timescale_under_every_schedule(schedule: str, adamw_scale: Command) -> None:
    """Ten million steps in a moment, numbers that hang together."""
    names = {"warmup_fraction": "warmup"}
    options = [
        word
        for name, value in EVERY_SCHEDULE[schedule].items()
        for word in (
            "--" + names.get(name, name).replace("_", "-"),
            ",".join(map(str, value)) if isinstance(value, tuple) else str(value),
        )
    ]
    outcome = adamw_scale(
        "timescale",
        "--steps",
        "10M",
        "--lr",
        "1e-3",
        "--weight-decay",
        "1e-3",
        "--schedule",
        schedule,
        *options,
        "--json",
    )
    document = json.loads(outcome.out)
    ages = list(document["age_quantiles"].values())
    assert ages == sorted(ages)
    assert 0 <= ages[0] <= ages[-1] <= 1e7
    assert document["timescale"]["iters"] == pytest.approx(1e6)
    assert 0 < document["retention"] < 1


def test_timescale_of_a_table(tmp_path: Path, adamw_scale: Command) -> None:
    """A file of learning rates is a schedule."""
    file = tmp_path / "lr.csv"
    file.write_text("step,lr\n0,0\n10,3e-4\n100,0\n")
    alone = json.loads(adamw_scale("timescale", "--weight-decay", "0.1", "--schedule-file", str(file), "--json").out)
    assert (alone["run"]["dataset_size"], alone["peak_lr"]) == (100, 3e-4)
    assert adamw_scale(*STEPS, "--lr", "1e-4", "--schedule-file", str(file)).code == 2
    document = json.loads(adamw_scale(*STEPS, "--schedule-file", str(file), "--json").out)
    linear = json.loads(adamw_scale(*STEPS, "--schedule", "linear", "--warmup", "10%", "--json").out)
    assert document["retention"] == pytest.approx(linear["retention"])


def test_timescale_of_the_recommended_decay(adamw_scale: Command) -> None:
    """Without a weight decay of one's own it looks at the recommended one."""
    document, advice = (
        json.loads(adamw_scale(command, *LM[1:], "--lr", "3e-4", "--json").out)
        for command in ("timescale", "recommend")
    )
    assert document["rule"] == advice["rule"] == "law"
    assert document["timescale"] == pytest.approx(advice["timescale"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("timescale", "--steps", "100k", "--lr", "3e-4"), "--weight-decay"),
        (("timescale", "--steps", "100k", "--weight-decay", "0.1"), "--lr"),
        (("timescale", "--lr", "3e-4", "--weight-decay", "0.1"), "--steps"),
        (("timescale", "--steps", "100k", "--lr", "3e-4", "--weight-decay", "0"), "above 0"),
        ((*STEPS, "--schedule", "step"), "--milestones"),
        ((*STEPS, "--schedule-file", "nowhere.csv"), "nowhere.csv"),
        ((*STEPS, "--schedule", "cosine", "--schedule-file", "x"), "drop --schedule"),
        ((*STEPS, "--tokens", "1B", "--batch-size", "1M", "--epochs", "2"), "twice"),
        (("list", "rule"), "did you mean 'rules'"),
        (("emit", "pytorch", *LM[1:]), "--lr"),
        ((*LM, "--rule", "fixed"), "--lr"),
    ],
)
def test_bad_input_is_one_line(arguments: tuple[str, ...], message: str, adamw_scale: Command) -> None:
    """Status 2, and what to do about it."""
    outcome = adamw_scale(*arguments)
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1
    assert message in outcome.err
