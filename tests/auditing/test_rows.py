"""Finetuning: batches of rows that are not packed, of completions, of adapters."""

import ast
import importlib.util
from collections.abc import Sized
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from adamw_scale import audit
from adamw_scale.auditing import Audit
from adamw_scale.errors import SpecError


class Finetuning(NamedTuple):
    """A config whose batch is 64 sequences on 8 devices, over 2 epochs; what packs it, and what makes it LoRA."""

    framework: str
    text: str
    suffix: str
    packing: str
    lora: str


AXOLOTL = """base_model: some/model
sequence_len: 2048
micro_batch_size: 2
gradient_accumulation_steps: 4
num_epochs: 2
learning_rate: 2e-5
weight_decay: 0.1
lr_scheduler: cosine
warmup_steps: 10
#
"""
TUNE = """model:
  _component_: torchtune.models.llama3_1.llama3_1_8b
tokenizer:
  max_seq_len: 2048
dataset:
  _component_: torchtune.datasets.alpaca_dataset
  packed: False
batch_size: 2
gradient_accumulation_steps: 4
epochs: 2
optimizer:
  _component_: torch.optim.AdamW
  lr: 2e-5
  weight_decay: 0.1
lr_scheduler:
  _component_: torchtune.training.lr_schedulers.get_cosine_schedule_with_warmup
  num_warmup_steps: 10
"""
AUTOMODEL = """recipe: TrainFinetuneRecipeForNextTokenPrediction
step_scheduler:
  global_batch_size: 64
  num_epochs: 2
packed_sequence:
  packed_sequence_size: 0
optimizer:
  _target_: torch.optim.AdamW
  lr: 2e-5
  weight_decay: 0.1
lr_scheduler:
  lr_decay_style: cosine
  lr_warmup_steps: 10
"""
FOUNDRY = """max_seq_len: 2048
max_duration: 2ep
global_train_batch_size: 64
model:
  name: hf_causal_lm
  #
train_loader:
  name: finetuning
  dataset:
    max_seq_len: 2048
optimizer:
  name: decoupled_adamw
  lr: 2e-5
  weight_decay: 2e-6
scheduler:
  name: cosine_with_warmup
  t_warmup: 10ba
"""
SFT = """from trl import SFTConfig, SFTTrainer
args = SFTConfig(output_dir="out", learning_rate=2e-5, weight_decay=0.1, per_device_train_batch_size=2,
    gradient_accumulation_steps=4, num_train_epochs=2, max_length=2048, lr_scheduler_type="cosine")
trainer = SFTTrainer("some/model", args)
"""
FACTORY = """model_name_or_path: some/model
stage: sft
finetuning_type: full
cutoff_len: 2048
packing: false
per_device_train_batch_size: 2
gradient_accumulation_steps: 4
num_train_epochs: 2
learning_rate: 2e-5
weight_decay: 0.1
lr_scheduler_type: cosine
output_dir: out
"""
LITGPT = """checkpoint_dir: checkpoints/some/model
train:
  epochs: 2
  global_batch_size: 64
  max_seq_length: 2048
  lr_warmup_steps: 10
optimizer:
  class_path: torch.optim.AdamW
  init_args:
    lr: 2e-5
    weight_decay: 0.1
"""
FAMILIES = {
    "axolotl": Finetuning("axolotl", AXOLOTL, ".yaml", "#>sample_packing: true", "#>adapter: qlora"),
    "torchtune": Finetuning("torchtune", TUNE, ".yaml", "packed: False>packed: True", ".llama3_1_8b>.lora_llama3_1_8b"),
    "torchtune-keys": Finetuning(
        "torchtune", TUNE, ".yaml", "packed: False>packed: True", ".llama3_1_8b>.llama3_1_8b\n  lora_rank: 8"
    ),
    "automodel": Finetuning(
        "nemo-automodel", AUTOMODEL, ".yaml", "_size: 0>_size: 2048", "optimizer:>peft:\n  dim: 8\noptimizer:"
    ),
    "foundry": Finetuning(
        "llm-foundry", FOUNDRY, ".yaml", "  dataset:>  dataset:\n    packing_ratio: auto", "#>peft_config: {r: 8}"
    ),
    "trl": Finetuning(
        "trl", SFT, ".py", "max_length>packing=True, max_length", "args)>args, peft_config=LoraConfig())"
    ),
    "trainer": Finetuning("huggingface", FACTORY, ".yaml", "packing: false>packing: true", "_type: full>_type: lora"),
    "litgpt": Finetuning("litgpt", LITGPT, ".yaml", "", "train:>lora_r: 8\ntrain:"),
}


def audited(family: str, change: str = "", **said: Any) -> Audit:
    """The audit of a family's config with "this>that" changed in it."""
    config = FAMILIES[family]
    this, _, that = change.partition(">")
    assert this in config.text
    text = config.text.replace(this, that, 1) if change else config.text
    return audit(text, config.framework, suffix=config.suffix, devices=8, **said)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_of_rows_that_are_not_packed_asks_for_rows(family: str) -> None:
    """Not for tokens, of which a row has as many as it has; with rows the run is known."""
    found = audited(family)
    assert found.run is None
    assert list(found.asks) == ["--samples"]
    assert "rows of the data set" in found.asks["--samples"]
    run = audited(family, samples=6400).run
    assert run is not None
    assert (run.task, run.unit, run.batch_size, run.total_steps) == ("finetuning", "samples", 64, 200)


