"""The user's own model: --task package.module:attribute."""

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import own_tasks
import pytest
import torch
from conftest import Command

from adamw_scale.calibration import calibrate, plan
from adamw_scale.errors import AdamWScaleError, ProbeError, SpecError
from adamw_scale.spec.measurement import ProbeConfig
from adamw_scale.training import trainer
from adamw_scale.training.tasks import load_task
from adamw_scale.training.tasks.task import Progress, TaskSource


def quiet(news: Progress) -> None:
    """Progress that nobody needs."""


def configs(task: str, **options: str) -> list[ProbeConfig]:
    """Three probes of a few epochs."""
    (sweep,) = plan(task, task_options=options, run={"epochs": 10}, seeds=2).sweeps
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
    assert many.cohort_limit(alone[0].run, "cpu") == 3
    assert [r.value for r in many.train(together, quiet)] == pytest.approx([r.value for r in one], rel=1e-4)


def test_batch_norm_is_trained_one_at_a_time() -> None:
    """Buffers and dropout work serially, with the model's metric in eval mode; batching is refused with the reason."""
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
    (sweep,) = plan("own_tasks:Grouped", run=mup, seeds=2).sweeps
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
    (tmp_path / "my_training.py").write_text(Path(__file__).with_name("own_tasks.py").read_text())
    monkeypatch.chdir(tmp_path)
    outcome = adamw_scale("calibrate", "--task", "my_training:Mixture", "--out", "mine", "--json")
    assert outcome.code in (0, 1), outcome.err
    document = json.loads(outcome.out)
    assert document["task"]["name"] == "my_training:Mixture"
    assert document["optima"][0]["status"] == "located", document
    assert calibrate("mine", "my_training:Mixture").optima[0].status == "located"
    assert adamw_scale("recommend", "--calibration", "mine", "--json").code == 0


class Unseeded(own_tasks.Mixture):
    """Draws other examples at every call."""

    def data(self, path: str | None) -> Any:
        """From torch's global generator."""
        inputs, targets = torch.randn(256, 16), torch.randint(4, (256,))
        return (inputs, targets), (inputs, targets)


def leave(*_: Any) -> Any:
    """End the program, as a script does that was not meant to be imported."""
    raise SystemExit(0)


def raising(*_: Any) -> Any:
    """A property that fails."""
    raise RuntimeError("no such\nthing")


def with_part(monkeypatch: pytest.MonkeyPatch, **parts: Any) -> str:
    """Name of a task that is as it should be, but for some of its parts."""
    module = ModuleType("bad_task")
    module.task = type("Bad", (own_tasks.Mixture,), parts)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "bad_task", module)
    return "bad_task:task"


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"data": lambda self, path: None}, r"data\(path\) returned None: return \(inputs"),
        ({"data": lambda self, path: ("ab", "cd")}, r"data\(path\) returned str 'a' as inputs"),
        ({"data": lambda self, path: (([{}], [1]), ([1], [1]))}, r"returned list \[\{\}\] as inputs: return a tensor"),
        ({"data": lambda self, path: ((torch.tensor(1.0), 1), ([1], [1]))}, r"shape \(\) and float32 as inputs"),
        ({"data": lambda self, path: ((torch.eye(3).to_sparse(), [1] * 3), ([1], [1]))}, "sparse_coo tensor of shape"),
        ({"data": leave}, r"data\(path\) raised SystemExit: 0"),
        ({"model": lambda self, run: None}, r"model\(run\) returned None: return a torch.nn.Module"),
        ({"model": lambda self, run: "net"}, r"model\(run\) returned str 'net'"),
        ({"model": lambda self, run: torch.nn.LazyLinear(4)}, r"model\(run\) returned lazy layers: run a batch"),
        ({"model": lambda self, run: torch.nn.ReLU()}, r"returned no parameter that requires a gradient"),
        ({"model": lambda self, run: torch.nn.Linear(2, 2, dtype=torch.complex64)}, "returned complex parameters"),
        ({"model": leave}, r"model\(run\) raised SystemExit: 0"),
        ({"loss": leave}, r"model or loss raised SystemExit: 0"),
        ({"loss": lambda self, model, x, y: 1.0}, r"loss returned float 1.0: return the mean over the batch"),
        ({"loss": lambda self, model, x, y: model(x)}, r"loss returned a tensor of shape \(16, 4\) and float32"),
        ({"loss": lambda self, model, x, y: model(x).mean().detach()}, "loss does not depend on the model's"),
        ({"metric": lambda self, model, x, y: 1}, r"metric returned int 1"),
        ({"defaults": None}, r"defaults are None: make them a dict"),
        ({"defaults": ["epochs"]}, r"defaults are list \['epochs'\]"),
        ({"defaults": {1: 2}}, r"defaults are dict \{1: 2\}"),
        ({"defaults": property(raising)}, r"RuntimeError: no such\. Pass package"),
        ({"__init__": leave}, r"SystemExit: 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)  # fmt: skip
def test_parts_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch, parts: dict[str, Any], says: str) -> None:
    """Whatever a part raises or returns, it is named in one line, with what it should be."""
    name = with_part(monkeypatch, **parts)
    with pytest.raises(AdamWScaleError, match=says) as error:
        load_task(TaskSource(name)).train(configs(name), quiet)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("group", "says"),
    [
        (raising, r"group\('0.weight', \.\.\.\) raised RuntimeError: no such \("),
        (lambda self, name, p: ["hidden"], r"is \['hidden'\], not one of"),
    ],
)
def test_groups_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch, group: Any, says: str) -> None:
    """The parameter is named at which group() failed."""
    with pytest.raises(AdamWScaleError, match=says):
        plan(with_part(monkeypatch, group=group), run={"parametrization": "mup", "width": 64, "base_width": 16})


