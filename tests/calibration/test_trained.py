"""One probe of a command first, and what it really trained: real processes, some of which train with torch."""

import json
import math
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Command

from adamw_scale.calibration import Watcher, calibrate, load_calibration, load_results, probes_of
from adamw_scale.calibration.trained import as_trained, difference, trained_steps
from adamw_scale.errors import ProbeError
from adamw_scale.report import write_report
from adamw_scale.spec.measurement import Optimum, ProbeConfig, ProbeResult, StepsSeen
from adamw_scale.spec.run import TrainingRun

PYTHON = shlex.quote(sys.executable)
DROPPING = Path(__file__).parents[1] / "training" / "scripts" / "dropping.py"
RUN: dict[str, Any] = {"unit": "samples", "dataset_size": 110, "batch_size": 16, "epochs": 20, "peak_lr": 3e-3}
ASSUMED, TRAINED = 137.5, 120


def stored(out: Path) -> list[dict[str, Any]]:
    """The probes in a folder."""
    return [json.loads(line) for line in (out / "probes.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("engine", ["serial", "processes"])
def test_a_command_without_a_result_is_run_once(engine: str, tmp_path: Path) -> None:
    """Not once for each coarse timescale: the error says what was looked for and what was printed."""
    (tmp_path / "mute.py").write_text("for i in range(5): print('validation loss', 3 - i)")
    command = f"{PYTHON} -S {tmp_path}/mute.py {{weight_decay}}"
    heard: list[str] = []
    with pytest.raises(ProbeError) as raised:
        calibrate(
            tmp_path / "out",
            "command",
            task_options={"command": command},
            run=RUN,
            engine=engine,
            jobs=3,
            watcher=Watcher(notice=heard.append),
        )
    assert len(stored(tmp_path / "out")) == len(list((tmp_path / "out" / "logs").glob("*.log"))) == 1
    for part in (
        "the first probe failed, so the other 2 were not started",
        *("val_loss", "eval_loss", "test_loss", "--metric", "{output}"),
        "validation loss 1 | validation loss 0 | validation loss -1",
        "--retry-failed",
        'print(json.dumps({"val_loss": ...}))',
    ):
        assert part in str(raised.value)
    assert "\n" not in str(raised.value)
    assert heard[-1].startswith("one probe first; the other 2 follow")


@pytest.mark.parametrize("engine", ["serial", "processes"])
def test_the_first_probe_is_one_of_the_plan(engine: str, tmp_path: Path) -> None:
    """It is kept, nothing is trained twice, and a calibration that goes on needs no other first one."""
    (tmp_path / "count.sh").write_text(f'echo "$1" >> {tmp_path}/ran; echo "{{\\"val_loss\\": 2}}"\n')
    command = f"sh {tmp_path}/count.sh {{weight_decay}}_{{seed}}"
    stages: list[tuple[int, int]] = []
    asked: dict[str, Any] = {
        "task_options": {"command": command},
        "run": RUN,
        "engine": engine,
        "seeds": 2,
        "watcher": Watcher(stage=lambda configs, done, likely: stages.append((len(configs), done))),
    }
    calibrate(tmp_path / "out", "command", **asked)
    ran = (tmp_path / "ran").read_text().split()
    assert len(ran) == len(set(ran)) == len(stored(tmp_path / "out"))
    assert stages[0] == (1, 0)
    assert stages[1][1] == 1
    assert stages[1][0] >= 2
    shares = [result.config.log2_tau for result in load_results(tmp_path / "out")]
    assert min(shares) < shares[0] < max(shares)  # not where training breaks
    kept = (tmp_path / "out" / "probes.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "out" / "probes.jsonl").write_text(kept[0])
    stages.clear()
    calibrate(tmp_path / "out", "command", **asked)
    assert stages[0][0] > 1
    assert len((tmp_path / "ran").read_text().split()) == 2 * len(ran) - 1


@pytest.mark.parametrize("how", ["text", pytest.param("json", marks=pytest.mark.slow)])
def test_a_dropped_last_batch_is_noticed(how: str, tmp_path: Path, adamw_scale: Command) -> None:
    """One line has both numbers and what they mean; timescales are shares of what was trained, λ is what it was."""
    command = f"{PYTHON} {DROPPING} {{lr}} {{weight_decay}} {{epochs}} {{seed}} {how}"
    flags = ["--samples", "110", "--batch-size", "16", "--epochs", "20", "--lr", "3e-3", "--seeds", "2"]
    outcome = adamw_scale("calibrate", "--out", str(tmp_path), "--command", command, "--budget", "7", *flags)
    assert outcome.code in (0, 1), outcome.err
    (line,) = [each for each in outcome.err.splitlines() if "the command trained" in each]
    assert "120 steps" in line
    assert "138 steps" in line or "137 steps" in line
    assert "37 % of the run as described is 42 % of what was trained" in line
    assert "120 steps, not 138 as described" in outcome.out
    for result in stored(tmp_path):
        assert result["seen"]["least"] == TRAINED
    calibration = load_calibration(tmp_path)
    (optimum,) = calibration.optima
    assert optimum.run.total_steps == pytest.approx(TRAINED)
    assert optimum.probed.total_steps == ASSUMED
    results = probes_of(calibration, optimum, load_results(tmp_path))
    assert len(results) == calibration.probes["count"]
    lambdas = [result.config.run.current_weight_decay for result in results]
    assert min(lambdas) * 0.999 <= optimum.weight_decay <= max(lambdas) * 1.001
    assert "shares are of the 120 steps that were trained" in write_report(tmp_path).read_text()


def test_a_silent_command_is_taken_at_its_word(tmp_path: Path, adamw_scale: Command) -> None:
    """Nothing is said where nothing was counted."""
    command = f"{PYTHON} {DROPPING} {{lr}} {{weight_decay}} {{epochs}} {{seed}} silent"
    flags = ["--samples", "110", "--batch-size", "16", "--epochs", "20", "--lr", "3e-3", "--seeds", "2"]
    outcome = adamw_scale("calibrate", "--out", str(tmp_path), "--command", command, "--budget", "5", *flags)
    assert "trained" not in outcome.err.replace("must train", "")
    assert load_calibration(tmp_path).optima[0].asked is None


def test_a_convention_of_its_own_finds_its_probes(tmp_path: Path) -> None:
    """Probes are in PyTorch's convention, whatever the command's: the report shows them all."""
    (tmp_path / "says.sh").write_text('echo "{\\"val_loss\\": $1}"')
    options = {"command": f"sh {tmp_path}/says.sh {{weight_decay}}", "convention": "optimi-decoupled"}
    calibration = calibrate(tmp_path / "out", "command", task_options=options, run=RUN, engine="serial", seeds=2)
    results = load_results(tmp_path / "out")
    assert len(probes_of(calibration, calibration.optima[0], results)) == len(results)
    assert "λ 0.1" in write_report(tmp_path / "out").read_text()


def result_with(**seen: Any) -> ProbeResult:
    """A probe whose command said so much."""
    run = TrainingRun(**RUN, weight_decay=0.1)
    config = ProbeConfig(task={"name": "command"}, run=run, seed=0)
    fields = {"unit": "steps", "source": "'step'", **seen}
    return ProbeResult(key=config.key, config=config, status="done", loss=1.0, seconds=0, seen=StepsSeen(**fields))


@pytest.mark.parametrize(
    ("seen", "steps", "says"),
    [
        ({"least": 120, "most": 120}, 120, "are given as shares of that"),
        ({"least": 137, "most": 138}, 137, None),
        ({"least": 120, "most": 140}, None, None),  # every 20th was printed
        ({"least": 100, "most": 120}, None, "if they are the optimizer's"),
        ({"least": 550, "most": 550}, None, "if they are the optimizer's"),  # micro-batches, perhaps
        ({"least": 550, "most": 550, "source": "global_step of trainer_state.json"}, 550, "shares of that"),
        ({"least": 200, "most": None}, None, "200 steps"),
        ({"least": 100, "most": None}, None, None),
        ({"least": 17.4, "most": 17.5, "unit": "epochs"}, None, "17.5 epochs"),
        ({"least": 19.9, "most": 20, "unit": "epochs"}, None, None),
    ],
)
def test_only_what_is_certain_is_counted_with(seen: dict[str, Any], steps: float | None, says: str | None) -> None:
    """What may be something else is said, and changes no number; what may agree is not spoken of."""
    result = result_with(**seen)
    assert trained_steps(result) == steps
    line = difference(result)
    assert (line is None) == (says is None)
    assert says is None or says in str(line)


def test_an_optimum_moves_as_a_whole() -> None:
    """Every end is a larger share of a shorter run; the timescale in steps, and λ, stay; disagreement moves nothing."""
    run = TrainingRun(**RUN)
    optimum = Optimum(run=run, timescale_run=0.37, log2_interval=(-2.0, -1.0), log2_band=(-1.8, -1.2), status="located")
    short = result_with(least=118, most=118)
    moved = as_trained(optimum, [short])
    assert moved.timescale_run == pytest.approx(0.37 * ASSUMED / 118)
    assert moved.timescale.iters == pytest.approx(optimum.timescale.iters)
    assert moved.weight_decay == pytest.approx(optimum.weight_decay)
    octaves = math.log2(ASSUMED / 118)
    assert moved.log2_interval == pytest.approx((octaves - 2, octaves - 1))
    assert moved.log2_band == pytest.approx((octaves - 1.8, octaves - 1.2))
    assert as_trained(optimum, [short, result_with(least=90, most=90)]) is optimum
    assert as_trained(optimum, [short, result_with(least=100, most=130)]) is optimum