@pytest.mark.parametrize("family", FAMILIES)
def test_tokens_need_the_length_of_a_row(family: str) -> None:
    """That of a full sequence is never taken for it."""
    found = audited(family, tokens="6.4M")
    assert (found.run, list(found.asks)) == (None, ["--sequence-length"])
    run = audited(family, tokens="6.4M", sequence_length=500).run
    assert run is not None
    assert (run.unit, run.batch_size, run.total_steps) == ("tokens", 32000, 400)


@pytest.mark.parametrize("family", [family for family, config in FAMILIES.items() if config.packing])
def test_packed_rows_are_full_sequences(family: str) -> None:
    """Of tokens."""
    assert list(audited(family, FAMILIES[family].packing).asks) == ["--tokens"]
    run = audited(family, FAMILIES[family].packing, tokens=64 * 2048 * 100).run
    assert run is not None
    assert (run.unit, run.batch_size, run.total_steps) == ("tokens", 64 * 2048, 200)


@pytest.mark.parametrize("family", FAMILIES)
def test_lora_is_recognised_and_frozen_tensors_have_no_row(family: str) -> None:
    """Only adapters are trained, which are matrices."""
    full, lora = audited(family, samples=6400), audited(family, FAMILIES[family].lora, samples=6400)
    assert [group.group for group in full.groups] == ["hidden", "embedding", "output", "norm-and-bias"]
    assert [group.group for group in lora.groups] == ["hidden"]
    assert lora.run is not None
    assert (lora.run.task, lora.run.unit, lora.run.total_steps) == ("lora", "samples", 200)


def test_where_text_was_lost_packing_is_not_by_default() -> None:
    """Then either may be meant."""
    assert "--tokens or --samples" in audited("trl", "max_length>**more, max_length").asks


def repeat_sampler() -> Any:
    """The sampler of TRL's GRPO and RLOO trainers, by its source: its module imports more than TRL needs."""
    found = importlib.util.find_spec("trl")
    if found is None or found.origin is None:
        pytest.skip("trl is not installed")
    source = (Path(found.origin).parent / "trainer" / "utils.py").read_text()
    (written,) = (each for each in ast.parse(source).body if getattr(each, "name", None) == "RepeatSampler")
    names: dict[str, Any] = {"torch": torch, "Sampler": torch.utils.data.Sampler, "Sized": Sized}
    exec(ast.unparse(written), names)
    return names["RepeatSampler"]


@pytest.mark.parametrize(
    ("arguments", "devices", "steps"),
    [
        ("", 8, 500),
        (", num_generations=16", 8, 1000),
        (", num_generations=16, num_iterations=2", 8, 2000),
        (", num_generations=16, num_iterations=2", 1, 16000),
        (", num_generations=4, steps_per_generation=8", 2, 1000),
    ],
)
def test_a_batch_of_grpo_is_of_completions(arguments: str, devices: int, steps: int) -> None:
    """Steps of an epoch of 8000 prompts, as many as the trainer's own sampler makes."""
    sampler_class = repeat_sampler()
    text = f"""from trl import GRPOConfig
args = GRPOConfig(output_dir="out", learning_rate=1e-6, weight_decay=0.1, per_device_train_batch_size=4,
    gradient_accumulation_steps=4, num_train_epochs=1, lr_scheduler_type="constant"{arguments})
"""
    found = audit(text, suffix=".py", devices=devices, samples=8000)
    assert found.run is not None
    assert found.run.total_steps == steps
    assert "completions" in [finding.code for finding in found.findings]
    given = {"num_generations": 8, "num_iterations": 1, "steps_per_generation": 4} | eval(f"dict({arguments[2:]})")
    of_a_generation = 4 * devices * given["steps_per_generation"]
    sampler = sampler_class(
        list(range(8000)),
        mini_repeat_count=given["num_generations"],
        batch_size=of_a_generation // given["num_generations"],
        repeat_count=given["num_iterations"] * given["steps_per_generation"],
    )
    assert len(sampler) / of_a_generation / 4 == steps


def test_generations_by_default_are_the_librarys() -> None:
    """Of GRPO and of RLOO, marked as a default; where text was lost they are not known, nor is the batch."""
    trl = pytest.importorskip("trl")
    for name in ("GRPOConfig", "RLOOConfig"):
        text = f"from trl import {name}\nargs = {name}('out', learning_rate=1e-6, weight_decay=0.1)\n"
        found = audit(text, suffix=".py")
        (repeats,) = (value for value in found.values if value.field == "repeats")
        default = getattr(trl, name).__dataclass_fields__["num_generations"].default
        assert (repeats.value, repeats.origin, repeats.of) == (default, "default", "TRL")
        assert f"{default:g} of them for each row" in found.asks["--devices"]
    text = "from trl import GRPOConfig\nargs = GRPOConfig('out', per_device_train_batch_size=4, **more)\n"
    lost = audit(f"{text}", suffix=".py", devices=8)
    assert "--batch-size" in lost.asks
    assert ("repeats", "unknown") in [(value.field, value.origin) for value in lost.values]


def test_a_run_in_tokens_of_rows_is_refused_without_their_length() -> None:
    """Whatever else is said."""
    with pytest.raises(SpecError):
        audited("axolotl", tokens="1M", samples=1000)
    assert audited("axolotl", tokens="1M", epochs=1).run is None
