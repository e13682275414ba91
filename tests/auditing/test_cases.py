"""Small inputs of kinds that were once read wrongly, and what is right of each; see cases/."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest import Command

CASES = Path(__file__).parent / "cases"
MAY_CHANGE, READ, DEFAULT, COMPUTED, UNKNOWN = "overridable", "read", "default", "computed", "unknown"


class Right(NamedTuple):
    """What an audit must say of a file: the framework, values with their origin, the decay of groups, findings."""

    framework: str
    values: dict[str, tuple[Any, str]]
    decays: dict[str, float | None]
    findings: tuple[str, ...] = ()
    convention: str = "pytorch"
    not_findings: tuple[str, ...] = ()


EVERYTHING = ("hidden", "embedding", "output", "norm-and-bias")


def everywhere(weight_decay: float | None) -> dict[str, float | None]:
    """The same decay of all groups."""
    return dict.fromkeys(EVERYTHING, weight_decay)


RIGHT = {
    "p1-hf-adamw.py": Right(
        "pytorch",
        {
            "peak_lr": (2e-5, READ),
            "weight_decay": (0.0, DEFAULT),
            "schedule": ("linear", READ),
            "warmup_steps": (0.0, READ),
        },
        everywhere(0.0),
        ("no-decay-by-default",),
    ),
    "p2-tfa.py": Right(
        "keras",
        {
            "peak_lr": (1e-3, READ),
            "weight_decay": (1e-4, READ),
            "batch_size": (256.0, READ),
            "epochs": (100.0, READ),
        },
        everywhere(1e-4),
        convention="tfa",
    ),
    "p5-argparse.py": Right(
        "pytorch",
        {
            "peak_lr": (1e-3, MAY_CHANGE),
            "weight_decay": (0.05, MAY_CHANGE),
            "epochs": (100.0, MAY_CHANGE),
            "batch_size": (128.0, MAY_CHANGE),
            "schedule": ("cosine", READ),
        },
        everywhere(0.05),
        ("script-defaults", "decay-on-norms"),
    ),
    "p6-dataclass.py": Right(
        "pytorch",
        {"peak_lr": (3e-4, MAY_CHANGE), "weight_decay": (0.1, MAY_CHANGE), "betas": ([0.9, 0.95], READ)},
        everywhere(0.1),
        ("script-defaults",),
    ),
    "p9-paddle.py": Right(
        "paddle",
        {
            "peak_lr": (5e-5, READ),
            "weight_decay": (0.01, READ),
            "schedule": ("linear", READ),
            "warmup_fraction": (0.1, READ),
        },
        {"hidden": 0.01, "norm-and-bias": None},
        convention="paddle",
        not_findings=("decay-on-norms",),
    ),
    "p11-nogroup-key.py": Right(
        "pytorch",
        {"peak_lr": (5e-5, READ), "weight_decay": (0.01, READ)},
        everywhere(0.01),
        ("decay-on-norms", "group-by-default"),
    ),
    "p16-seq2seq.py": Right(
        "huggingface",
        {
            "peak_lr": (2e-5, READ),
            "weight_decay": (0.01, READ),
            "epochs": (1.0, READ),
            "per_device_batch_size": (16.0, READ),
            "schedule": ("linear", DEFAULT),
        },
        {"hidden": 0.01, "embedding": 0.01, "output": 0.01, "norm-and-bias": 0.0},
    ),
    "p17-hf-optimizers.py": Right(
        "huggingface",
        {
            "peak_lr": (1e-4, READ),
            "weight_decay": (0.01, DEFAULT),
            "total_steps": (1000.0, READ),
            "per_device_batch_size": (16.0, READ),
        },
        everywhere(0.01),
        ("decay-overridden", "lr-overridden"),
    ),
    "r2-sniff.py": Right(
        "olmo-core",
        {
            "peak_lr": (3e-4, READ),
            "weight_decay": (0.1, READ),
            "schedule": ("cosine", READ),
            "warmup_steps": (2000.0, READ),
        },
        everywhere(0.1),
        convention="olmo-core",
    ),
    "r3-packed0.yaml": Right(
        "nemo-automodel",
        {
            "peak_lr": (1e-5, READ),
            "weight_decay": (0.1, READ),
            "batch_size": (64.0, READ),
            "total_steps": (100.0, READ),
        },
        everywhere(0.1),
    ),
    "r4-nanogpt-weak.py": Right(
        "megatron-bridge",
        {
            "peak_lr": (None, UNKNOWN),
            "weight_decay": (None, UNKNOWN),
            "schedule": (None, UNKNOWN),
            "batch_size": (8.0, READ),
            "per_device_batch_size": (1.0, READ),
        },
        {"hidden": None, "embedding": None, "output": None},
        convention="megatron",
    ),
    "r6-task-lora.yaml": Right(
        "llama-factory",
        {
            "peak_lr": (1e-4, READ),
            "weight_decay": (0.01, READ),
            "per_device_batch_size": (1.0, READ),
            "accumulation": (8.0, READ),
            "epochs": (3.0, READ),
            "sequence_length": (2048.0, READ),
        },
        {"hidden": 0.01},
    ),
}


def audited(adamw_scale: Command, file: Path) -> dict[str, Any]:
    """The audit of a file, as JSON."""
    outcome = adamw_scale("audit", str(file), "--json")
    assert outcome.err == ""
    document: dict[str, Any] = json.loads(outcome.out)
    return document


@pytest.mark.parametrize("name", RIGHT)
def test_a_case_comes_out_right(adamw_scale: Command, name: str) -> None:
    """Framework, convention, values and where they come from, what decays, what is found."""
    right, document = RIGHT[name], audited(adamw_scale, CASES / name)
    assert (document["framework"], document["convention"]) == (right.framework, right.convention)
    values = {each["field"]: (each.get("value"), each["origin"]) for each in document["values"]}
    assert {field: values.get(field) for field in right.values} == right.values
    decays = {group["group"]: group.get("written") for group in document["groups"]}
    assert {group: decays[group] for group in right.decays} == right.decays
    if name == "r6-task-lora.yaml":
        assert list(decays) == ["hidden"]
    codes = {finding["code"] for finding in document["findings"]}
    assert set(right.findings) <= codes
    assert not set(right.not_findings) & codes


def test_unscaled_decay_is_told_in_the_usual_unit(adamw_scale: Command) -> None:
    """TensorFlow Addons takes 1e-4 off each step, which is λ 0.1 at lr 1e-3."""
    document = audited(adamw_scale, CASES / "p2-tfa.py")
    assert document["groups"][0]["weight_decay"] == pytest.approx(0.1)


@pytest.mark.parametrize("name", RIGHT)
def test_nothing_is_asserted_of_what_is_not_known(adamw_scale: Command, name: str) -> None:
    """The headline says so, and 'by default' stands nowhere in text whose base is elsewhere."""
    text = adamw_scale("audit", str(CASES / name)).out
    assert max(map(len, text.splitlines())) <= 80
    if any(origin == UNKNOWN for _, origin in RIGHT[name].values.values()):
        assert text.startswith("not readable: ")
        assert "default" not in text
    if "p9" in name:
        assert text.startswith("not readable: ")
