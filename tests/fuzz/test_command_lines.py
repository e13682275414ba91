"""Command lines that nobody would type: each is answered, or refused in one line."""

import random
import time

import pytest
from conftest import Command

from adamw_scale.explain.topics import pages
from adamw_scale.frameworks import FRAMEWORKS
from adamw_scale.rules import RULES
from adamw_scale.spec.run import OPTIMIZERS, UNITS
from adamw_scale.theory.conventions import CONVENTIONS
from adamw_scale.theory.schedules import SCHEDULES

SECONDS = 20
COMMANDS = ("recommend", "ladder", "emit", "audit", "convert", "timescale", "explain", "list", "recipes", "report")
FLAGS = (
    *("--params", "--tokens", "--samples", "--batch-size", "--sequences", "--sequence-length", "--epochs", "--steps"),
    *("--lr", "--weight-decay", "--warmup", "--schedule", "--final-lr-fraction", "--decay-fraction", "--betas"),
    *("--eps", "--width", "--depth", "--base-width", "--base-depth", "--parametrization", "--convention", "--task"),
    *("--optimizer", "--rule", "--calibration", "--reference", "--run", "--weight-decay-schedule", "--milestones"),
    *("--json", "--explain", "--picture", "--no-picture", "--help", "--from", "--to", "--framework", "--devices"),
    *("--schedule-file", "--budget", "--plan", "--emit", "--out", "--plot", "--count", "--format", "--version"),
)
NUMBERS = (
    *("0", "-1", "1", "0.1", "3e-4", "1.3B", "26B", "0.5M", "512x1k", "2%", "100%", "1e308", "1e400", "-1e400"),
    *("5e-324", "1e-310", "nan", "inf", "9" * 70, "1_000", "1e18", "1e59", "0x10", "1,5", "½", "٣", "1/3"),
)
WORDS = (
    "",
    "-",
    "--",
    "none",
    "true",
    "/dev/null",
    "/",
    "\x1b[2J",
    "a\nb",
    "λ",
    "x" * 3000,
    "../..",
    "{lr}",
    "%s",
    "=",
)
SOUND = "--params 1.3B --tokens 26B --batch-size 0.5M --lr 3e-4"


@pytest.mark.parametrize("seed", range(2))
def test_any_words(adamw_scale: Command, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Half of them a sound command with something odd in it."""
    names = [*FRAMEWORKS, *RULES, *OPTIMIZERS, *UNITS, *CONVENTIONS, *SCHEDULES, *(page.topic for page in pages()[:20])]
    chance, deadline = random.Random(seed), time.monotonic() + SECONDS / 2
    for _ in range(4000):
        words = [chance.choice(COMMANDS)]
        words += SOUND.split() if chance.random() < 0.7 else []
        for _ in range(chance.randrange(5)):
            if chance.random() < 0.8:
                words.append(chance.choice(FLAGS))
            if chance.random() < 0.8:
                words.append(chance.choice(chance.choice((NUMBERS, NUMBERS, WORDS, names))))
        if "-" in words or any(word in ("--out", "--plot", "--emit") for word in words):
            continue  # which read stdin, or write files
        outcome = adamw_scale(*words)
        assert outcome.code in (0, 1, 2), words
        if outcome.code == 2:
            assert (outcome.out, outcome.err.count("\n")) == ("", 1), words
        for text in (outcome.out, outcome.err):
            assert text.replace("\n", "").replace("\t", "").isprintable(), words
        if time.monotonic() > deadline:
            break
