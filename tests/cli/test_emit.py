"""adamw-scale emit: from options, and from the answer of another command."""

import json

import pytest
from conftest import Command, piped

RUN = ["--params", "1.3B", "--tokens", "26B", "--batch-size", "0.5M", "--lr", "3e-4", "--schedule", "linear"]


def test_emit_from_options_and_from_a_pipe(adamw_scale: Command) -> None:
    """`emit NAME options` and `recommend --json | emit NAME` write the same snippet."""
    run = [*RUN, "--sequence-length", "2000", "--rule", "power-lines"]
    direct = adamw_scale("emit", "megatron", *run)
    advice = adamw_scale("recommend", *run, "--json").out
    outcome = piped(advice, "emit", "megatron")
    assert outcome.code == 0
    assert direct.out == outcome.out
    assert "--weight-decay 0.28674043" in direct.out
    assert "caution parametrization" in direct.err


def test_emit_json_is_one_document(adamw_scale: Command) -> None:
    """The snippet, its language and its cautions."""
    document = json.loads(adamw_scale("emit", "pytorch", *RUN, "--json").out)
    assert document["schema"] == "adamw-scale/snippet/1"
    assert document["language"] == "python"
    assert "TOTAL_STEPS = 52000" in document["text"]


@pytest.mark.parametrize("text", ["", "hello", "{}", '{"schema": "adamw-scale/recommendation/2"}', "[" * 100_000])
def test_emit_refuses_what_is_no_recommendation(text: str) -> None:
    """A pipe that does not carry a recommendation ends in one line."""
    outcome = piped(text, "emit", "pytorch")
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert "adamw-scale recommend --json" in outcome.err
