"""The commands that show: timescale, list, and recommend without a learning rate."""

import json
from pathlib import Path

import pytest
from conftest import EVERY_SCHEDULE, Command
from hypothesis import given
from hypothesis import strategies as st

from adamw_scale.cli.axis import Row, log_axis
from adamw_scale.cli.list import KINDS
from adamw_scale.theory.lr_laws import LAWS
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
    outcome = adamw_scale("timescale", "--steps", "10M", "--lr", "1e-3", "--weight-decay", "1e-3", "--schedule", schedule, *options, "--json")  # fmt: skip
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
    document = json.loads(adamw_scale("timescale", *LM[1:], "--lr", "3e-4", "--json").out)
    assert document["rule"] == "power-lines"
    assert document["timescale"]["run"] == pytest.approx(1.084 * 20**-0.527)


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


@pytest.mark.parametrize("kind", KINDS)
def test_list_shows_every_part(kind: str, adamw_scale: Command) -> None:
    """As text within 80 columns, and as JSON with names."""
    text = adamw_scale("list", kind)
    rows = json.loads(adamw_scale("list", kind, "--json").out)[kind]
    assert rows
    for row in rows:
        assert row["name"] in text.out
        assert "from an installed package" not in row.values()  # none is installed here
    assert all(len(line) <= 80 for line in text.out.splitlines())


def test_without_lr_the_answer_is_the_product(adamw_scale: Command) -> None:
    """lr * λ by the same rule, and every law's learning rate with the λ that goes with it."""
    document = json.loads(adamw_scale(*LM, "--json").out)
    with_lr = json.loads(adamw_scale(*LM, "--lr", "1e-3", "--json").out)
    assert document["lr_times_weight_decay"] == pytest.approx(1e-3 * with_lr["weight_decay"])
    assert [law["law"] for law in document["laws"]] == list(LAWS)
    for law in document["laws"]:
        assert law["peak_lr"] * law["weight_decay"] == pytest.approx(document["lr_times_weight_decay"])
    step_law = document["laws"][0]
    assert (step_law["peak_lr"], step_law["batch_size"]) == pytest.approx((9.9602e-4, 441_892), rel=1e-4)


def test_without_lr_the_text_names_every_law(adamw_scale: Command) -> None:
    """A table of laws, not an error."""
    outcome = adamw_scale(*LM)
    assert outcome.code == 0
    assert all(law in outcome.out for law in LAWS)


def test_finetuning_says_toward_what_decay_pulls(adamw_scale: Command) -> None:
    """Zero, not the pretrained weights; and the other way round in LoRA."""
    outcome = adamw_scale("recommend", "--task", "finetuning", "--tokens", "10M", "--batch-size", "64k", "--lr", "2e-5")
    for text in ("L2-SP", "Selective Projection Decay", "LoRA"):
        assert text in outcome.out


def test_formula_and_json_agree(adamw_scale: Command) -> None:
    """λ = B / (lr * D * 1.084 * TPP^-0.527), unrounded."""
    document = json.loads(adamw_scale(*LM, "--lr", "3e-4", "--json").out)
    assert document["weight_decay"] == pytest.approx(0.5e6 / (3e-4 * 20e9 * 1.084 * 20**-0.527), rel=1e-12)


def test_adamc_asks_for_more_at_the_peak(adamw_scale: Command) -> None:
    """Decay that follows the learning rate has 2/3 of the mass under linear decay, so λ is 3/2 of it."""
    plain, following = (
        json.loads(adamw_scale(*LM, "--lr", "3e-4", *more, "--json").out)["weight_decay"]
        for more in ((), ("--weight-decay-schedule", "follows-lr"))
    )
    assert following == pytest.approx(1.5 * plain)


@given(
    values=st.lists(st.floats(1e-9, 1e3), min_size=1, max_size=6),
    interval=st.tuples(st.just(0.0) | st.floats(1e-9, 1e3), st.floats(1e-9, 1e3)).filter(
        lambda ends: ends[0] < ends[1]
    ),
)
def test_a_log_axis_keeps_order_and_fits(values: list[float], interval: tuple[float, float]) -> None:
    """Whatever the values: 80 columns, a mark each, further right for larger ones; a range around its own value."""
    rows = [Row("ranged", sum(interval) / 2, interval), *(Row(f"rule {i}", value) for i, value in enumerate(values))]
    head, ranged, *lines = log_axis("λ", rows).splitlines()
    assert all(len(line) <= 80 for line in (head, ranged, *lines))
    marks = [line.index("●") for line in lines]
    assert [marks[i] for i in sorted(range(len(values)), key=values.__getitem__)] == sorted(marks)
    assert ranged.count("●") == 1
    assert interval[0] > 0 or "◄" in ranged or ranged.strip().endswith("●")


def test_recommend_draws_its_range_on_a_terminal_only(adamw_scale: Command) -> None:
    """Asked for, the range and every other rule are on one axis, without colour; in a pipe there is none."""
    options = (*LM, "--lr", "3e-4", "--weight-decay", "0.1")
    assert "●" not in adamw_scale(*options).out
    drawn = adamw_scale(*options, "--picture").out
    rows = [line for line in drawn.splitlines() if "●" in line]
    assert [row.split()[0] for row in rows] == ["power-lines", "steplaw-refit", "adana", "constant-tau-epoch", "fixed", "yours"]  # fmt: skip
    assert "├" in rows[0]
    assert rows[4].index("●") == rows[5].index("●")  # both are 0.1
    assert "\x1b" not in drawn
    assert all(len(line) <= 80 for line in drawn.splitlines())


def test_finetuning_draws_a_range_from_zero(adamw_scale: Command) -> None:
    """A range may begin at 0, which no log axis holds."""
    options = ("--task", "finetuning", "--tokens", "10M", "--epochs", "3", "--batch-size", "64k", "--lr", "2e-5")
    assert "◄" in adamw_scale("recommend", *options, "--picture").out
