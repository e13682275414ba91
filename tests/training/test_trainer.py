"""Probes for real: torch trains on real data, many at once, and to the same bits whatever they are trained beside."""

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from plain_modules import NETWORKS, Plain, network
from torch import Tensor
from torch.nn import functional as F

from adamw_scale.calibration import plan
from adamw_scale.errors import ProbeError, SpecError
from adamw_scale.spec.measurement import ProbeConfig
from adamw_scale.spec.run import TrainingRun
from adamw_scale.theory.parametrizations import PARAMETRIZATIONS
from adamw_scale.training import optimizer, trainer
from adamw_scale.training.checkpoint import Checkpoint
from adamw_scale.training.data.dataset import Rows
from adamw_scale.training.models.model import Weights
from adamw_scale.training.tasks import load_task
from adamw_scale.training.tasks.language import CharLM
from adamw_scale.training.tasks.task import Progress, TaskSource
from adamw_scale.training.trainer import Batch, Problem, normal_initial, train

TOY = {"dataset_size": 4096, "epochs": 4}
# Four epochs: on data few enough to be known by heart, training multiplies a rounding error by 10^4 in 200 steps,
# and the processor's order of summation would decide whether 1e-12 holds. Here it stays below 1e-14.
STEPS, EXAMPLES, PER_STEP = 200, 400, 8

# Five probes, no two alike: lr, decay over two decades, betas, schedules of lr and of decay, seeds.
FIVE: tuple[dict[str, Any], ...] = (
    {"peak_lr": 3e-3, "weight_decay": 0.05, "warmup_fraction": 0.1},
    {"peak_lr": 1e-3, "weight_decay": 5.0, "schedule": "cosine", "final_lr_fraction": 0.1},
    {"peak_lr": 5e-4, "weight_decay": 0.5, "schedule": "wsd", "betas": (0.8, 0.99), "eps": 1e-6},
    {"peak_lr": 5e-4, "weight_decay": 0.0, "schedule": "constant", "warmup_steps": 13},
    {
        "peak_lr": 2e-3,
        "weight_decay": 2.0,
        "schedule": "inverse-sqrt",
        "warmup_fraction": 0.05,
        "weight_decay_schedule": "cosine",
    },
)


def quiet(news: Progress) -> None:
    """Progress that nobody needs."""


@pytest.fixture(scope="module")
def task() -> CharLM:
    """The standard library's bytes, read once."""
    return CharLM(TaskSource("char-lm"))


@pytest.fixture(scope="module")
def configs() -> list[ProbeConfig]:
    """Four short probes: two timescales, two seeds."""
    (sweep,) = plan(run=TOY, seeds=2).sweeps
    return [sweep.config(seed, x) for seed in (0, 1) for x in (-1.0, 1.0)]


def five(**more: Any) -> list[ProbeConfig]:
    """The five probes, on the same number of steps."""
    size = {"unit": "samples", "dataset_size": EXAMPLES, "batch_size": PER_STEP, "epochs": STEPS * PER_STEP / EXAMPLES}
    runs = [TrainingRun.model_validate({**size, "betas": (0.9, 0.95), **own, **more}) for own in FIVE]
    return [ProbeConfig(task={}, run=run, seed=seed, precision="float64") for seed, run in enumerate(runs)]


def trained_weights(problem: Problem, configs: list[ProbeConfig]) -> dict[str, Tensor]:
    """All probes' weights after the last step."""
    with trainer.reproducible(configs[0]):
        training = trainer._Training(problem, configs)
        for _ in training.stretches():
            pass
    return {name: weight.detach() for name, weight in training.views.items()}


