"""The user's own model: --task package.module:attribute."""

import json
from pathlib import Path
from typing import Any

import own_tasks
import pytest
import torch
from conftest import Command

from adamw_scale.calibration import calibrate, plan
from adamw_scale.errors import AdamWScaleError, ProbeError, SpecError
from adamw_scale.probe import load_task, trainer
from adamw_scale.probe.plan import ProbeConfig
from adamw_scale.probe.tasks.task import Progress, TaskSource


def quiet(news: Progress) -> None:
    """Progress that nobody needs."""


def configs(task: str, **options: str) -> list[ProbeConfig]:
    """Three probes of a few epochs."""
    sweep = plan(task, task_options=options, run={"epochs": 10}, seeds=2)
    return [sweep.config(seed, x) for seed, x in ((0, -1.0), (0, 1.0), (1, 0.0))]


@pytest.mark.parametrize("name", ["Mixture", "instance"])
def test_trains_a_plain_module(name: str) -> None:
    """A class or an object; probes learn, differ, and are the same again."""
    task = load_task(TaskSource(f"own_tasks:{name}"))
    results = task.train(configs(f"own_tasks:{name}"), quiet)
    assert [result.status for result in results] == ["done"] * 3
    assert all(result.value < 1.4 for result in results)
    assert [result.loss for result in task.train(configs(f"own_tasks:{name}"), quiet)] == [r.loss for r in results]


def test_equals_torch_adamw() -> None:
    """The last weights' held-out loss is that of the same training written with torch.optim.AdamW."""
    (config, *_) = configs("own_tasks:Mixture")
    task = load_task(TaskSource("own_tasks:Mixture"))
    run, user = config.run, own_tasks.Mixture()
    (inputs, targets), held_out = user.data(None)
    torch.manual_seed(config.seed)
    model = user.model(run)
    groups = [
        {
            "params": [p for p in model.parameters() if (p.ndim >= 2) == matrix],
            "weight_decay": matrix * run.current_weight_decay,
        }
        for matrix in (True, False)
    ]
    optimizer = torch.optim.AdamW(groups, betas=run.betas, eps=run.eps)
    order = torch.from_numpy(trainer._order(config.seed, 128, 16, 0, 80))
    for step in range(80):
        for group in optimizer.param_groups:
            group["lr"] = run.lr * run.lr_schedule.multiplier((step + 0.5) / 80)
        optimizer.zero_grad()
        user.loss(model, inputs[order[step]], targets[order[step]]).backward()
        optimizer.step()
    expected = user.loss(model, *held_out).item()
    assert task.train([config], quiet)[0].value == pytest.approx(expected, rel=1e-5)


def test_batched_where_it_is_equal() -> None:
    """batch=3 trains at once what one at a time gives, to rounding, and says so in the key."""
    alone, together = configs("own_tasks:Mixture"), configs("own_tasks:Mixture", batch="3")
    assert {c.key for c in alone} & {c.key for c in together} == set()
    one = load_task(TaskSource("own_tasks:Mixture")).train(alone, quiet)
    many = load_task(TaskSource("own_tasks:Mixture", options={"batch": "3"}))
    assert many.batch_limit(alone[0].run, "cpu") == 3
    assert [r.value for r in many.train(together, quiet)] == pytest.approx([r.value for r in one], rel=1e-4)


def test_batch_norm_is_trained_one_at_a_time() -> None:
    """Buffers and dropout work serially, with the model's own metric in eval mode; batching is refused with the reason."""
    results = load_task(TaskSource("own_tasks:WithBatchNorm")).train(configs("own_tasks:WithBatchNorm"), quiet)
    assert all(0.0 < result.value < 0.75 for result in results)
    source = TaskSource("own_tasks:WithBatchNorm", options={"batch": "3"})
    with pytest.raises(ProbeError, match="cannot be batched: its buffers"):
        load_task(source).train(configs("own_tasks:WithBatchNorm", batch="3"), quiet)


def test_groups_for_mup() -> None:
    """muP needs to know the groups; a task that says them is trained with their multipliers."""
    mup: dict[str, Any] = {"parametrization": "mup", "width": 64, "base_width": 16, "epochs": 5}
    with pytest.raises(SpecError, match=r"no group\(name, parameter\)"):
        plan("own_tasks:Mixture", run=mup)
    sweep = plan("own_tasks:Grouped", run=mup, seeds=2)
    assert load_task(TaskSource("own_tasks:Grouped")).train([sweep.config(0, 0.0)], quiet)[0].status == "done"


@pytest.mark.parametrize(
    ("task", "says"),
    [
        ("nowhere:Task", "ModuleNotFoundError"),
        ("own_tasks:Missing", "AttributeError"),
        ("own_tasks:number", "has no defaults, data, model, loss"),
        ("own_tasks:NoLoss", "has no data, model, loss"),
        ("own_tasks:", "package.module:attribute"),
        (":Mixture", "package.module:attribute"),
    ],
)
def test_what_is_no_task_is_refused(task: str, says: str) -> None:
    """One line for each way to name something that is no task."""
    with pytest.raises(SpecError, match=says) as error:
        load_task(TaskSource(task))
    assert "\n" not in str(error.value)


def test_a_bug_of_the_users_is_one_line() -> None:
    """An exception in the user's code names itself, its place and the part that raised it."""
    with pytest.raises(
        ProbeError, match=r"own_tasks:Broken: model or loss raised ValueError: shapes do not \(own_tasks.py, line"
    ):
        load_task(TaskSource("own_tasks:Broken")).train(configs("own_tasks:Broken"), quiet)


@pytest.mark.parametrize(
    ("options", "run", "says"),
    [
        ({"batch": "many"}, {}, "batch=many"),
        ({"speed": "1"}, {}, "no option 'speed'"),
        ({}, {"dataset_size": 10_000}, "--dataset-size"),
        ({}, {"weight_decay": 0.1}, "weight_decay"),
    ],
    ids=str,
)
def test_bad_options(options: dict[str, str], run: dict[str, Any], says: str) -> None:
    """What the task cannot do is refused beforehand."""
    with pytest.raises(AdamWScaleError, match=says):
        plan("own_tasks:Mixture", task_options=options, run=run)


def test_calibrates_from_the_working_directory(
    tmp_path: Path, adamw_scale: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """End to end on the command line: a file in the user's folder, workers of their own, an optimum, advice."""
    (tmp_path / "mine.py").write_text(Path(__file__).with_name("own_tasks.py").read_text())
    monkeypatch.chdir(tmp_path)
    outcome = adamw_scale("calibrate", "--task", "mine:Mixture", "--out", "mine", "--json")
    assert outcome.code in (0, 1), outcome.err
    document = json.loads(outcome.out)
    assert document["task"]["name"] == "mine:Mixture"
    assert document["optima"][0]["status"] == "located", document
    assert calibrate("mine", "mine:Mixture").optima[0].status == "located"
    assert adamw_scale("recommend", "--calibration", "mine", "--json").code == 0
