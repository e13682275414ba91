"""Emitters: golden snippets, and the contract that every framework keeps."""

import ast
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import EVERY_SCHEDULE

from adamw_scale import TrainingRun, recommend
from adamw_scale.conventions import CONVENTIONS
from adamw_scale.errors import SpecError, UnknownNameError
from adamw_scale.frameworks import FRAMEWORKS
from adamw_scale.frameworks.framework import decay
from adamw_scale.schedules import SCHEDULES
from adamw_scale.spec import Recommendation

GOLDEN = Path(__file__).parent / "golden"
BASE: dict[str, Any] = {
    "dataset_size": 26e9,
    "batch_size": 256 * 2048,
    "peak_lr": 3e-4,
    "num_params": 1.3e9,
    "sequence_length": 2048,
}
RUNS: dict[str, dict[str, Any]] = {
    "linear": BASE,
    "cosine-to-10-percent": {**BASE, "schedule": "cosine", "final_lr_fraction": 0.1, "warmup_steps": 2000},
    "wsd": {**BASE, "schedule": "wsd", "warmup_fraction": 0.01},
    "wsd-1-sqrt": {**BASE, "schedule": "wsd-1-sqrt", "warmup_fraction": 0.01},
    "constant": {**BASE, "schedule": "constant", "warmup_fraction": 0.01},
    "linear-to-20-percent": {**BASE, "final_lr_fraction": 0.2},
    "mup": {**BASE, "parametrization": "mup", "width": 2048, "base_width": 256, "schedule": "cosine"},
    "samples": {"unit": "samples", "dataset_size": 1281167, "epochs": 90, "batch_size": 1024, "peak_lr": 1e-3},
}

RARE = {"inverse-sqrt", "exponential", "step", "one-cycle", "cosine-restarts", "table"}
LACKING = {"huggingface": RARE, "megatron": {*RARE, "polynomial"}}


def advice(name: str) -> Recommendation:
    """The recommendation of a named run."""
    return recommend(TrainingRun(**RUNS[name]))


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("framework", list(FRAMEWORKS))
def test_golden_snippet(framework: str, run: str, request: pytest.FixtureRequest) -> None:
    """The exact text; to accept a change, delete the file, run the test once and read the diff."""
    snippet = FRAMEWORKS[framework]().emit(advice(run))
    file = GOLDEN / f"{framework}-{run}.{'py' if snippet.language == 'python' else 'sh'}.txt"
    if not file.exists():
        file.write_text(snippet.text)
        pytest.fail(f"{file.name} was missing and has been written: read it, then run again")
    assert snippet.text == file.read_text()


@pytest.mark.parametrize("framework", list(FRAMEWORKS))
class TestEveryFramework:
    """The contract in `frameworks/framework.py`."""

    def test_names_its_convention_and_exclusions(self, framework: str) -> None:
        """The decay's unit is one of the known ones, and what is spared by default is said."""
        part = FRAMEWORKS[framework]()
        assert part.name == framework
        assert part.convention in CONVENTIONS
        assert part.undecayed_by_default

    @pytest.mark.parametrize("run", RUNS)
    def test_snippet_says_what_it_is_worth(self, framework: str, run: str) -> None:
        """Rule, source, range and every caution stand in comments above the numbers."""
        recommendation = advice(run)
        text = FRAMEWORKS[framework]().emit(recommendation).text
        assert recommendation.rule in text
        assert recommendation.companions.source in text
        for caution in recommendation.cautions:
            assert f"Caution ({caution.code})" in text

    @pytest.mark.parametrize("run", RUNS)
    def test_snippet_is_valid_in_its_language(self, framework: str, run: str) -> None:
        """Python parses; the shell accepts."""
        snippet = FRAMEWORKS[framework]().emit(advice(run))
        if snippet.language == "python":
            ast.parse(snippet.text)
        else:
            bash = shutil.which("bash")
            assert bash
            subprocess.run([bash, "-n"], input=snippet.text, text=True, check=True)

    def test_batch_in_tokens_without_a_sequence_length_is_not_guessed(self, framework: str) -> None:
        """A batch in tokens cannot be written in sequences of unknown length."""
        run = TrainingRun(**{name: value for name, value in BASE.items() if name != "sequence_length"})
        snippet = FRAMEWORKS[framework]().emit(recommend(run))
        assert "GLOBAL_BATCH_SIZE" not in snippet.text
        assert "--global-batch-size" not in snippet.text
        if framework != "pytorch":
            assert [caution.code for caution in snippet.cautions] == ["batch-in-tokens"]


