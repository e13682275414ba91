"""Golden snippets, and the contract that every framework keeps."""

import ast
import contextlib
import json
import math
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import EVERY_SCHEDULE
from walking import BASE, RUNS, SUFFIX, advice, read

from adamw_scale import TrainingRun, recommend
from adamw_scale.errors import SpecError, UnknownNameError
from adamw_scale.formats import parse
from adamw_scale.frameworks import FRAMEWORKS
from adamw_scale.frameworks.config import Config
from adamw_scale.frameworks.emission import emit
from adamw_scale.frameworks.recognition import recognized
from adamw_scale.frameworks.translation import translated
from adamw_scale.spec.advice import Recommendation
from adamw_scale.theory.conventions import CONVENTIONS, Setting, to_pytorch
from adamw_scale.theory.parametrizations import GROUPS
from adamw_scale.theory.schedules import SCHEDULES

GOLDEN = Path(__file__).parent / "golden"
GOLDEN_RUNS = ("cosine-to-10-percent", "wsd", "mup", "samples")
# What a reader cannot find in its own snippet: code that a schedule or groups are written as.
UNREADABLE: dict[str, set[str]] = {
    "pytorch": {"schedule", "batch"},
    "composer": {"schedule"},
    **{key: {"schedule", "batch", "length", "groups", "peak"} for key in ("keras", "optax")},
    "paddle": {"schedule", "batch", "length", "peak"},
    "llama-factory": {"batch"},  # no key says the number of devices
}
EMITTED = [name for name, part in FRAMEWORKS.items() if part.emits]
APART = {("optax", "mup")}  # an optimizer for each group, of which a reader asks for one


def assert_same(written: Config, back: Config, unreadable: set[str]) -> None:
    """Two configs say the same, as far as a config of this framework can."""
    assert back.convention == written.convention
    if "peak" not in unreadable or back.peak_lr is not None:
        assert back.peak_lr == pytest.approx(written.peak_lr, rel=1e-7)
    assert back.betas == written.betas
    assert back.eps == written.eps
    if "groups" not in unreadable and "peak_lr" not in back.unknown:
        for one, other in zip(written.groups, back.groups, strict=True):
            assert other.group == one.group
            assert other.weight_decay == pytest.approx(one.weight_decay, rel=1e-6), one.group
            assert other.lr_factor == pytest.approx(one.lr_factor, rel=1e-6), one.group
    if "length" in unreadable:
        pass
    elif back.total_steps is not None:
        assert back.total_steps == pytest.approx(written.total_steps, abs=0.5)
    else:
        assert back.epochs == pytest.approx(written.epochs)
    if "batch" not in unreadable and written.batch_size is not None:
        assert back.global_batch == written.batch_size
    if "schedule" not in unreadable:
        given = back if back.total_steps else back.model_copy(update={"total_steps": written.total_steps})
        assert given.weight_decay_schedule == written.weight_decay_schedule
        for number in range(101):
            expected = written.lr_schedule.multiplier(number / 100)
            assert given.lr_schedule.multiplier(number / 100) == pytest.approx(expected, abs=1e-6), number


@pytest.mark.parametrize("run", GOLDEN_RUNS)
@pytest.mark.parametrize("framework", EMITTED)
def test_golden_snippet(framework: str, run: str) -> None:
    """The exact text: the lines that all frameworks say of a run are golden once, all others by framework.

    To accept a change, delete the file, run the test once and read the diff.
    """
    snippet = emit(framework, advice(run))
    shared = (GOLDEN / f"{run}.txt").read_text().splitlines()
    lines = snippet.text.splitlines(keepends=True)
    assert [line for line in map(uncommented, lines) if line in shared] == shared
    body = "".join(line for line in lines if uncommented(line) not in shared)
    file = GOLDEN / f"{framework}-{run}{SUFFIX[snippet.language]}.txt"
    if not file.exists():
        file.write_text(body)
        pytest.fail(f"{file.name} was missing and has been written: read it, then run again")
    assert body == file.read_text()


def uncommented(line: str) -> str:
    """The sentence in a comment, or in an entry of DeepSpeed's JSON."""
    return line.strip('# ",\n')


