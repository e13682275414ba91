"""Probes for real: torch trains on real bytes, and every engine gives the same bits."""

import math
import subprocess
from pathlib import Path

import pytest
import torch
from torch import nn

from adamw_scale.calibration import plan
from adamw_scale.errors import ProbeError, SpecError
from adamw_scale.probe import ENGINES, TASKS
from adamw_scale.probe.corpus import load_corpus
from adamw_scale.probe.engines.engine import Progress, TaskSource
from adamw_scale.probe.engines.processes import ProcessesEngine
from adamw_scale.probe.plan import ProbeConfig
from adamw_scale.probe.tasks.char_lm import Batch, CharLM
from adamw_scale.spec import TrainingRun

TOY = {"dataset_size": 4096, "epochs": 4}


def quiet(step: int, steps: int, loss: float) -> None:
    """Progress that nobody needs."""


@pytest.fixture(scope="module")
def task() -> CharLM:
    """The standard library's bytes, read once."""
    return CharLM(None)


@pytest.fixture(scope="module")
def configs() -> list[ProbeConfig]:
    """Four short probes: two timescales, two seeds."""
    sweep = plan(run=TOY, seeds=2)
    return [sweep.config(seed, x) for seed in (0, 1) for x in (-1.0, 1.0)]


def test_corpus_keeps_held_out_text_apart() -> None:
    """Held-out and training bytes come from different files; small data sets are prefixes of large ones."""
    corpus = load_corpus()
    assert len(corpus.training) > 1_000_000
    assert len(corpus.held_out) == 48 * 1024 + 1
    chunks = {corpus.held_out[i : i + 1024] for i in range(0, len(corpus.held_out) - 1024, 1024)}
    training = {corpus.training[i : i + 1024] for i in range(0, len(corpus.training), 1024)}
    assert len(chunks & training) == 0
    assert load_corpus() == corpus


def test_a_users_text_file(tmp_path: Path) -> None:
    """A text of the user's is cut into blocks, every eighth held out."""
    file = tmp_path / "text.txt"
    file.write_bytes(b"".join(f"line {i} of a text\n".encode() for i in range(10_000)))
    corpus = load_corpus(str(file))
    assert corpus.name == "text.txt"
    assert len(corpus.held_out) > 4096
    assert TASKS["char-lm"](str(file)).default_run({}).dataset_size == 16384


@pytest.mark.parametrize(("size", "says"), [(0, "held out|hold out"), (9_000, "hold out")])
def test_too_small_a_text_is_refused(tmp_path: Path, size: int, says: str) -> None:
    """A text must leave something to hold out."""
    file = tmp_path / "text.txt"
    file.write_bytes(b"x" * size)
    with pytest.raises(SpecError, match=says):
        load_corpus(str(file))


def test_model_has_the_counted_parameters(task: CharLM) -> None:
    """Width 32, 2 layers, context 32: 42,144 parameters, as in the run."""
    run = task.default_run({})
    assert sum(p.numel() for p in task.model(run).parameters()) == run.num_params == 42_144


def test_gpt_is_causal(task: CharLM) -> None:
    """Changing a byte changes no prediction before it."""
    model = task.model(task.default_run({}))
    tokens = torch.arange(32).reshape(1, 32)
    changed = tokens.clone()
    changed[0, 20] = 200
    with torch.no_grad():
        a, b = model(tokens), model(changed)
    torch.testing.assert_close(a[0, :20], b[0, :20])
    assert not torch.equal(a[0, 20:], b[0, 20:])


def test_every_epoch_shows_every_window_once(task: CharLM) -> None:
    """One pass over the data is one permutation of its windows."""
    run = task.default_run({"dataset_size": 4096})
    batches = task.batches(run, seed=3, device="cpu")
    epochs = [torch.cat([next(batches)[0] for _ in range(16)]).sort(0).values for _ in range(2)]
    assert torch.equal(epochs[0], epochs[1])
    assert len(epochs[0]) == 128


