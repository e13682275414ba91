"""Whole calibrations from the command line, of trainings that are the user's own."""

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from command_bench import BASIN, NANOGPT, TRAINER
from conftest import Command

TEXT = ["--tokens", "8192", "--batch-size", "256", "--lr", "2e-3", "--warmup", "10%", "--seeds", "2", "--jobs", "2"]


def calibrated(adamw_scale: Command, out: Path, *options: str) -> dict[str, Any]:
    """The calibration that a command line gives, as JSON; located or not."""
    outcome = adamw_scale("calibrate", "--out", str(out), "--json", *options)
    assert outcome.code in (0, 1), outcome.err
    document: dict[str, Any] = json.loads(outcome.out)
    stored = [json.loads(line) for line in (out / "probes.jsonl").read_text().splitlines()]
    assert {result["status"] for result in stored} == {"done"}
    assert len(list((out / "logs").glob("*.log"))) == len(stored) == document["probes"]["count"]
    return document


def test_a_command_in_any_language(tmp_path: Path, adamw_scale: Command) -> None:
    """A shell script with a planted optimum: located, advised, in the unit that the script takes."""
    run = ["--samples", "50k", "--batch-size", "128", "--epochs", "4", "--lr", "1e-3"]
    document = calibrated(adamw_scale, tmp_path / "plain", "--command", BASIN, *run)
    (optimum,) = document["optima"]
    assert optimum["status"] == "located"
    low, high = optimum["log2_interval"]
    assert low < -2.4 < high
    advice = adamw_scale("recommend", "--calibration", str(tmp_path / "plain"), "--json")
    assert json.loads(advice.out)["timescale"]["run"] == pytest.approx(optimum["timescale_run"], rel=0.05)
    current = ["--weight-decay", "0.1", "--sequence-length", "1"]  # of the same run: it need not be said again
    same = adamw_scale("recommend", "--calibration", str(tmp_path / "plain"), *current, "--json")
    assert json.loads(same.out)["weight_decay"] == json.loads(advice.out)["weight_decay"]
    assert json.loads(same.out)["companions"]["current"]["weight_decay"] == 0.1
    other = adamw_scale("recommend", "--calibration", str(tmp_path / "plain"), "--samples", "1M", "--json")
    assert (json.loads(other.out)["run"]["dataset_size"], json.loads(other.out)["run"]["batch_size"]) == (1e6, 128)

    document = calibrated(
        adamw_scale, tmp_path / "independent", "--command", BASIN, *run, "--convention", "optimi-decoupled"
    )
    (shifted,) = document["optima"]  # lr·λ is read as λ: the script's timescale is 1 / lr times as long
    assert shifted["status"] in ("located", "edge")
    assert shifted["timescale_run"] < optimum["timescale_run"] / 10