@pytest.mark.parametrize("framework", EMITTED)
class TestEveryFramework:
    """The contract in `frameworks/framework.py`."""

    def test_declares_what_it_can_say(self, framework: str) -> None:
        """The decay's unit is one of the known ones, and what is spared by default is said."""
        part = FRAMEWORKS[framework]()
        assert part.name == framework
        assert CONVENTIONS[part.convention].kind != "l2"
        assert part.undecayed <= set(GROUPS)
        assert part.undecayed_by_default
        assert part.proven
        assert set(part.schedules) <= set(SCHEDULES)
        assert part.schedules
        assert part.only_to_zero <= set(part.schedules)
        assert part.grouping == "all" or part.how_to_group
        assert bool(part.reads) == bool(part.signs)

    @pytest.mark.parametrize("run", RUNS)
    def test_snippet_says_what_it_is_worth(self, framework: str, run: str) -> None:
        """Rule, source, and every caution stand beside the numbers."""
        recommendation = advice(run)
        snippet = emit(framework, recommendation)
        assert recommendation.rule in snippet.text
        assert recommendation.companions.source in snippet.text
        for caution in (*recommendation.cautions, *snippet.cautions):
            assert f"Caution ({caution.code})" in snippet.text
            assert caution.fix

    @pytest.mark.parametrize("run", RUNS)
    def test_snippet_is_valid_in_its_language(self, framework: str, run: str) -> None:
        """Python parses, the shell accepts, YAML and JSON load."""
        snippet = emit(framework, advice(run))
        if snippet.language == "python":
            ast.parse(snippet.text)
        elif snippet.language == "json":
            assert json.loads(snippet.text)
        elif snippet.language == "yaml":
            assert yaml.safe_load(snippet.text)
        else:
            bash = shutil.which("bash")
            assert bash
            subprocess.run([bash, "-n"], input=snippet.text, text=True, check=True)

    @pytest.mark.parametrize("run", RUNS)
    def test_what_is_read_back_is_what_was_written(self, framework: str, run: str) -> None:
        """read(emit(x)) is x."""
        part = FRAMEWORKS[framework]()
        recommendation = advice(run)
        text = emit(part.name, recommendation).text
        if not part.reads or (framework, run) in APART:
            with pytest.raises(SpecError, match="code" if not part.reads else "different optimizers"):
                read(part, text)
            return
        assert_same(translated(recommendation, part).config, read(part, text), UNREADABLE.get(framework, set()))

    @pytest.mark.parametrize("run", RUNS)
    def test_its_own_snippet_is_recognised_and_sound(self, framework: str, run: str) -> None:
        """A reader takes its snippet for its own, and finds no error in it."""
        part = FRAMEWORKS[framework]()
        snippet = emit(part.name, advice(run))
        if part.reads:
            assert recognized(parse(snippet.text, SUFFIX[snippet.language])) == framework
            assert recognized(parse(snippet.text)) == framework
            if (framework, run) not in APART:
                findings = read(part, snippet.text).findings
                assert not [finding for finding in findings if finding.severity == "error"]

    @pytest.mark.parametrize("run", RUNS)
    def test_decay_is_written_in_the_frameworks_own_unit(self, framework: str, run: str) -> None:
        """Turned back into PyTorch's unit, the hidden matrices' value has the recommended sum of lr*λ over the run."""
        part, recommendation = FRAMEWORKS[framework](), advice(run)
        config = translated(recommendation, part).config
        hidden = recommendation.param_groups[0]
        schedule = config.lr_schedule
        setting = Setting(
            peak_lr=(config.peak_lr or 0) * config.groups[0].lr_factor,
            mean=schedule.mean(),
            mean_square=schedule.mean_square(),
            mean_with_own=schedule.mean(),
        )
        λ = to_pytorch(part.convention, config.weight_decay, setting, match="mass")
        wanted = hidden.weight_decay * recommendation.run.lr_schedule.mean()
        assert λ * schedule.mean() == pytest.approx(wanted, rel=2e-3)  # steps are rounded
        lr = (config.peak_lr or 0) * config.groups[0].lr_factor
        assert lr == pytest.approx(hidden.peak_lr)  # and so the timescale is the recommended one

    @pytest.mark.parametrize("schedule", SCHEDULES)
    def test_a_schedule_is_written_or_the_nearest_with_a_caution(self, framework: str, schedule: str) -> None:
        """Never another schedule in silence; the sum of lr*λ over the run stays."""
        part = FRAMEWORKS[framework]()
        run = TrainingRun(**BASE, schedule=schedule, **EVERY_SCHEDULE[schedule])
        recommendation = recommend(run)
        config, cautions = translated(recommendation, part)
        if part.has(run.lr_schedule):
            assert config.schedule == schedule
            assert "nearest-schedule" not in [caution.code for caution in cautions]
        else:
            (caution,) = [caution for caution in cautions if caution.code == "nearest-schedule"]
            assert "tau at peak lr" in caution.message  # and what becomes of it
            assert emit(part.name, recommendation).text

    def test_weight_decay_with_a_schedule_is_kept_or_said(self, framework: str) -> None:
        """AdamC is written where the framework has it; elsewhere constant, with the same sum."""
        part = FRAMEWORKS[framework]()
        recommendation = recommend(TrainingRun(**BASE, weight_decay_schedule="follows-lr"))
        config, cautions = translated(recommendation, part)
        if "follows-lr" in part.weight_decay_schedules:
            assert config.weight_decay_schedule == "follows-lr"
        else:
            assert "weight-decay-schedule" in [caution.code for caution in cautions]
            factor = 2 / 3 if part.has(recommendation.run.lr_schedule) else None
            if factor and CONVENTIONS[part.convention].kind == "pytorch":
                assert config.weight_decay == pytest.approx(recommendation.weight_decay * factor, rel=1e-6)

    def test_batch_in_tokens_without_a_sequence_length_is_not_guessed(self, framework: str) -> None:
        """A batch in tokens cannot be written in sequences of unknown length."""
        run = TrainingRun(**{name: each for name, each in BASE.items() if name != "sequence_length"})
        part = FRAMEWORKS[framework]()
        snippet = emit(part.name, recommend(run))
        assert translated(recommend(run), part).config.batch_size is None
        assert "batch-in-tokens" in [caution.code for caution in snippet.cautions]
        if part.reads:
            back = read(part, snippet.text)
            assert back.batch_size is None or "batch_size" in back.defaults  # where the framework has one of its own

    def test_texts_of_a_recommendation_stay_in_comments(self, framework: str) -> None:
        """Whatever a recommendation's texts hold, no line of a snippet but a comment comes from them."""
        recommendation = advice("linear")
        hostile = recommendation.model_copy(
            update={
                "rule": "x\nimport os",
                "companions": recommendation.companions.model_copy(update={"source": "y\r\u2028import sys"}),
            }
        )
        text = emit(framework, hostile).text
        if FRAMEWORKS[framework].language == "json":
            assert json.loads(text)
            return
        lines = text.splitlines()
        assert any("import sys" in line and line.startswith("# ") for line in lines)
        plain = emit(framework, recommendation).text.splitlines()
        assert [line for line in lines if not line.startswith("#")] == [
            line for line in plain if not line.startswith("#")
        ]

    def test_betas_are_written_as_given(self, framework: str) -> None:
        """0.99999999 must not become 1."""
        recommendation = recommend(TrainingRun(**BASE, betas=(0.9, 0.99999999)))
        assert "0.99999999" in emit(framework, recommendation).text

    def test_rubbish_is_refused_plainly(self, framework: str) -> None:
        """A text that is no config is one SpecError."""
        for text in ("", "}{", "learning_rate: [1, 2]", "lr = fast", "--lr x --weight-decay y", "\x1b[0m"):
            with contextlib.suppress(SpecError):  # anything else fails the test
                read(FRAMEWORKS[framework](), text)


def test_unknown_framework() -> None:
    """A typo is answered with the framework that was meant."""
    with pytest.raises(UnknownNameError, match="did you mean 'pytorch'"):
        FRAMEWORKS["pytoch"]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_pytorch_source_of_a_schedule_is_the_schedule(schedule: str) -> None:
    """The lr_multiplier that is written computes what the package computes, at every thousandth of the run."""
    run = TrainingRun(**BASE, schedule=schedule, **EVERY_SCHEDULE[schedule])
    recommendation: Recommendation = recommend(run)
    namespace: dict[str, Any] = {"__name__": "snippet"}
    exec(emit("pytorch", recommendation).text, namespace)
    steps = namespace["TOTAL_STEPS"]
    schedule_written = translated(recommendation, FRAMEWORKS["pytorch"]()).config.lr_schedule
    for step in range(0, steps, steps // 1000):
        expected = schedule_written.multiplier((step + 0.5) / steps)
        assert namespace["lr_multiplier"](step) == pytest.approx(expected, abs=2e-6)
        assert math.isclose(expected, run.lr_schedule.multiplier((step + 0.5) / steps), abs_tol=2e-3)