def test_unknown_framework() -> None:
    """A typo is answered with the framework that was meant."""
    with pytest.raises(UnknownNameError, match="did you mean 'pytorch'"):
        FRAMEWORKS["pytoch"]


def test_texts_of_a_recommendation_stay_in_comments() -> None:
    """Whatever a recommendation's texts hold, no line of a snippet but a comment comes from them."""
    recommendation = advice("linear")
    hostile = recommendation.model_copy(
        update={
            "rule": "x\nimport os",
            "companions": recommendation.companions.model_copy(update={"source": "y\r\u2028import sys"}),
        }
    )
    for name in FRAMEWORKS:
        lines = FRAMEWORKS[name]().emit(hostile).text.splitlines()
        assert any("import sys" in line and line.startswith("# ") for line in lines)
        assert "import sys" not in [line for line in lines if not line.startswith("#")]
        assert lines.count("import os") == FRAMEWORKS[name]().emit(recommendation).text.splitlines().count("import os")


def test_betas_are_written_as_given() -> None:
    """0.99999999 must not become 1."""
    recommendation = recommend(TrainingRun(**BASE, betas=(0.9, 0.99999999)))
    for name in FRAMEWORKS:
        assert "0.99999999" in FRAMEWORKS[name]().emit(recommendation).text


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("framework", list(FRAMEWORKS))
def test_a_schedule_a_framework_lacks_is_refused(framework: str, schedule: str) -> None:
    """Written under its own name, or an error; never another schedule. PyTorch has all of them."""
    recommendation = recommend(TrainingRun(**BASE, schedule=schedule, **EVERY_SCHEDULE[schedule]))
    if schedule in LACKING.get(framework, ()):
        with pytest.raises(SpecError, match=f"has no schedule '{schedule}'"):
            FRAMEWORKS[framework]().emit(recommendation)
    else:
        assert FRAMEWORKS[framework]().emit(recommendation).text


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_pytorch_source_of_a_schedule_is_the_schedule(schedule: str) -> None:
    """The lr_multiplier that is written computes what the package computes, at every thousandth of the run."""
    run = TrainingRun(**BASE, schedule=schedule, **EVERY_SCHEDULE[schedule])
    namespace: dict[str, Any] = {"__name__": "snippet"}
    exec(FRAMEWORKS["pytorch"]().emit(recommend(run)).text, namespace)
    steps = namespace["TOTAL_STEPS"]
    for step in range(0, steps, steps // 1000):
        expected = run.lr_schedule.multiplier((step + 0.5) / steps)
        assert namespace["lr_multiplier"](step) == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("framework", list(FRAMEWORKS))
def test_weight_decay_with_a_schedule_is_refused(framework: str) -> None:
    """No snippet writes a weight decay that moves, so none pretends to."""
    recommendation = recommend(TrainingRun(**BASE, weight_decay_schedule="follows-lr"))
    with pytest.raises(SpecError, match="cannot write weight_decay_schedule"):
        FRAMEWORKS[framework]().emit(recommendation)


@pytest.mark.parametrize("framework", list(FRAMEWORKS))
def test_decay_is_written_in_the_frameworks_convention(framework: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same emitter for a library with independent decay writes lr * λ."""
    recommendation = advice("linear")
    part = FRAMEWORKS[framework]
    monkeypatch.setattr(part, "convention", "independent")
    assert decay(recommendation.param_groups[0], part()) == f"{3e-4 * recommendation.weight_decay:.8g}"