@pytest.mark.slow
def test_a_nanogpt_style_script(tmp_path: Path, adamw_scale: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """nanoGPT's own flags: too little decay and too much both cost, and the lowest loss lies between."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    document = calibrated(
        adamw_scale, tmp_path, "--command", NANOGPT, *TEXT, "--epochs", "12", "--schedule", "cosine", "--params", "34k"
    )
    (optimum,) = document["optima"]
    assert optimum["loss"] < 4.5
    losses = {r["config"]["run"]["weight_decay"]: r["loss"] for r in _stored(tmp_path) if r["config"]["seed"] == 0}
    best = min(losses, key=lambda decay: losses[decay])
    assert best < max(losses)
    assert losses[best] < losses[max(losses)] - 0.05


@pytest.mark.slow
def test_a_hugging_face_trainer(tmp_path: Path, adamw_scale: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script around Trainer, whose evaluate() is printed: each probe is measured, the folder a calibration."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    document = calibrated(
        adamw_scale, tmp_path, "--command", TRAINER, *TEXT, "--epochs", "2", "--betas", "0.9,0.999", "--params", "34k"
    )
    assert document["optima"][0]["loss"] < 5.545  # log 256: it learnt
    assert "eval_runtime" in _stored(tmp_path)[0]["metrics"]


def _stored(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "probes.jsonl").read_text().splitlines()]


def test_a_command_behind_two_dashes(tmp_path: Path, adamw_scale: Command) -> None:
    """The same probes as of --command, of whatever words, options that look like ours and further dashes too."""
    script = tmp_path / "has spaces.py"
    words = ["python", str(script), "{weight_decay}", "{lr}", "--out", "a b", "--", "it's", ""]
    script.write_text(f"import sys; assert sys.argv[3:] == {words[4:]!r}\nprint('{{\"val_loss\": 2}}')")
    run = ["--samples", "50k", "--batch-size", "128", "--epochs", "4", "--lr", "1e-3", "--json"]
    behind = adamw_scale("calibrate", "--plan", *run, "--", *words)
    quoted = adamw_scale("calibrate", "--plan", *run, "--command", shlex.join(words))
    assert (behind.code, behind.out) == (0, quoted.out)
    assert adamw_scale("probe", "plan", "--out", str(tmp_path / "out"), *run, "--", *words).code == 0
    trained = adamw_scale("probe", "run", "--plan", str(tmp_path / "out" / "plan.json"), "--index", "0")
    assert trained.code == 0, trained.err


def test_runs_that_people_already_have(tmp_path: Path, adamw_scale: Command) -> None:
    """A CSV of finished trainings is imported and fitted; the same optimum as of the sweep it came from."""
    run = ["--samples", "50k", "--batch-size", "128", "--epochs", "4", "--lr", "1e-3"]
    document = calibrated(adamw_scale, tmp_path / "probed", "--command", BASIN, *run)
    assert (
        adamw_scale("probe", "export", "--out", str(tmp_path / "probed"), "--csv", str(tmp_path / "runs.csv")).code == 0
    )
    outcome = adamw_scale("probe", "import", str(tmp_path / "runs.csv"), "--out", str(tmp_path / "own"), *run)
    assert outcome.code == 0, outcome.err
    fitted = adamw_scale("calibrate", "--fit-only", "--out", str(tmp_path / "own"), "--json")
    assert fitted.code == 0, fitted.err
    (optimum,), (probed,) = json.loads(fitted.out)["optima"], document["optima"]
    assert optimum["timescale_run"] == pytest.approx(probed["timescale_run"], rel=0.2)
    assert adamw_scale("recommend", "--calibration", str(tmp_path / "own"), "--json").code == 0


def test_nothing_to_fit(tmp_path: Path, adamw_scale: Command) -> None:
    """An empty folder, or too few timescales, are one line each."""
    assert "no probes.jsonl" in adamw_scale("calibrate", "--fit-only", "--out", str(tmp_path)).err
    (tmp_path / "runs.csv").write_text("lr,weight_decay,loss\n1e-3,0.1,2.0\n1e-3,0.2,1.9\n")
    run = ["--samples", "50k", "--batch-size", "128", "--epochs", "4"]
    assert adamw_scale("probe", "import", str(tmp_path / "runs.csv"), "--out", str(tmp_path), *run).code == 0
    outcome = adamw_scale("calibrate", "--fit-only", "--out", str(tmp_path))
    assert outcome.code == 2
    assert "a fit needs 4" in outcome.err


def test_every_run_diverged(tmp_path: Path, adamw_scale: Command) -> None:
    """Where no weight decay gives a loss, that is said, with what to change, and no flatness is claimed."""
    (tmp_path / "says.sh").write_text("echo '{\"loss\": NaN}'")
    run = ["--samples", "50k", "--batch-size", "128", "--lr", "2"]
    says = ["--command", f"sh {tmp_path}/says.sh {{weight_decay}}", *run]
    outcome = adamw_scale("calibrate", "--out", str(tmp_path), *says, "--epochs", "4")
    assert outcome.code == 1
    assert "every probe diverged, at any weight decay, at lr 2\n" in outcome.err
    assert "what to do: lower --lr" in outcome.err
    assert "flat" not in outcome.err
    fitted = adamw_scale("calibrate", "--fit-only", "--out", str(tmp_path))
    assert (fitted.code, "every probe diverged" in fitted.err) == (1, True)


def test_a_loss_that_never_changes_is_flat(tmp_path: Path, adamw_scale: Command) -> None:
    """A constant has its lowest value everywhere, not at the edge."""
    (tmp_path / "says.sh").write_text("echo '{\"loss\": 1}'")
    run = ["--samples", "50k", "--batch-size", "128", "--lr", "1e-3"]
    says = ["--command", f"sh {tmp_path}/says.sh {{weight_decay}}", *run]
    outcome = adamw_scale("calibrate", "--out", str(tmp_path), *says, "--epochs", "4", "--seeds", "2", "--json")
    assert (outcome.code, json.loads(outcome.out)["optima"][0]["status"]) == (1, "flat")


def test_failed_probes_are_counted_and_left_out(tmp_path: Path, adamw_scale: Command) -> None:
    """Some probes of a script fail: the verdict says how many and what to do; --fit-only says the same."""
    script = tmp_path / "flaky.sh"
    script.write_text('if [ "$1" = 1 ]; then exit 3; fi; shift; exec "$@"\n')
    run = ["--samples", "50k", "--batch-size", "128", "--epochs", "4", "--lr", "1e-3"]
    outcome = adamw_scale(
        "calibrate", "--out", str(tmp_path / "out"), "--command", f"sh {script} {{seed}} {BASIN}", *run
    )
    assert "5 probes failed" in outcome.err
    assert "--retry-failed" in outcome.err
    document = json.loads((tmp_path / "out" / "calibration.json").read_text())
    assert document["probes"]["failed"] == 5
    fitted = adamw_scale("calibrate", "--fit-only", "--out", str(tmp_path / "out"), "--json")
    assert json.loads(fitted.out)["probes"]["failed"] == 5


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--command", "sh x.sh {weight_decay} {what}"], "placeholder"),
        (["--command", "no-such-program {weight_decay}"], "no-such-program"),
        (["--command", "sh 'x {weight_decay}"], "quot"),
        (["--command", "sh {weight_decay}", "--task", "mlp"], "two different trainings"),
        (["--engine", "cloud"], "engine"),
        (["--engine-option", "partition=gpu"], "engine processes has no option 'partition'"),
        (["--engine-option", "partition"], "NAME=VALUE"),
        (["--track", "excel"], "tracker"),
        (["--precision", "int8"], "precision"),
        (["--task", "mlp", "--task-option", "speed=3"], "no option 'speed'"),
        (["--task-option", "batch=3", "--task-option", "batch=4"], "batch=... was given twice, as '3' and '4'"),
        (["--command", BASIN, "--timeout", "3", "--task-option", "timeout=4"], "--timeout and --task-option timeout"),
        (["--command", BASIN, "--convention", "pytorch", "--task-option", "convention=l2"], "same thing twice"),
        (["foo"], "unexpected argument 'foo': for your own command, write it behind --"),
        (["foo", "--", "true", "{weight_decay}"], "unexpected argument 'foo'"),
        (["--"], "nothing follows --"),
        (["--command", BASIN, "--", "true", "{weight_decay}"], "pass one of them"),
        (["--task", "mlp", "--", "true", "{weight_decay}"], "two different trainings"),
        (["--metric-pattern", "val (.*)"], "--metric-pattern is read with --command only"),
        (["--command", BASIN, "--metric-pattern", "val .*"], "has 0 groups"),
        (["--template", "c.yaml"], "--template is read with --command only"),
        (["--command", BASIN, "--template", "no-such.yaml"], "--template no-such.yaml: No such file"),
        (["--plan", "--fit-only"], "drop one of them"),
        (["--plan", "--engine", "cloud"], "engine"),
        (["--plan", "--track", "excel"], "tracker"),
        (["--out", ""], "--out '' names no folder"),
        (["--fit-only", "--out", ""], "--out '' names no folder"),
        (["--command", "sh \udcff {weight_decay}"], "is no text in this locale"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_is_one_line(tmp_path: Path, adamw_scale: Command, options: list[str], says: str) -> None:
    """Exit 2, one line on stderr, and nothing trained."""
    run = ["--samples", "50k", "--batch-size", "128", "--lr", "1e-3"] if "--command" in options else []
    outcome = adamw_scale("calibrate", "--out", str(tmp_path / "out"), *run, *options)
    assert outcome.code == 2
    assert says in outcome.err
    assert len(outcome.err.strip().splitlines()) <= 2
    assert not (tmp_path / "out" / "probes.jsonl").exists() or not (tmp_path / "out" / "probes.jsonl").read_text()


@pytest.mark.slow
def test_a_script_without_flags_has_the_optimum_of_one_with_them(tmp_path: Path, adamw_scale: Command) -> None:
    """The example script, told its weight decay and seed, and left as it is: one optimum, of the same bits."""
    script = [sys.executable, str(Path(__file__).parents[2] / "examples" / "own_script.py")]
    flags = ["--lr", "{lr}", "--weight-decay", "{weight_decay}", "--max-steps", "{steps}", "--seed", "{seed}"]
    run = ["--samples", "4096", "--batch-size", "64", "--epochs", "16", "--lr", "2e-3", "--schedule", "linear"]
    found = []
    for name, more, own in (("flags", [], flags), ("none", ["--reseed"], [])):
        out = ["--out", str(tmp_path / name), "--seeds", "2"]
        outcome = adamw_scale("calibrate", *out, *run, *more, "--", *script, *own)
        assert outcome.code == 0, outcome.err
        calibration = json.loads((tmp_path / name / "calibration.json").read_text())
        (optimum,) = calibration["optima"]
        assert optimum["status"] == "located"
        lines = [json.loads(line) for line in (tmp_path / name / "probes.jsonl").read_text().splitlines()]
        probes = [(each["config"]["run"]["weight_decay"], each["loss"]) for each in lines if "loss" in each]
        found.append((optimum["timescale_run"], optimum["log2_interval"], probes))
    assert found[0] == found[1]
