"""LitGPT's YAML through its real command line, optimizer and schedule."""

import importlib.util
import inspect
import math
import warnings
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from walking import STEPS, TinyLM, assert_walks_as_recommended, config_of, read, short

from adamw_scale.frameworks import FRAMEWORKS
from adamw_scale.frameworks.emission import emit

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("litgpt") is None, reason="litgpt is not installed"),
    pytest.mark.filterwarnings("ignore"),  # of its import, none of them about what is written
]


@cache
def library() -> Any:
    """litgpt.pretrain and litgpt.finetune.full, and the parser of the former's command line."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import jsonargparse
        import litgpt.finetune.full
        import litgpt.pretrain
        from litgpt.utils import instantiate_torch_optimizer

    parser = jsonargparse.capture_parser(lambda: jsonargparse.CLI(litgpt.pretrain.setup, args=[]))
    return SimpleNamespace(
        pretrain=litgpt.pretrain, finetune=litgpt.finetune.full, parser=parser, build=instantiate_torch_optimizer
    )


def parsed(text: str, folder: Path) -> Any:
    """A config as the command line has it; SystemExit where it refuses."""
    file = folder / "config.yaml"
    file.write_text(f"model_name: pythia-14m\n{text}")
    parser = library().parser
    return parser.instantiate_classes(parser.parse_args(["--config", str(file)]))


def lr_at(given: Any, optimizer: Any, iteration: int, devices: int = 1) -> float:
    """What the loop of pretrain.py sets at a micro-batch."""
    train = given.train
    iterations = train.max_tokens // devices // (train.micro_batch_size * train.max_seq_length)
    warmup = train.warmup_iters(devices, 1, iterations, None)
    return float(library().pretrain.get_lr(optimizer.defaults["lr"], iteration, warmup, iterations, train.min_lr))


@pytest.mark.parametrize("warmup", [40, 0])
@pytest.mark.parametrize("devices", [1, 8])
def test_every_step_is_as_recommended(devices: int, warmup: int, tmp_path: Path) -> None:
    """A step has the learning rate of its last micro-batch: with G of them, (t + 1 - 1/G) / T of the run."""
    recommendation = short("cosine-to-10-percent", warmup_steps=warmup)
    given = parsed(emit("litgpt", recommendation).text, tmp_path)
    library().pretrain.validate_args(given.train, given.eval, None, False)
    batches = given.train.gradient_accumulation_iters(devices)
    assert (given.train.global_batch_size, batches) == (256, 256 // devices)
    model = TinyLM()
    optimizer = library().build(given.optimizer, model.parameters(), fused=False)
    steps = iter(range(1, STEPS + 1))

    def next_step() -> None:
        for group in optimizer.param_groups:
            group["lr"] = lr_at(given, optimizer, (next_at := next(steps)) * batches + batches - 1, devices)
            assert next_at <= STEPS

    optimizer.param_groups[0]["lr"] = lr_at(given, optimizer, batches - 1, devices)
    assert_walks_as_recommended(
        model,
        optimizer,
        next_step,
        config_of(recommendation, "litgpt"),
        lambda step: (step + 1 - 1 / batches) / STEPS,
    )


def test_the_loop_is_the_one_above() -> None:
    """The learning rate is set before each micro-batch, from a count that starts at 0, in every group."""
    source = inspect.getsource(library().pretrain.fit)
    sets, counts = source.index("lr = get_lr("), source.index('state["iter_num"] += 1')
    assert sets < counts < source.index("optimizer.step()")
    assert 'param_group["lr"] = lr' in source
    assert "max_steps" not in source


@pytest.mark.parametrize("schedule", ["linear", "constant", "wsd"])
def test_other_schedules_become_a_cosine(schedule: str, tmp_path: Path) -> None:
    """With a caution; a constant one is a cosine that ends at its peak."""
    recommendation = short("linear", schedule=schedule)
    snippet = emit("litgpt", recommendation)
    assert "nearest-schedule" in [caution.code for caution in snippet.cautions]
    given = parsed(snippet.text, tmp_path)
    if schedule == "constant":
        assert math.isclose(given.train.min_lr, recommendation.peak_lr)


def test_a_batch_of_unknown_length_has_to_be_filled_in(tmp_path: Path) -> None:
    """LitGPT stops rather than train with its default batch of 512."""
    text = emit("litgpt", short("linear", sequence_length=None)).text
    with pytest.raises((SystemExit, TypeError)):
        parsed(text, tmp_path).train.gradient_accumulation_iters(1)


def test_defaults_are_the_librarys(tmp_path: Path) -> None:
    """Of pretrain.setup and its AdamW, and of finetuning where epochs are given."""
    config, given = read(FRAMEWORKS["litgpt"](), "train: {save_interval: 10}\n"), parsed("seed: 1\n", tmp_path)
    optimizer = library().build(given.optimizer, [torch.nn.Parameter(torch.ones(1))])
    real = optimizer.defaults
    assert (config.peak_lr, config.weight_decay, config.betas, config.eps) == (
        real["lr"],
        real["weight_decay"],
        real["betas"],
        real["eps"],
    )
    train = given.train
    assert (config.batch_size, config.per_device_batch_size) == (train.global_batch_size, train.micro_batch_size)
    assert (config.warmup_steps, config.total_tokens) == (train.lr_warmup_steps, train.max_tokens)
    assert config.final_lr_fraction == train.min_lr / real["lr"]
    assert {"peak_lr", "weight_decay", "batch_size", "warmup_steps", "total_tokens"} <= set(config.defaults)
    train = inspect.signature(library().finetune.setup).parameters["train"].default
    tuning = read(FRAMEWORKS["litgpt"](), "train: {epochs: 2}\n")
    assert (tuning.batch_size, tuning.per_device_batch_size) == (train.global_batch_size, train.micro_batch_size)
    assert (tuning.warmup_steps, tuning.epochs) == (train.lr_warmup_steps, 2)


def test_finetuning_falls_to_zero() -> None:
    """Whatever min_lr says: its scheduler has no such argument."""
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))], lr=1e-3)
    scheduler = library().finetune.get_lr_scheduler(optimizer, warmup_steps=10, max_steps=100)
    for _ in range(100):
        optimizer.step()
        scheduler.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0, abs=1e-12)
    config = read(FRAMEWORKS["litgpt"](), "train: {epochs: 2, min_lr: 6.0e-05, lr_warmup_steps: 10}\n")
    assert config.final_lr_fraction == 0
    assert [(finding.code, finding.severity) for finding in config.findings] == [("ignored-key", "note")]


OLD = """
model_name: tiny-llama-1.1b
train:
  global_batch_size: 512
  micro_batch_size: 4
  lr_warmup_steps: 2000
  epochs:
  max_tokens: 3000000000000
  max_seq_length: 2048
  learning_rate: 4e-4
  weight_decay: 0.1
  beta1: 0.9
  beta2: 0.95
  max_norm: 1.0
  min_lr: 4.0e-05
