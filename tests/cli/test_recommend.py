"""adamw-scale recommend: the number, in JSON and for people, with and without a learning rate."""

import json

import pytest
from conftest import Command

from adamw_scale import TrainingRun
from adamw_scale.law.posterior import Posterior
from adamw_scale.theory.lr_laws import LAWS

RUN = ["--params", "1.3B", "--tokens", "26B", "--batch-size", "0.5M", "--lr", "3e-4", "--schedule", "linear"]
LM = ("recommend", "--params", "1B", "--tokens", "20B", "--batch-size", "0.5M")


def test_recommend_json_is_the_published_formula(adamw_scale: Command) -> None:
    """2505.13738, where it is asked for: λ = B / (lr * D * 1.084 * 20^-0.527), beside the law."""
    outcome = adamw_scale("recommend", *RUN, "--rule", "power-lines", "--json")
    document = json.loads(outcome.out)
    assert (outcome.code, outcome.err) == (0, "")
    assert document["weight_decay"] == pytest.approx(5e5 / (3e-4 * 26e9 * 1.084 * 20**-0.527), rel=1e-12)
    assert document["rule"] == "power-lines"
    assert [other["rule"] for other in document["alternatives"]] == ["law", "steplaw-refit", "adana", "fixed"]
    assert all(other["source"] for other in document["alternatives"])


def test_recommend_for_people(adamw_scale: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --explain also source, timescale, the other rules and every caution with its fix; no colour in a pipe."""
    monkeypatch.setenv("COLUMNS", "80")
    document = json.loads(adamw_scale("recommend", *RUN, "--json").out)
    low, high = document["weight_decay_range"]
    outcome = adamw_scale("recommend", *RUN, "--weight-decay", "0.1", "--betas", "0.9,0.9999", "--explain")
    for text in (
        f"weight decay {document['weight_decay']:.2g}",
        f"range {low:.2g} to {high:.2g}",
        "law",
        "this project's fit",
        f"{100 * document['timescale']['run']:.2g} % of the run",
        "power-lines",
        "steplaw-refit",
        "caution",
        "fix",
        "today",
    ):
        assert text in outcome.out
    assert "\x1b" not in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 80


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
    outcome = adamw_scale(*LM, "--explain")
    assert outcome.code == 0
    assert all(law in outcome.out for law in LAWS)


def test_finetuning_says_toward_what_decay_pulls(adamw_scale: Command) -> None:
    """Zero, not the pretrained weights; and the other way round in LoRA."""
    options = ("recommend", "--task", "finetuning", "--tokens", "10M", "--batch-size", "64k", "--lr", "2e-5")
    outcome = adamw_scale(*options, "--explain")
    for text in ("keep what you have", "L2-SP", "Selective Projection Decay", "LoRA"):
        assert text in outcome.out


def test_formula_and_json_agree(adamw_scale: Command) -> None:
    """λ = B / (lr * D * tau), unrounded, tau the one that the derivation says."""
    document = json.loads(adamw_scale(*LM, "--lr", "3e-4", "--json").out)
    tau = 2.0 ** Posterior().predict(TrainingRun.model_validate(document["run"])).log2_tau
    assert document["weight_decay"] == pytest.approx(0.5e6 / (3e-4 * 20e9 * tau), rel=1e-12)
    assert f"tau = {tau:.3g} of the run" in document["companions"]["derivation"]


def test_adamc_asks_for_more_at_the_peak(adamw_scale: Command) -> None:
    """Decay that follows the learning rate has 2/3 of the mass under linear decay, so λ is 3/2 of it."""
    plain, following = (
        json.loads(adamw_scale(*LM, "--lr", "3e-4", "--rule", "power-lines", *more, "--json").out)["weight_decay"]
        for more in ((), ("--weight-decay-schedule", "follows-lr"))
    )
    assert following == pytest.approx(1.5 * plain)


def test_recommend_draws_its_range(adamw_scale: Command) -> None:
    """Asked for, the range and every other rule are on one axis, without colour."""
    options = (*LM, "--lr", "3e-4", "--weight-decay", "0.1")
    assert "●" not in adamw_scale(*options).out
    drawn = adamw_scale(*options, "--explain").out
    rows = [line for line in drawn.splitlines() if "●" in line]
    assert [row.split()[0] for row in rows] == [
        "law",
        "power-lines",
        "steplaw-refit",
        "adana",
        "fixed",
        "yours",
    ]
    assert "├" in rows[0]
    assert rows[4].index("●") == rows[5].index("●")  # both are 0.1
    assert "\x1b" not in drawn
    assert all(len(line) <= 80 for line in drawn.splitlines())


def test_finetuning_draws_a_range_from_zero(adamw_scale: Command) -> None:
    """A range may begin at 0, which no log axis holds."""
    options = ("--task", "finetuning", "--tokens", "10M", "--epochs", "3", "--batch-size", "64k", "--lr", "2e-5")
    assert "◄" in adamw_scale("recommend", *options, "--explain").out


def test_an_unusable_answer_has_status_1(adamw_scale: Command) -> None:
    """It is printed with its reason, and nothing writes it into a config."""
    run = ("--samples", "100", "--batch-size", "10", "--lr", "3e-3", "--epochs", "100", "--width", "64")
    outcome = adamw_scale("recommend", *run)
    assert (outcome.code, outcome.out.splitlines()[0].startswith("weight decay not known")) == (1, True)
    assert adamw_scale("recommend", *run, "--json").code == 1
    written = adamw_scale("emit", "pytorch", *run)
    assert (written.code, written.out, written.err.count("\n")) == (1, "", 1)
