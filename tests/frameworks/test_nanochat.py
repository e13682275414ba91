"""nanochat's arguments in the formulas of its base_train.py, which is a script and cannot be installed."""

import math
import re
import shlex

import pytest
from walking import STEPS, config_of, read, short

from adamw_scale.errors import SpecError
from adamw_scale.frameworks import FRAMEWORKS
from adamw_scale.frameworks.emission import emit

RUNS = ("linear", "wsd", "constant", "linear-to-20-percent")


def arguments_of(text: str) -> dict[str, float]:
    """Flags of the emitted bash array."""
    inside = re.search(r"NANOCHAT_ARGS=\(\n(.*)\n\)", text, re.DOTALL)
    assert inside
    words = shlex.split(inside[1])
    return {flag.removeprefix("--"): float(number) for flag, number in zip(words[::2], words[1::2], strict=True)}


def multiplier(it: int, given: dict[str, float]) -> float:
    """get_lr_multiplier of base_train.py, as its source defines it."""
    steps, warmup = given["num-iterations"], given["warmup-steps"]
    down = round(given["warmdown-ratio"] * steps)
    if it < warmup:
        return (it + 1) / warmup
    if it <= steps - down:
        return 1.0
    left = (steps - it) / down
    return left + (1 - left) * given["final-lr-frac"]


def scale(given: dict[str, float]) -> float:
    """What base_train.py multiplies lr and weight decay with; beside it D_REF / target_tokens, 1 at 12 layers."""
    return math.sqrt(given["total-batch-size"] / 2**19)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("batch", [1, 4])
def test_every_step_is_as_recommended(run: str, batch: int) -> None:
    """The warm-up is taken at the end of a step, everything after it at the start."""
    tokens = batch * 256 * 2048
    recommendation = short(run, batch_size=tokens, dataset_size=STEPS * tokens)
    given, config = arguments_of(emit("nanochat", recommendation).text), config_of(recommendation, "nanochat")
    assert given["total-batch-size"] == tokens
    assert given["num-iterations"] == STEPS
    for step in range(STEPS):
        lr = given["matrix-lr"] * scale(given) * multiplier(step, given)
        progress = (step + 1) / STEPS if step < 40 else step / STEPS
        assert lr == pytest.approx((config.peak_lr or 0) * config.lr_schedule.multiplier(progress), rel=1e-6)


@pytest.mark.parametrize("shape", ["constant", "cosine"])
@pytest.mark.parametrize("run", RUNS)
def test_the_run_has_the_recommended_sum(run: str, shape: str) -> None:
    """Decay that falls as a cosine and acts on half of the weights adds up to the recommended lr*λ."""
    recommendation = short(run, weight_decay_schedule=shape)
    given = arguments_of(emit("nanochat", recommendation).text)
    total = 0.0
    for step in range(STEPS):
        lr = given["matrix-lr"] * scale(given) * multiplier(step, given)
        total += 0.5 * lr * given["weight-decay"] * scale(given) * 0.5 * (1 + math.cos(math.pi * step / STEPS))
    mass = recommendation.run.decay_schedule.mean() * STEPS
    assert total == pytest.approx(recommendation.peak_lr * recommendation.weight_decay * mass, rel=0.01)


def test_it_is_said_that_these_are_not_adamws() -> None:
    """On top of the snippet, with what becomes of the AdamW groups."""
    snippet = emit("nanochat", short("linear"))
    assert snippet.text.startswith("# Caution (muon): no flag of nanochat sets AdamW's weight decay")
    assert {"muon", "embeddings-undecayed"} <= {caution.code for caution in snippet.cautions}


def test_mup_gives_the_matrices_their_own_lr() -> None:
    """Only hidden matrices are reached, so their lr and decay are what is written."""
    recommendation = short("mup", schedule="linear")
    snippet = emit("nanochat", recommendation)
    hidden = recommendation.param_groups[0]
    assert arguments_of(snippet.text)["matrix-lr"] == pytest.approx(hidden.peak_lr)
    assert "one-weight-decay" not in [caution.code for caution in snippet.cautions]


@pytest.mark.parametrize("run", ["cosine-to-10-percent", "wsd-1-sqrt"])
def test_other_schedules_become_the_nearest(run: str) -> None:
    """Only straight falls are there."""
    snippet = emit("nanochat", short(run))
    assert "nearest-schedule" in [caution.code for caution in snippet.cautions]


def test_its_arguments_are_not_read() -> None:
    """They say nothing of AdamW."""
    with pytest.raises(SpecError, match="Muon"):
        read(FRAMEWORKS["nanochat"](), "--matrix-lr 0.02 --weight-decay 0.28")
