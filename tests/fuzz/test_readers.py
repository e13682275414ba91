"""Configs of every framework with something else in them: each is judged, or refused in one line."""

import random
import re
import time
from pathlib import Path

import pytest

from adamw_scale.auditing import audit
from adamw_scale.errors import AdamWScaleError

SECONDS = 20
CONFIGS = sorted(
    file
    for folder in (
        Path(__file__).parents[1] / "auditing" / "configs",
        Path(__file__).parents[1] / "frameworks" / "golden",
    )
    for file in folder.rglob("*")
    if file.suffix in (".json", ".yaml", ".yml", ".toml", ".py", ".sh", ".gin", ".txt")
)
NUMBERS = (
    "0",
    "-1",
    "1e308",
    "1e400",
    "5e-324",
    "1e-310",
    "nan",
    ".inf",
    "9" * 60,
    "1e59",
    "2**63",
    "-0.0",
    "1_0",
    "0x1f",
)
OTHERS = (
    "null",
    "true",
    '""',
    "[]",
    "{}",
    "[1, 2]",
    "None",
    "'a'",
    "\x1b[2J",
    "&a *a",
    "!!python/object:os.system x",
    "λ",
)
NUMBER = re.compile(r"(?<![\w.])-?\d[\d_]*(?:\.\d+)?(?:[eE][-+]?\d+)?(?![\w.])")


def mutated(text: str, chance: random.Random) -> str:
    """A text with another number or word, a line less or twice, or an end that is missing."""
    kind = chance.random()
    found = list(NUMBER.finditer(text))
    if kind < 0.6 and found:
        match = chance.choice(found)
        return text[: match.start()] + chance.choice(NUMBERS if kind < 0.4 else OTHERS) + text[match.end() :]
    lines = text.splitlines(keepends=True)
    i = chance.randrange(len(lines))
    if kind < 0.75:
        return "".join(lines[:i] + lines[i + 1 :])
    if kind < 0.85:
        return "".join(lines[: i + 1] + lines[i:])
    at = chance.randrange(len(text))
    return (
        text[:at]
        if kind < 0.9
        else text[:at] + chance.choice(("\x00", "{", "]", "'", "\t", "\r", "\x85", ":", "#", "\ud7ff")) + text[at + 1 :]
    )


@pytest.mark.parametrize("seed", range(2))
def test_any_config(seed: int) -> None:
    """No key, number or syntax makes a reader fail."""
    chance, deadline, judged = random.Random(seed), time.monotonic() + SECONDS / 2, 0
    texts = [(Path(file.name.removesuffix(".txt")).suffix, file.read_text()) for file in CONFIGS]
    assert len(texts) > 20
    for _ in range(20_000):
        suffix, text = chance.choice(texts)
        for _ in range(chance.choice((1, 1, 2, 4))):
            text = mutated(text, chance) if text.strip() else text
        try:
            found = audit(text, suffix=suffix)
            assert found.to_json()
            judged += 1
        except AdamWScaleError as error:
            if "\n" in str(error):
                raise
        if time.monotonic() > deadline:
            break
    assert judged > 5