def test_whatever_holds_numbers_is_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy arrays of other precision, half precision and lists train as the same tensors do; so does float64."""
    (x, y), (held_x, held_y) = own_tasks.Mixture().data(None)
    x, held_x = x.half(), held_x.half()

    def arrays(self: Any, path: str | None) -> Any:
        return (x.numpy().astype(np.float64), y.tolist()), (held_x.double().numpy(), np.asarray(held_y))

    plain = with_part(monkeypatch, data=lambda self, path: ((x.float(), y), (held_x.float(), held_y)))
    expected = load_task(TaskSource(plain)).train(configs(plain)[:1], quiet)[0]
    name = with_part(monkeypatch, data=arrays)
    (config, *_) = configs(name)
    assert load_task(TaskSource(name)).train([config], quiet)[0].loss == expected.loss
    double = config.model_copy(update={"precision": "float64"})
    assert load_task(TaskSource(name)).train([double], quiet)[0].value == pytest.approx(expected.value, rel=1e-3)


def test_parameters_that_the_loss_does_not_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """A head that is not trained on changes nothing."""

    class TwoHeads(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = torch.nn.Linear(16, 4), torch.nn.Linear(16, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.used(x)
            return out

    name = with_part(monkeypatch, model=lambda self, run: TwoHeads())
    assert [r.status for r in load_task(TaskSource(name)).train(configs(name), quiet)] == ["done"] * 3


def test_other_examples_than_planned_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Data that are drawn anew at every call are no data to compare probes on."""
    name = with_part(monkeypatch, data=Unseeded.data)
    with pytest.raises(ProbeError, match=r"data\(path\) gives other examples than when the probes were planned: seed"):
        load_task(TaskSource(name)).train(configs(name), quiet)


def test_what_the_user_prints_is_no_answer(
    tmp_path: Path, adamw_scale: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prints at import, in data and in the loss go to stderr; stdout is the JSON document alone."""
    loud = """
import torch
print("imported")
class Loud:
    defaults = {"unit": "samples", "dataset_size": 64, "epochs": 20, "batch_size": 8, "peak_lr": 1e-2}
    def data(self, path):
        print("reading")
        x = torch.arange(256.0).reshape(128, 2) / 256
        return (x[:64], x[:64, :1]), (x[64:], x[64:, :1])
    def model(self, run):
        print("building")
        return torch.nn.Linear(2, 1)
    def loss(self, model, inputs, targets):
        print("computing")
        return (model(inputs) - targets).square().mean()
"""
    (tmp_path / "loud.py").write_text(loud)
    monkeypatch.chdir(tmp_path)
    outcome = adamw_scale("calibrate", "--task", "loud:Loud", "--out", "out", "--engine", "serial", "--json")
    assert outcome.code in (0, 1), outcome.err
    assert json.loads(outcome.out)["task"]["name"] == "loud:Loud"
    assert all(word in outcome.err for word in ("imported", "reading", "building", "computing"))