"""
NEW = """
model_name: tiny-llama-1.1b
train:
  global_batch_size: 512
  lr_warmup_steps: 2000
  epochs:
  max_tokens: 3000000000000
  max_seq_length: 2048
  min_lr: 4.0e-05
optimizer:
  class_path: torch.optim.AdamW
  init_args:
    lr: 4e-4
    weight_decay: 0.1
    betas:
      - 0.9
      - 0.95
"""


@pytest.mark.parametrize("text", [OLD, NEW], ids=["old", "new"])
def test_reads_both_generations_of_files(text: str) -> None:
    """The same run before and after the optimizer got its own keys."""
    config = read(FRAMEWORKS["litgpt"](), text)
    assert (config.peak_lr, config.weight_decay, config.betas) == (4e-4, 0.1, (0.9, 0.95))
    assert (config.batch_size, config.sequence_length, config.warmup_steps) == (512, 2048, 2000)
    assert config.total_steps == pytest.approx(3e12 / (512 * 2048))
    assert config.final_lr_fraction == pytest.approx(0.1)
    assert {finding.code for finding in config.findings} == ({"removed-key"} if text == OLD else set())


@pytest.mark.parametrize(
    ("text", "code", "severity"),
    [
        ("train: {learning_rate: 4.0e-4}\n", "removed-key", "warning"),
        ("train: {lr_warmup_fraction: 0.1}\n", "refused-value", "error"),
        ("optimizer: {init_args: {lr: 1.0e-3}}\n", "refused-value", "error"),
    ],
)
def test_what_the_installed_release_refuses(text: str, code: str, severity: str, tmp_path: Path) -> None:
    """What the findings say is so."""
    with pytest.raises((SystemExit, ValueError, KeyError)):
        library().build(parsed(text, tmp_path).optimizer, [torch.nn.Parameter(torch.ones(1))])
    assert (code, severity) in [(f.code, f.severity) for f in read(FRAMEWORKS["litgpt"](), text).findings]


def test_steps_are_not_looked_at_and_a_fraction_is_of_an_epoch(tmp_path: Path) -> None:
    """What the findings say is so; max_steps raises no more than a warning."""
    given = parsed("train: {max_steps: 50, lr_warmup_steps: 10}\n", tmp_path)
    with pytest.warns(UserWarning, match="max_steps"):
        library().pretrain.validate_args(given.train, given.eval, None, False)
    codes = [finding.code for finding in read(FRAMEWORKS["litgpt"](), "train: {max_steps: 50}\n").findings]
    assert codes == ["ignored-key"]
    text = "train: {lr_warmup_fraction: 0.1, lr_warmup_steps: 0}\n"
    train = parsed(text, tmp_path).train
    assert train.warmup_iters(1, 1, 10_000, range(300)) == 30
    config = read(FRAMEWORKS["litgpt"](), text)
    assert config.warmup_fraction == 0.1
    assert [finding.code for finding in config.findings] == ["fraction-of-an-epoch"]
