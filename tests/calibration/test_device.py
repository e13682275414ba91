"""--device auto: a GPU where there is one; what is stored names the device that it was, and never "auto"."""

import json
from pathlib import Path

import pytest
import torch
from conftest import Command

from adamw_scale.calibration import plan
from adamw_scale.errors import SpecError
from adamw_scale.spec.measurement import ProbeConfig
from adamw_scale.training import machine

MLP = ["--task", "byte-mlp", "--tokens", "8k", "--epochs", "4", "--seeds", "2", "--jobs", "1", "--budget", "8"]
OWN = ["--samples", "50k", "--batch-size", "128", "--epochs", "4", "--lr", "1e-3"]


@pytest.fixture
def _without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def _with_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as planning goes."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H200")


@pytest.mark.usefixtures("_without_gpu")
def test_without_a_gpu_it_is_the_cpu(tmp_path: Path, adamw_scale: Command) -> None:
    """Said in the first line; probes of --device cpu are these, and are not trained again."""
    adamw_scale("calibrate", "--out", str(tmp_path), *MLP, "--device", "cpu")
    before = (tmp_path / "probes.jsonl").read_text()
    outcome = adamw_scale("calibrate", "--out", str(tmp_path), *MLP)
    assert outcome.err.startswith("device: cpu, since torch finds no GPU here (--device cuda")
    assert (tmp_path / "probes.jsonl").read_text() == before
    assert "auto" not in before + (tmp_path / "calibration.json").read_text()
    named = adamw_scale("calibrate", "--out", str(tmp_path), *MLP, "--device", "cpu")
    assert "device:" not in named.err


@pytest.mark.usefixtures("_with_gpu")
def test_with_a_gpu_it_is_the_gpu(tmp_path: Path, adamw_scale: Command) -> None:
    """In plans of either command; their keys are those of --device cuda."""
    outcome = adamw_scale("calibrate", "--plan", "--json", *MLP)
    assert outcome.err == "device: cuda, NVIDIA H200 (--device cpu for the CPU)\n"
    assert json.loads(outcome.out)["device"] == "cuda"
    auto, cuda = (plan("byte-mlp", device=name).sweeps[0].config(0, -2.0) for name in ("auto", "cuda"))
    assert auto.key == cuda.key
    stage = adamw_scale("probe", "plan", "--out", str(tmp_path), *MLP, "--json")
    assert stage.err.startswith("device: cuda, NVIDIA H200")
    assert "--gpus=1" in json.loads(stage.out)["sbatch"]
    assert '"auto"' not in (tmp_path / "plan.json").read_text()


@pytest.mark.usefixtures("_with_gpu")
def test_a_command_is_not_moved(adamw_scale: Command) -> None:
    """Where it computes is its own affair: its probes have the keys that they had before there was an auto."""
    outcome = adamw_scale("calibrate", "--plan", "--json", *OWN, "--", "true", "{weight_decay}")
    assert (outcome.err, json.loads(outcome.out)["device"]) == ("", "cpu")


def test_stores_of_before_still_match() -> None:
    """Keys as the version before --template, --metric-pattern and auto gave them."""
    run = {"unit": "samples", "dataset_size": 50_000, "batch_size": 128, "epochs": 4, "peak_lr": 1e-3}
    own = {"command": "true {weight_decay} {lr}", "metric": "acc"}
    sweep = plan("command", task_options=own, run=run, device="auto").sweeps[0]
    assert sweep.config(0, -2.0).key == "8b4905c1025b7d21"


def test_no_probe_is_of_auto() -> None:
    """A configuration refuses it, whoever makes one."""
    config = plan("byte-mlp").sweeps[0].config(0, -2.0)
    with pytest.raises(SpecError, match="device = auto"):
        ProbeConfig.model_validate({**config.model_dump(), "device": "auto"})


def test_a_machine_without_torch_has_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The question needs no torch."""
    monkeypatch.setattr(machine, "find_spec", lambda name: None)
    assert machine.best_device() == "cpu"