@pytest.mark.parametrize(
    ("name", "parametrization", "fused_from"),
    [
        *((name, "standard", optimizer.FUSED_FROM) for name in NETWORKS),
        *((name, "mup", fused_from) for name in ("gpt", "byte-mlp") for fused_from in (0, optimizer.FUSED_FROM)),
    ],
)
def test_200_steps_equal_plain_modules_with_torch_adamw(
    name: str, parametrization: str, fused_from: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """float64, five probes of different lr, decay, betas, eps and schedule: each weight within 1e-12 of AdamW's."""
    monkeypatch.setattr(optimizer, "FUSED_FROM", fused_from)
    width = {} if parametrization == "standard" else {"parametrization": "mup", "width": 32, "base_width": 8}
    configs = five(**width)
    both = network(name, configs[0].run)
    model, generator = both.model, torch.Generator().manual_seed(0)
    rows = Rows(both.inputs(EXAMPLES, generator), both.targets(EXAMPLES, generator))
    problem = Problem(
        parameters=model.parameters,
        groups=PARAMETRIZATIONS[parametrization].multipliers(4.0, 1.0),
        initial=lambda seed: normal_initial(model.parameters, seed),
        loss=lambda weights, batch: _losses(model.forward(weights, batch[0]), batch[1]),
        metrics=lambda weights, batch: {"loss": _losses(model.forward(weights, batch[0]), batch[1])},
        training=rows,
        held_out=rows,
        examples_per_step=PER_STEP,
    )
    weights = trained_weights(problem, configs)
    for k, config in enumerate(configs):
        plain = both.plain().double()
        for parameter, start in zip(model.parameters, normal_initial(model.parameters, config.seed), strict=True):
            plain.load(parameter.name, start.double())
        with trainer.reproducible(config):
            _train_plainly(plain, problem, config, rows)
        for parameter in model.parameters:
            ours = plain.lies_here(parameter.name, weights[parameter.name][k])
            worst = float((ours - plain.parameter(parameter.name)).detach().abs().max())
            assert worst <= 1e-12, (parameter.name, k, worst)


def _losses(outputs: Tensor, targets: Tensor) -> Tensor:
    losses = F.cross_entropy(outputs.reshape(-1, outputs.shape[-1]), targets.reshape(-1), reduction="none")
    return losses.view(len(outputs), -1).mean(1)


def _train_plainly(plain: Plain, problem: Problem, config: ProbeConfig, rows: Rows) -> None:
    """The same training as anyone would write it: torch.optim.AdamW with a parameter group for each weight."""
    run = config.run
    scales = [problem.groups[parameter.group] for parameter in problem.parameters]
    groups = [
        {"params": [plain.parameter(parameter.name)], "eps": run.eps * scale.eps}
        for parameter, scale in zip(problem.parameters, scales, strict=True)
    ]
    adamw = torch.optim.AdamW(groups, betas=run.betas, foreach=False)
    epochs = [np.random.default_rng((config.seed, epoch)) for epoch in range(STEPS * PER_STEP // EXAMPLES + 1)]
    order = torch.from_numpy(np.concatenate([epoch.permutation(EXAMPLES) for epoch in epochs]))
    peak_lr, weight_decay, schedule, decay_schedule = (
        run.lr,
        run.current_weight_decay,
        run.lr_schedule,
        run.decay_schedule,
    )
    for step in range(STEPS):
        progress = (step + 0.5) / STEPS
        for group, scale in zip(adamw.param_groups, scales, strict=True):
            group["lr"] = peak_lr * scale.peak_lr * schedule.multiplier(progress)
            group["weight_decay"] = weight_decay * decay_schedule.own(progress) * scale.weight_decay
        index = order[step * PER_STEP : (step + 1) * PER_STEP]
        outputs = plain(rows.inputs[index])
        loss = F.cross_entropy(outputs.reshape(-1, outputs.shape[-1]), rows.targets[index].reshape(-1))
        adamw.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adamw.step()


@pytest.mark.parametrize("size", [1, 2, 3])
def test_bits_do_not_depend_on_the_batch(task: CharLM, configs: list[ProbeConfig], size: int) -> None:
    """Trained alone, in pairs, in threes or all at once, a probe's result is the same to the last bit."""
    whole = [(r.key, r.loss, r.curve) for r in task.train(configs, quiet)]
    parts = [configs[i : i + size] for i in range(0, len(configs), size)]
    assert [(r.key, r.loss, r.curve) for part in parts for r in task.train(part, quiet)] == whole


def test_model_has_the_counted_parameters(task: CharLM) -> None:
    """Width 32, 2 layers, context 32: 42,144 parameters, as in the run."""
    assert task.default_run({}).num_params == 42_144


def test_every_epoch_shows_every_example_once() -> None:
    """One pass over the data is one permutation, wherever the steps are cut."""
    whole = trainer._order(3, 20, 8, 0, 10)
    assert whole.shape == (10, 8)
    epochs = whole.flatten().reshape(4, 20)
    assert [sorted(epoch) for epoch in epochs.tolist()] == [list(range(20))] * 4
    assert (epochs[0] != epochs[1]).any()
    assert (np.concatenate([trainer._order(3, 20, 8, a, b) for a, b in ((0, 1), (1, 7), (7, 10))]) == whole).all()
    assert trainer._order(0, 3, 8, 0, 2).shape == (2, 8)  # a batch larger than the data


@pytest.mark.parametrize("epochs", [8.0, 10.0])
def test_every_point_of_a_curve_is_of_as_many_steps(task: CharLM, epochs: float) -> None:
    """The last one too, or it would scatter more than the others: 64 and 81 steps, in 40 points."""
    (sweep,) = plan(run={"dataset_size": 2080, "epochs": epochs, "width": 16}, seeds=2).sweeps
    (result,) = task.train([sweep.config(0, 0.0)], quiet)
    steps = [0, *(step for step, _ in result.curve)]
    widths = {b - a for a, b in pairwise(steps)}
    assert steps[-1] == round(sweep.run.total_steps)
    assert len(result.curve) == 40
    assert max(widths) - min(widths) <= 1


def test_training_learns_and_decay_acts(task: CharLM) -> None:
    """A few hundred steps beat a uniform guess; a timescale of a 16th of the run leaves smaller matrices."""
    (sweep,) = plan(run={"dataset_size": 8192, "epochs": 8}, seeds=2).sweeps
    configs = [sweep.config(0, x) for x in (-3.0, 2.0)]
    results = task.train(configs, quiet)
    assert all(result.value < 0.7 * math.log(256) for result in results)
    assert all(0.0 < result.metrics["error"] < 1.0 for result in results)
    assert [step for step, _ in results[0].curve][-1] == 256
    assert results[0].curve[-1][1] < results[0].curve[0][1]
    weights = trained_weights(task.problem(configs[0].run), configs)
    short, long = (sum(float(w[k].norm()) for w in weights.values() if w.ndim > 2) for k in (0, 1))
    assert short < 0.8 * long
    gains = [sum(float(w[k].norm()) for w in weights.values() if w.ndim == 2) for k in (0, 1)]
    assert gains[0] > 0.8 * gains[1]


class Exploding(CharLM):
    """The same task with a loss that is not a number for the second probe."""

    def problem(self, run: TrainingRun) -> Problem:
        """Cross-entropy, times NaN where a probe's index is 1."""
        plain = super().problem(run)

        def loss(weights: Weights, batch: Batch) -> Tensor:
            losses = plain.loss(weights, batch)
            return losses * torch.where(torch.arange(len(losses)) == 1, math.nan, 1.0)

        return Problem(**{**vars(plain), "loss": loss})


def test_divergence_is_a_result_and_spoils_no_other(task: CharLM, configs: list[ProbeConfig]) -> None:
    """A loss that is no number gives a diverged probe; those beside it keep their bits."""
    results = Exploding(TaskSource("char-lm")).train(configs, quiet)
    assert [result.status for result in results] == ["done", "diverged", "done", "done"]
    assert (results[1].loss, results[1].metrics) == (None, {})
    plain = task.train(configs, quiet)
    assert [r.loss for r in results if r.status == "done"] == [r.loss for i, r in enumerate(plain) if i != 1]


def test_other_data_are_refused(task: CharLM, configs: list[ProbeConfig]) -> None:
    """A probe's configuration names its data by hash; training it on others is an error."""
    other = configs[0].model_copy(update={"task": {**configs[0].task, "data_sha256": "0"}})
    with pytest.raises(ProbeError, match="not those of the probe"):
        task.train([other], quiet)


def test_the_callers_torch_is_left_alone(task: CharLM, configs: list[ProbeConfig]) -> None:
    """Training a probe changes neither the caller's random state nor its threads nor its precision."""
    torch.manual_seed(7)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    precision = torch.get_float32_matmul_precision()
    task.train(configs[:1], quiet)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert torch.get_float32_matmul_precision() == precision


class PreemptedError(Exception):
    """Stands for whatever ends a process."""


def test_a_checkpoint_goes_on_to_the_same_bits(
    task: CharLM, configs: list[ProbeConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended after every tenth report, training goes on from its last checkpoint, repeats nothing, and ends the same."""
    monkeypatch.setattr("adamw_scale.training.checkpoint.SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr("adamw_scale.training.trainer.SECONDS_PER_STRETCH", 0.0)
    whole = [(r.loss, r.curve, r.metrics) for r in task.train(configs, quiet)]
    problem = task.problem(configs[0].run)
    steps: list[int] = []

    def preempt(news: Progress) -> None:
        if news.config is configs[0]:
            steps.append(news.step)
            if len(steps) % 10 == 0:
                raise PreemptedError

    for _ in range(100):
        try:
            results = train(problem, configs, preempt, str(tmp_path))
            break
        except PreemptedError:
            assert len(list((tmp_path / "checkpoints").iterdir())) == 1
    assert len(steps) >= 40
    assert len(steps) - len(set(steps)) <= len(steps) // 10  # at most the report at which it was ended comes again
    assert [(r.loss, r.curve, r.metrics) for r in results] == whole
    assert list((tmp_path / "checkpoints").iterdir()) == []


@pytest.mark.parametrize(
    "content", [b"", b"torn", b"\x80\x04cos\nsystem\n(S'true'\ntR."], ids=["empty", "torn", "pickle"]
)
def test_a_checkpoint_that_is_none_is_no_obstacle(configs: list[ProbeConfig], tmp_path: Path, content: bytes) -> None:
    """Torn, empty or hostile: the batch starts anew."""
    checkpoint = Checkpoint(str(tmp_path), configs)
    assert checkpoint.path is not None
    checkpoint.path.parent.mkdir()
    checkpoint.path.write_bytes(content)
    assert checkpoint.load() is None


def test_bfloat16_is_close_and_its_own_probe(task: CharLM) -> None:
    """Autocast reaches the float32 loss within a few hundredths of a nat, under a key of its own."""
    plain, half = (plan(run=TOY, seeds=2, precision=p).sweeps[0].config(0, 0.0) for p in ("float32", "bfloat16"))
    assert plain.key != half.key
    a, b = (task.train([config], quiet)[0].value for config in (plain, half))
    assert a != b
    assert b == pytest.approx(a, abs=0.05)


def test_mup_is_trained_as_the_parametrization_says(task: CharLM) -> None:
    """Under muP at twice the base width the hidden lr halves, λ doubles, and the output is scaled."""
    run = task.default_run({**TOY, "width": 64, "base_width": 32, "parametrization": "mup"})
    hidden = task.problem(run).groups["hidden"]
    assert (hidden.peak_lr, hidden.weight_decay) == (0.5, 2.0)
    (sweep,) = plan(run={**TOY, "width": 64, "base_width": 32, "parametrization": "mup"}, seeds=2).sweeps
    assert task.train([sweep.config(0, 0.0)], quiet)[0].value < math.log(256)


@pytest.mark.parametrize("name", ["byte-mlp", "mlp", "vit", "resnet"])
def test_every_task_trains(name: str) -> None:
    """Each built-in task beats guessing in a short run on its default data."""
    task = load_task(TaskSource(name))
    (sweep,) = plan(name, run={"epochs": 3 if name == "byte-mlp" else 12}, seeds=2).sweeps
    guess = math.log(256 if name == "byte-mlp" else 10)
    results = task.train([sweep.config(0, x) for x in (-1.0, 1.0)], quiet)
    assert all(result.value < 0.95 * guess for result in results), [result.value for result in results]
    assert results[0].loss != results[1].loss


@pytest.mark.parametrize(
    ("name", "run", "says"),
    [
        ("char-lm", {"width": 40}, "--width"),
        ("char-lm", {"batch_size": 250}, "--batch-size"),
        ("char-lm", {"sequence_length": 4096}, "--sequence-length"),
        ("mlp", {"unit": "tokens"}, "unit 'samples' only"),
        ("mlp", {"dataset_size": 1_000_000}, "--dataset-size"),
        ("mlp", {"batch_size": 1000}, "--batch-size"),
        ("vit", {"width": 48}, "--width"),
        ("resnet", {"width": 12}, "--width"),
        ("byte-mlp", {"width": 1.5}, "--width"),
    ],
    ids=str,
)
def test_runs_a_task_cannot_train(name: str, run: dict[str, Any], says: str) -> None:
    """Each is refused beforehand, in one line that names the flag."""
    with pytest.raises(SpecError, match=says):
        plan(name, run=run)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ["char-lm", "byte-mlp", "mlp", "vit", "resnet"])
def test_cuda_agrees_with_the_cpu(name: str) -> None:
    """On a GPU, in a captured graph, probes reach the CPU's losses within a hundredth of a nat."""
    task = load_task(TaskSource(name))
    run = {"epochs": 4}
    losses = {
        device: [
            r.value
            for r in task.train([plan(name, run=run, device=device).sweeps[0].config(0, x) for x in (-1.0, 1.0)], quiet)
        ]
        for device in ("cpu", "cuda")
    }
    assert losses["cuda"] == pytest.approx(losses["cpu"], abs=0.01)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_out_of_memory_makes_smaller_batches(task: CharLM, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that does not fit is halved until it does."""
    real: Callable[..., Any] = trainer._train_cohort
    sizes: list[int] = []

    def scarce(problem: Problem, configs: list[ProbeConfig], *more: Any) -> Any:
        sizes.append(len(configs))
        if len(configs) > 2:
            torch.empty(1 << 50, device="cuda")
        return real(problem, configs, *more)

    monkeypatch.setattr(trainer, "_train_cohort", scarce)
    (sweep,) = plan(run=TOY, seeds=2, device="cuda").sweeps
    results = task.train([sweep.config(0, x) for x in (-2.0, -1.0, 0.0, 1.0)], quiet)
    assert [result.status for result in results] == ["done"] * 4
    assert sizes == [4, 2, 2]


def test_out_of_memory_on_the_cpu_is_one_line(
    task: CharLM, configs: list[ProbeConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch's own allocation error halves the batch, and of a single probe says what to lower."""

    def scarce(problem: Problem, configs: list[ProbeConfig], *more: Any) -> Any:
        torch.empty(1 << 60)

    monkeypatch.setattr(trainer, "_train_cohort", scarce)
    with pytest.raises(ProbeError, match=r"single probe does not fit .* --batch-size"):
        task.train(configs, quiet)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_without_cuda(task: CharLM) -> None:
    """Asking for a GPU that is not there is one line."""
    with pytest.raises(ProbeError, match="--device cpu"):
        task.train([plan(run=TOY, seeds=2, device="cuda").sweeps[0].config(0, 0.0)], quiet)