def test_training_learns_and_decay_acts(task: CharLM) -> None:
    """A few hundred steps beat a uniform guess; a timescale of a 16th of the run leaves smaller matrices than one of 4."""
    sweep = plan(run={"dataset_size": 8192, "epochs": 8}, seeds=2)
    norms = {}
    for x in (-3.0, 2.0):
        kept: list[nn.Module] = []

        class Keeping(CharLM):
            """The same task, keeping the model it made."""

            def model(self, run: TrainingRun) -> nn.Module:
                """A model, remembered."""
                kept.append(super().model(run))  # noqa: B023  # used within this pass of the loop
                return kept[-1]  # noqa: B023  # the same

        result = Keeping(None).train(sweep.config(0, x), quiet)
        assert result.loss is not None
        assert result.loss < 0.7 * math.log(256)
        norms[x] = [
            sum(float(p.detach().norm()) for p in kept[0].parameters() if (p.ndim >= 2) == matrix)
            for matrix in (True, False)
        ]
    assert norms[-3.0][0] < 0.8 * norms[2.0][0]
    assert norms[-3.0][1] > 0.8 * norms[2.0][1]


class Exploding(CharLM):
    """The same task with a loss that is not a number after a while."""

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Cross-entropy times NaN."""
        return super().loss(model, batch) * math.nan


def test_divergence_is_a_result(configs: list[ProbeConfig]) -> None:
    """A loss that is no number gives a diverged probe, not an exception."""
    result = Exploding(None).train(configs[0], quiet)
    assert (result.status, result.loss) == ("diverged", None)


def test_other_data_are_refused(task: CharLM, configs: list[ProbeConfig]) -> None:
    """A probe's configuration names its data by hash; training it on others is an error."""
    other = configs[0].model_copy(update={"task": {**configs[0].task, "data_sha256": "0"}})
    with pytest.raises(ProbeError, match="not those of the probe"):
        task.train(other, quiet)


def test_the_callers_generator_is_left_alone(task: CharLM, configs: list[ProbeConfig]) -> None:
    """Training a probe changes neither the caller's random state nor its thread count."""
    torch.manual_seed(7)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    task.train(configs[0], quiet)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_engines_agree_bit_for_bit(configs: list[ProbeConfig]) -> None:
    """Processes give exactly the serial engine's losses, and report progress."""
    losses = {}
    for name in ENGINES:
        news: list[Progress] = []
        with ENGINES[name](TaskSource("char-lm", None), 2) as engine:
            losses[name] = {result.key: result.loss for result in engine.run(configs, news.append)}
        assert {item.config.key for item in news} == {config.key for config in configs}
        assert all(0 < item.step <= item.steps for item in news)
    assert set(losses["serial"]) == {config.key for config in configs}
    assert losses["processes"] == losses["serial"]


def test_a_dead_worker_is_an_error_not_a_hang(configs: list[ProbeConfig]) -> None:
    """Killing a worker while it trains ends the engine with one line."""
    with ENGINES["processes"](TaskSource("char-lm", None), 1) as engine:

        def kill(progress: Progress) -> None:
            engine._workers[0].kill()  # type: ignore[attr-defined]

        with pytest.raises(ProbeError, match="died"):
            list(engine.run(configs, kill))


def test_a_reply_that_is_no_reply_is_an_error_not_a_hang(configs: list[ProbeConfig]) -> None:
    """Whatever a worker writes, the engine ends."""
    engine = ProcessesEngine(TaskSource("char-lm", None), 1)
    fake = subprocess.Popen(["printf", "garbage\n"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    engine._workers.append(fake)
    with engine, pytest.raises(ProbeError, match="JSONDecodeError"):
        list(engine.run(configs[:1], lambda progress: None))


def test_workers_ignore_modules_of_the_working_directory(
    configs: list[ProbeConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file called tokenize.py in the user's folder does not reach the workers."""
    (tmp_path / "tokenize.py").write_text("raise SystemExit('imported by accident')")
    monkeypatch.chdir(tmp_path)
    with ENGINES["processes"](TaskSource("char-lm", None), 1) as engine:
        assert [result.status for result in engine.run(configs[:1], lambda progress: None)] == ["done"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_agrees_with_the_cpu(task: CharLM) -> None:
    """On a GPU a probe reaches the CPU's loss within a hundredth of a nat."""
    cpu, cuda = (plan(run=TOY, seeds=2, device=device).config(0, 0.0) for device in ("cpu", "cuda"))
    a, b = task.train(cpu, quiet).loss, task.train(cuda, quiet).loss
    assert a is not None
    assert b == pytest.approx(a, abs=0.01)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_without_cuda(task: CharLM) -> None:
    """Asking for a GPU that is not there is one line."""
    with pytest.raises(ProbeError, match="--device cpu"):
        task.train(plan(run=TOY, seeds=2, device="cuda").config(0, 0.0), quiet)
