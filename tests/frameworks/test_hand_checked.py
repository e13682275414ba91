"""What a check of 100 public configs by hand found wrong or invented, each kind once (tests/auditing/hand_checked.csv).

The values are those of the frameworks' own source at the commits of that table.
"""

import csv
from collections import Counter
from pathlib import Path

import pytest
from walking import read

from adamw_scale.errors import SpecError
from adamw_scale.formats import parse
from adamw_scale.frameworks import FRAMEWORKS
from adamw_scale.frameworks.config import Config
from adamw_scale.frameworks.recognition import recognized


def of(framework: str, text: str) -> Config:
    """What a framework reads in a text."""
    return read(FRAMEWORKS[framework](), text)


def test_the_record_is_what_is_said_of_it() -> None:
    """In examples/benchmarks/README.md."""
    with (Path(__file__).parents[1] / "auditing/hand_checked.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert Counter(row["verdict"] for row in rows) == {"right": 49, "mended": 39, "refused": 10, "open": 2}
    assert len({(row["repository"], row["path"]) for row in rows}) == 100
    assert all(bool(row["wrong"]) == (row["verdict"] != "right") and row["family"] in FRAMEWORKS for row in rows)


OWN_SCRIPT = "deepspeed train.py --num_train_epochs 2.0 --gradient_accumulation_steps 1 --learning_rate 3e-5 {}\n"


@pytest.mark.parametrize("more", ["--deepspeed --deepspeed_config ds.json", "--train_batch_size 3"])
def test_a_script_with_arguments_that_the_trainer_refuses_is_none_of_its(more: str) -> None:
    """Its weight decay of 0 and its schedule would be invented (BingBertSquad, DeepSpeed-SuperOffload)."""
    with pytest.raises(SpecError, match=r"cannot be told|not read here"):
        recognized(parse(OWN_SCRIPT.format(more)))
    with_batch = f"{more} --per_device_train_batch_size 3 --lr_scheduler_type cosine"
    assert recognized(parse(OWN_SCRIPT.format(with_batch))) == "huggingface"


def test_a_parser_of_arguments_is_no_config_of_nanogpt() -> None:
    """Megatron's declares lr_decay_iters and min_lr too, and none of nanoGPT's numbers are its."""
    text = "\n".join(
        f"parser.add_argument('--{name}', type=float, default=None)"
        for name in ("lr-decay-style", "lr-decay-iters", "min-lr", "weight-decay", "train-iters")
    )
    with pytest.raises(SpecError, match="cannot be told"):
        recognized(parse(f"import argparse\nparser = argparse.ArgumentParser()\n{text}\n"))


def test_a_platforms_yaml_has_the_config_inside() -> None:
    """The defaults of DecoupledAdamW were said of a file whose `parameters` say all."""
    text = """
parameters:
  max_seq_len: 4096
  train_loader: {name: finetuning, dataset: {max_seq_len: 4096}}
  optimizer: {name: decoupled_lionw, lr: 5.0e-7, betas: [0.9, 0.95], weight_decay: 0.0}
  scheduler: {name: cosine_with_warmup, t_warmup: 100ba, alpha_f: 0.1}
  max_duration: 1ep
  global_train_batch_size: 64
"""
    config = of("llm-foundry", text)
    assert (config.optimizer, config.peak_lr, config.weight_decay) == ("decoupled_lionw", 5e-7, 0)
    assert (config.schedule, config.warmup_steps, config.batch_size, config.task) == ("cosine", 100, 64, "finetuning")


def test_quantized_litgpt_trains_with_bitsandbytes() -> None:
    """instantiate_bnb_optimizer puts PagedAdamW in the place of the class that is written."""
    text = "quantize: {}\nlora_r: 16\ntrain: {{epochs: 2}}\noptimizer: {{class_path: torch.optim.AdamW}}\n"
    assert of("litgpt", text.format("bnb.nf4")).convention == "bitsandbytes"
    assert of("litgpt", text.format("null")).convention == "pytorch"


@pytest.mark.parametrize(
    ("framework", "text"),
    [
        ("axolotl", "base_model: x\nlearning_rate: 1e-4\nsample_packing: false\n"),
        ("torchtune", "optimizer: {_component_: torch.optim.AdamW, lr: 1e-5}\ndataset: {packed: false}\n"),
        (
            "nemo-automodel",
            "recipe: TrainFinetune\noptimizer: {lr: 1e-5}\npacked_sequence: {packed_sequence_size: 0}\n",
        ),
        ("huggingface", "model_name_or_path: x\nlearning_rate: 1e-5\npacking: false\n"),
    ],
)
def test_what_is_written_is_not_said_to_be_a_default(framework: str, text: str) -> None:
    """Rows that are not packed, as the file says."""
    config = of(framework, text)
    assert (config.packed, "packed" in config.defaults) == (False, False)


@pytest.mark.parametrize(
    ("framework", "text", "fields"),
    [
        ("deepspeed", '{"optimizer": {"type": "Adam", "params": {"lr": 1e-4, "weight_decay": 0.1}}}', {"betas", "eps"}),
        (
            "torchtitan",
            "from torchtitan.components.optimizer import default_adamw\noptimizer = default_adamw(lr=1e-6)\n",
            {"betas", "eps", "weight_decay"},
        ),
    ],
)
def test_a_default_is_said_to_be_one(framework: str, text: str, fields: set[str]) -> None:
    """Betas and epsilon that are not written."""
    assert fields <= set(of(framework, text).defaults)


@pytest.mark.parametrize(
    ("framework", "text", "task"),
    [
        ("gpt-neox", "finetune: true\noptimizer: {type: Adam, params: {lr: 1.0e-5}}\n", "finetuning"),
        ("levanter", "model_name_or_path: x\noptimizer: {learning_rate: 1e-5}\n", "finetuning"),
        ("levanter", "lora: {r: 8}\ninitialize_from_hf: x\noptimizer: {learning_rate: 1e-5}\n", "lora"),
        ("levanter", "initialize_from_hf: false\noptimizer: {learning_rate: 1e-5}\n", None),
        ("nanogpt", "init_from = 'gpt2-xl'\nlearning_rate = 3e-5\ndecay_lr = False\n", "finetuning"),
        ("nemo-automodel", "model: {_target_: x.AutoModel.from_pretrained}\noptimizer: {lr: 1e-5}\n", "finetuning"),
        ("llama-factory", "model_name_or_path: x\nfinetuning_type: oft\nlearning_rate: 1e-5\n", "lora"),
        ("huggingface", "python t.py --model_name_or_path ./checkpoints/$MODEL --learning_rate 1e-5\n", "finetuning"),
    ],
)
def test_weights_that_are_started_from_make_a_finetuning(framework: str, text: str, task: str | None) -> None:
    """Adapters leave them as they are."""
    assert of(framework, text).task == task


def test_megatrons_warmup_is_a_part_of_a_run_of_unknown_length() -> None:
    """Its tasks count epochs, and the fraction was lost."""
    text = "--lr 5e-5 --lr-decay-style linear --lr-warmup-fraction 0.065 --weight-decay 0.1 --micro-batch-size 8"
    assert of("megatron", f"torchrun x.py {text}\n").warmup_fraction == 0.065


def test_megatron_core_without_a_scheduler_has_none() -> None:
    """And nothing fails at its start for want of what the scheduler of Megatron-Bridge would need."""
    text = """
from megatron.core.optimizer import OptimizerConfig, get_megatron_optimizer
config = OptimizerConfig(optimizer="adam", lr=0.01, weight_decay=0.01)
"""
    config = of("megatron-bridge", text)
    assert (config.peak_lr, config.schedule, config.final_lr_fraction, config.findings) == (0.01, None, None, ())
    assert "schedule" not in config.defaults


def test_a_trainer_elsewhere_is_refused() -> None:
    """Hatchery's has another epsilon and no schedule."""
    with pytest.raises(SpecError, match="Hatchery"):
        of("axolotl", "plugins: [axolotl.integrations.hatchery.HatcheryPlugin]\nlearning_rate: 5.0e-5\n")


TITAN = "from torchtitan.components.optimizer import default_adamw\noptimizer = default_adamw(lr=1e-6)\n"


def test_rollouts_have_lengths_of_their_own() -> None:
    """The controller of torchtitan's RL counts steps, and TrainingConfig's default of 10,000 is not used."""
    text = f"{TITAN}trainer = PolicyTrainer.Config(optimizer=optimizer, training=TrainingConfig())\n"
    config = of("torchtitan", text)
    assert (config.total_steps, config.sequence_length, config.per_device_batch_size) == (None, None, None)
    assert "total_steps" not in config.defaults


def test_torchtitans_batches_in_tokens() -> None:
    """Keys of its main branch (b5bcd76), where 0.3 has sequences."""
    batch = "num_tokens_per_microbatch_per_dp_rank=2 * 8192, max_context_length=8192"
    config = of("torchtitan", f"{TITAN}training = TrainingConfig({batch}, steps=3000)\n")
    assert (config.sequence_length, config.per_device_batch_size, config.total_steps) == (8192, 2, 3000)
    assert not {"sequence_length", "per_device_batch_size"} & set(config.defaults)
    in_all = of("torchtitan", f"{TITAN}training = TrainingConfig(num_tokens_per_train_step=2**20, {batch})\n")
    assert in_all.global_batch == 128


def test_optimizers_of_several_functions_are_asked_about() -> None:
    """Groups of several configs were read as one."""
    one = "def {}():\n    return OptimizersContainer.Config(param_groups=[ParamGroupConfig(pattern='{}')])\n"
    with pytest.raises(SpecError, match="2 optimizers are in this file, of a in line 2, b in line 4"):
        of("torchtitan", one.format("a", "norm") + one.format("b", ".*"))


SWIFT = "NPROC_PER_NODE=8 \\\nswift rlhf --rlhf_type {} --model m --dataset d --per_device_train_batch_size 4 {}\n"


def test_swift_counts_completions_of_grpo() -> None:
    """Several of each prompt, so that an epoch has as many times the steps."""
    config = of("ms-swift", SWIFT.format("grpo", "--gradient_accumulation_steps 8"))
    assert (config.repeats, config.global_batch) == (8, 4 * 8 * 8 / 8)
    assert of("ms-swift", SWIFT.format("dpo", "--num_generations 8")).repeats is None


def test_swift_takes_its_processes_from_the_environment() -> None:
    """A sequence that is shared is one; a number of nodes in a variable is none."""
    config = of("ms-swift", SWIFT.format("dpo", "--sequence_parallel_size 4"))
    assert (config.devices, config.accumulation) == (2, 1)
    assert of("ms-swift", f"NNODES=$N \\\n{SWIFT.format('dpo', '')}").devices is None


NANOTRON = """
optimizer:
  weight_decay: 0.01
  optimizer_factory: {{name: {}, adam_beta1: 0.9, adam_beta2: 0.95, adam_eps: 1.0e-8}}
  learning_rate_scheduler: {{learning_rate: 3.0e-4, lr_warmup_steps: 20, min_decay_lr: 3.0e-5, {}}}
tokens: {{micro_batch_size: 2, batch_accumulation_per_replica: 1, sequence_length: 1024, train_steps: 200}}
parallelism: {{dp: 1}}
"""


@pytest.mark.parametrize(
    ("schedule", "points"),
    [
        ("lr_decay_style: linear, lr_decay_steps: 80", {0.05: 0.5, 0.3: 0.55, 0.5: 0.1, 0.9: 0.1}),
        ("lr_decay_style: linear, lr_decay_steps: 360", {0.1: 1.0, 1.0: 0.55}),
        ("lr_decay_style: linear, lr_warmup_style: constant", {0.0: 1.0, 0.1: 1.0, 0.55: 0.55, 1.0: 0.1}),
    ],
)
def test_nanotrons_fall_ends_where_it_does(schedule: str, points: dict[float, float]) -> None:
    """It stays at min_decay_lr, or is cut off; a constant warm-up is at the peak (lr_scheduler_builder)."""
    given = of("nanotron", NANOTRON.format("adamW", schedule)).lr_schedule
    for progress, multiplier in points.items():
        assert given.multiplier(progress) == pytest.approx(multiplier, abs=1e-6), progress


def test_nanotrons_sgd_is_refused() -> None:
    """By its name; and muP's learning rates of each matrix are said."""
    with pytest.raises(SpecError, match="sgd"):
        of("nanotron", NANOTRON.format("sgd", "lr_decay_style: linear"))
    text = NANOTRON.format("adamW", "lr_decay_style: linear") + "model: {init_method: {use_mup: true}}\n"
    assert [each.code for each in of("nanotron", text).findings] == ["mup"]


def test_neoxs_cosine_rises_again() -> None:
    """Past lr_decay_iters nothing holds it at min_lr; a longer one is cut off."""
    text = "optimizer: {{params: {{lr: 0.0006}}}}\nlr_decay_style: cosine\ntrain_iters: 1000\nlr_decay_iters: {}\n"
    short = of("gpt-neox", text.format(500) + "weight_decay: 0.1\nwarmup: 0\n")
    assert [(each.code, each.severity) for each in short.findings] == [("rises-again", "error")]
    long = of("gpt-neox", text.format(2000) + "weight_decay: 0.1\nwarmup: 0\n")
    assert [each.code for each in long.findings] == ["other-end"]
    assert long.lr_schedule.final == pytest.approx(0.5)


def test_a_vision_models_sequence_is_the_whole_one() -> None:
    """Megatron's MIMO has the length of its encoder beside that of the data."""
    text = "torchrun train.py --lr 1e-2 --lr-decay-style cosine --train-iters 2200 --micro-batch-size 4"
    config = of("megatron", f"{text} --encoder-seq-length 4096 --total-seq-length 2048\n")
    assert config.sequence_length == 2048
