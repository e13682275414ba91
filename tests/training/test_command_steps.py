"""How many steps a command says that it trained: what is understood, and what says nothing."""

import json
from pathlib import Path

import pytest
from command_bench import Bench

from adamw_scale.spec.measurement import ProbeResult
from adamw_scale.training.commands.steps import Steps

Range = tuple[str, float, float | None] | None


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A command in an empty folder."""
    return Bench(tmp_path)


def heard(*lines: str) -> Range:
    """What these lines of text tell."""
    steps = Steps()
    for line in lines:
        steps.text(line.encode())
    seen = steps.seen()
    return None if seen is None else (seen.unit, seen.least, seen.most)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["step 100/300", "step 200/300", "step 300/300"], ("steps", 300, 300)),
        (["Step [100/1,300] loss 3", "Step [1,300/1,300] loss 2"], ("steps", 1300, 1300)),
        (["step 99 of 300", "step 299 of 300"], ("steps", 300, 300)),
        (["step 100/300", "step 200/300"], ("steps", 200, 300)),
        (["iter 0: loss 4", "iter 10: loss 3", "iter 20: loss 2"], ("steps", 20, 30)),
        (["step 0: train loss 4", "step 100: train loss 3", "step 130: train loss 2"], ("steps", 130, 131)),
        (["Global step 1: x", "Global step 2: x"], ("steps", 2, 3)),
        (["step: 300"], ("steps", 300, None)),
        (["{'loss': 3.1, 'epoch': 1.0}", "{'loss': '2.9', 'epoch': '1.74'}"], ("epochs", 1.74, pytest.approx(2.48))),
        (["max_steps=300", "warmup steps 100", "step 12.5ms", "step 80%", "ms/step 12", "lr 1e-3"], None),
        (["step 10", "step 20", "step 10", "step 20"], None),  # of each epoch anew
        (["step 0: loss 4"], None),
        (["{'oops", "step"], None),
    ],
)
def test_text(lines: list[str], told: Range) -> None:
    """Steps by any name; a count that starts anew, or of something else, is none."""
    assert heard(*lines) == told


def test_json_is_believed_before_text(bench: Bench) -> None:
    """Also on the error stream, whose text counts where stdout has nothing."""
    result = bench.says('{"step": 1, "loss": 3}', '{"step": 2, "loss": 3}', "step 7/9", "step 9/9", '{"val_loss": 2}')
    assert result.seen is not None
    assert (result.seen.source, result.seen.least, result.seen.most) == ("'step'", 2, 3)
    line = bench.script("import sys; print('step 9/9', file=sys.stderr); print('{\"loss\": 1}')")
    errors = bench.run(line).seen
    assert errors is not None
    assert (errors.least, errors.most) == (9, 9)


def test_a_trainers_state_is_believed_before_all(bench: Bench) -> None:
    """trainer_state.json in {run_dir}; that of a checkpoint is only a lower bound, unless it is the last."""
    script = """
        import json, os, sys
        for folder, step in {}.items():
            os.makedirs(os.path.join(sys.argv[2], folder), exist_ok=True)
            with open(os.path.join(sys.argv[2], folder, "trainer_state.json"), "w") as file:
                json.dump({{"global_step": step, "max_steps": 300, "epoch": 1.7}}, file)
        print('{{"val_loss": 2, "step": 5}}')
        """
    for written, ends in (
        ({"": 273}, (273, 273)),
        ({"checkpoint-200": 200}, (200, None)),
        ({"checkpoint-200": 200, "checkpoint-300": 300}, (300, 300)),
    ):
        (bench.folder / "runs").mkdir(exist_ok=True)
        for file in bench.folder.glob("runs/**/trainer_state.json"):
            file.unlink()
        result = bench.run(bench.script(script.format(json.dumps(written))) + " {run_dir}")
        assert result.seen is not None
        assert (result.seen.least, result.seen.most) == ends
        assert result.seen.source == "global_step of trainer_state.json"


@pytest.mark.parametrize("content", ["", "[]", '{"global_step": "x"}', '{"epoch": 1}', '{"global_step": null}'])
def test_a_state_that_is_none_says_nothing(tmp_path: Path, content: str) -> None:
    """Whatever the file holds."""
    (tmp_path / "trainer_state.json").write_text(content)
    steps = Steps()
    steps.read(tmp_path)
    assert steps.seen() is None


def test_a_result_of_an_earlier_version_has_none(bench: Bench) -> None:
    """Stores without the field are read as before."""
    stored = bench.says('{"val_loss": 2}').model_dump(mode="json", by_alias=True)
    assert stored.pop("seen") is None
    assert ProbeResult.model_validate(stored).seen is None


def test_the_summary_of_a_trainer_is_no_step(bench: Bench) -> None:
    """Its train_loss is the mean of the whole run: at the end of a curve it would be an uptick."""
    result = bench.says(
        '{"step": 100, "loss": 3.0}',
        '{"step": 200, "loss": 2.0}',
        '{"step": 300, "train_loss": 2.5, "train_runtime": 9.1}',
        '{"step": 300, "loss": 2.2, "train_loss": 1.5}',
        '{"eval_loss": 2.2}',
    )
    assert result.curve == ((100, 3.0), (200, 2.0), (300, 1.5))
