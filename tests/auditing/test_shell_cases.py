"""Launch scripts as people write them: the numbers that bash would hand over, or none."""

from pathlib import Path
from typing import Any

import pytest
from conftest import Command

from adamw_scale import audit
from adamw_scale.formats import parse

CASES = Path(__file__).parent / "cases"
BATCH = 8 * 2048  # tokens
# Learning rate, decay of the hidden matrices, tokens of the run, tokens of a batch, schedule and where it ends.
RIGHT: dict[str, tuple[Any, ...]] = {
    "s1-comment-backslash.sh": (2e-5, 1e-4, 1000 * BATCH, BATCH, "constant", None),
    "s3-default-expansion.sh": (3e-4, 0.1, 1000 * BATCH, BATCH, "cosine", 0),
    "s5-arith-braces.sh": (3e-4, 0.1, 3000 * BATCH, BATCH, "cosine", 0),
    "s6-plus-equals.sh": (3e-4, 0.1, 1000 * BATCH, BATCH, "cosine", 0),
    "s8-case.sh": (1e-3, 0.1, 320_000 * 2048, 32 * 2048, "cosine", 0),
    "r1-redirect-in-quotes.sh": (6e-4, 0.1, 1000 * BATCH, BATCH, "cosine", 0),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_script_says_what_bash_would(name: str) -> None:
    """Learning rate, decay, run, batch and schedule."""
    found = audit((CASES / name).read_text(), suffix=".sh")
    run = found.run
    assert found.framework == "megatron"
    assert run is not None
    said = (run.peak_lr, found.groups[0].written, run.dataset_size, run.batch_size, run.schedule, run.final_lr_fraction)
    assert said == RIGHT[name]


def test_defaults_of_a_script_are_known_as_such() -> None:
    """And nothing else is."""
    for name in RIGHT:
        document = parse((CASES / name).read_text(), ".sh")
        expected = {"lr", "weight_decay", "train_iters"} if name.startswith("s3") else set()
        assert (document.overridable, document.lost) == (expected, ())


TWO = CASES / "s10-two-commands.sh"


def test_two_launches_are_listed_and_chosen_from(adamw_scale: Command) -> None:
    """Neither is merged into the other; --command takes one."""
    outcome = adamw_scale("audit", str(TWO))
    assert (outcome.code, outcome.out) == (2, "")
    first = "--command 1 for train.py in line 2 (lr 1e-3, weight decay 0.1, steps 1000, batch 4, accumulation 1)"
    second = "--command 2 for train.py in line 4 (lr 2e-5, weight decay 0.0, steps 200, batch 8, accumulation 2)"
    assert first in outcome.err
    assert second in outcome.err
    asked = adamw_scale("audit", str(TWO), "--command", "2")
    assert asked.code == 0
    assert "8 a device, 2 times" in asked.out
    assert "nothing decays" in asked.out
    one = audit(TWO.read_text(), suffix=".sh", command=1)
    assert (one.groups[0].peak_lr, one.groups[0].written) == (1e-3, 0.1)


@pytest.mark.parametrize("number", ["0", "3", "x", "1.5"])
def test_a_launch_that_is_not_there_is_refused(adamw_scale: Command, number: str) -> None:
    """One line that names the option."""
    outcome = adamw_scale("audit", str(TWO), "--command", number)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert number in outcome.err


def test_only_shell_text_has_launches(adamw_scale: Command, tmp_path: Path) -> None:
    """A config has none to choose from, and neither has a command that is run."""
    file = tmp_path / "train.yaml"
    file.write_text("learning_rate: 1e-3\nper_device_train_batch_size: 8\n")
    for arguments in ((str(file), "--command", "1"), ("--command", "1", "--", "python", "train.py")):
        outcome = adamw_scale("audit", *arguments)
        assert (outcome.code, outcome.err.count("\n")) == (2, 1)
        assert "--command" in outcome.err


def test_a_launch_is_read_by_its_own_words() -> None:
    """TRL's trainer is told by what is run, and a script may run two."""
    text = (
        "trl sft --model_name_or_path m --learning_rate 2e-5 --per_device_train_batch_size 2 --weight_decay 0.1\n"
        "trl dpo --model_name_or_path m --learning_rate 1e-6 --per_device_train_batch_size 2 --weight_decay 0.1\n"
    )
    found = [audit(text, "trl", suffix=".sh", command=number).groups[0].peak_lr for number in (1, 2)]
    assert found == [2e-5, 1e-6]


@pytest.mark.parametrize(
    ("text", "peak"),
    [
        ("LR=$1\ntorchrun pretrain_gpt.py --lr $LR", None),
        ("source ./config.sh\ntorchrun pretrain_gpt.py --lr $LR", None),
        ("LR=1e-3\nsource ./config.sh\ntorchrun pretrain_gpt.py --lr $LR", None),
        ('if [ "$SIZE" = big ]; then LR=1e-4; else LR=1e-3; fi\ntorchrun pretrain_gpt.py --lr $LR', None),
        ("LR=$(cat lr.txt)\ntorchrun pretrain_gpt.py --lr $LR", None),
        ('LR=1e-3\neval "$MORE"\ntorchrun pretrain_gpt.py --lr $LR', None),
        ("LR=<your learning rate>\ntorchrun pretrain_gpt.py --lr $LR", None),
        ("for LR in 1e-3 1e-4; do torchrun pretrain_gpt.py --lr $LR", None),
        ('LR=${1:-3e-4}\ntorchrun pretrain_gpt.py --lr "$LR"', 3e-4),
        ("LR=3e-4\nsource ~/venv/bin/activate\ntorchrun pretrain_gpt.py --lr $LR", 3e-4),
    ],
)
def test_what_is_not_known_is_no_number(text: str, peak: float | None) -> None:
    """What arguments, sourced files, commands and undecided branches set is asked for."""
    rest = " --weight-decay 0.1 --train-iters 1000 --global-batch-size 8 --seq-length 2048 --lr-decay-style cosine"
    text += rest + ("; done\n" if text.startswith("for") else "\n")
    found = audit(text, suffix=".sh")
    assert found.groups[0].peak_lr == peak
    assert any(each.code == "unread-value" for each in found.findings) == (peak is None)
