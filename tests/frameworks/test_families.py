"""Families of public configs that are tables: what is read of them, with the defaults that their sources state."""

import pytest
from walking import advice, read

from adamw_scale.auditing import audit
from adamw_scale.errors import SpecError
from adamw_scale.formats import parse
from adamw_scale.frameworks import FRAMEWORKS
from adamw_scale.frameworks.config import Config
from adamw_scale.frameworks.emission import emit
from adamw_scale.frameworks.recognition import recognized

LLAMA_FACTORY = """
model_name_or_path: Qwen/Qwen3-4B
stage: sft
finetuning_type: full
template: qwen3
cutoff_len: 2048
output_dir: saves/qwen3
per_device_train_batch_size: 1
gradient_accumulation_steps: 2
learning_rate: 1.0e-5
num_train_epochs: 3.0
lr_scheduler_type: cosine
warmup_ratio: 0.1
"""


def found(framework: str, text: str) -> Config:
    """What a text says, once it is recognised as the framework's."""
    assert recognized(parse(text)) == framework
    return read(FRAMEWORKS[framework](), text)


def codes(config: Config) -> list[str]:
    """Of its findings."""
    return [finding.code for finding in config.findings]


class TestLLaMAFactory:
    """The Trainer's arguments under LLaMA-Factory's rules (llamafactory 0.9.5)."""

    def test_a_config(self) -> None:
        """The Trainer's weight decay is 0 by default."""
        config = found("llama-factory", LLAMA_FACTORY)
        assert (config.peak_lr, config.weight_decay, config.epochs) == (1e-5, 0.0, 3)
        assert (config.per_device_batch_size, config.accumulation, config.sequence_length) == (1, 2, 2048)
        assert (config.schedule, config.warmup_fraction, config.task) == ("cosine", 0.1, "finetuning")
        assert "weight_decay" in config.defaults
        assert "peak_lr" not in config.defaults

    @pytest.mark.parametrize(
        ("changes", "task"),
        [("", "lora"), ("finetuning_type: lora\n", "lora"), ("finetuning_type: full\nstage: pt\n", "pretraining")],
    )
    def test_tasks(self, changes: str, task: str) -> None:
        """LoRA is what it does if nothing is said."""
        text = LLAMA_FACTORY.replace("finetuning_type: full\n", "").replace("stage: sft\n", "") + changes
        assert found("llama-factory", text).task == task

    @pytest.mark.parametrize("switch", ["use_galore", "use_apollo", "use_badam", "use_adam_mini"])
    def test_other_optimizers_are_refused(self, switch: str) -> None:
        """No number is said of an optimizer whose decay is not known."""
        with pytest.raises(SpecError, match=f"{switch} = true"):
            found("llama-factory", f"{LLAMA_FACTORY}{switch}: true\n")
        assert found("llama-factory", f"{LLAMA_FACTORY}{switch}: false\n").peak_lr == 1e-5

    def test_muon_decays_everything(self) -> None:
        """Its Muon multiplies every tensor by 1 - lr * weight_decay."""
        config = found("llama-factory", f"{LLAMA_FACTORY}use_muon: true\nweight_decay: 0.1\n")
        assert {group.weight_decay for group in config.groups} == {0.1}
        assert (config.optimizer, config.convention) == ("muon", "pytorch")
        assert "muon-decays-all" in codes(config)

    def test_loraplus_is_said(self) -> None:
        """lora_B has a learning rate of its own."""
        config = found("llama-factory", f"{LLAMA_FACTORY}loraplus_lr_ratio: 16.0\n")
        assert "loraplus" in codes(config)
        assert any("16.0 times" in each.message for each in config.findings)

    def test_its_fall_starts_after_a_third(self) -> None:
        """create_custom_scheduler: a third is stable, the rest falls, whichever of both is not given."""
        text = f"{LLAMA_FACTORY}max_steps: 1000\n".replace("type: cosine", "type: warmup_stable_decay")
        config = found("llama-factory", text)
        assert (config.decay_steps, "decay_steps" in config.defaults) == (600, True)
        early = found("llama-factory", f"{text}lr_scheduler_kwargs: {{num_decay_steps: 100}}\n")
        assert "other-end" in codes(early)


class TestMSSwift:
    """The Trainer's arguments with ms-swift's defaults (ms-swift 4.6.0)."""

    LAUNCH = "CUDA_VISIBLE_DEVICES=0 swift sft \\\n  --model Qwen/Qwen3-4B --dataset data.jsonl {} --output_dir out\n"

    def test_defaults_are_those_of_its_source(self) -> None:
        """trainers/arguments.py and arguments/sft_args.py; LoRA unless said otherwise."""
        config = found("ms-swift", self.LAUNCH.format("--max_length 2048"))
        assert (config.peak_lr, config.weight_decay, config.betas) == (1e-4, 0.1, (0.9, 0.95))
        assert (config.schedule, config.task, config.epochs) == ("cosine", "lora", 3)
        assert {"peak_lr", "weight_decay", "betas", "schedule", "epochs"} <= set(config.defaults)
        assert config.accumulation is None

    @pytest.mark.parametrize("name", ["tuner_type", "train_type"])
    def test_all_weights(self, name: str) -> None:
        """A tenth of LoRA's learning rate."""
        config = found("ms-swift", self.LAUNCH.format(f"--{name} full"))
        assert (config.peak_lr, config.task) == (1e-5, "finetuning")

    def test_what_is_written_goes_before_defaults(self) -> None:
        """And its warm-up as a fraction is no removed key, as it is translated."""
        text = "--tuner_type lora --learning_rate 2e-4 --weight_decay 0.05 --warmup_ratio 0.05"
        config = found("ms-swift", self.LAUNCH.format(f"{text} --lr_scheduler_type linear"))
        assert (config.peak_lr, config.weight_decay, config.warmup_fraction) == (2e-4, 0.05, 0.05)
        assert (config.schedule, config.findings) == ("linear", ())

    @pytest.mark.parametrize("switch", ["--optimizer muon", "--use_galore true", "--lorap_lr_ratio 10"])
    def test_other_optimizers_are_refused(self, switch: str) -> None:
        """Its plugins are no AdamW that is known here."""
        with pytest.raises(SpecError, match="no AdamW"):
            found("ms-swift", self.LAUNCH.format(switch))


class TestMegatronSwift:
    """Arguments of `megatron sft` (ms-swift 4.6.0)."""

    LAUNCH = (
        "NPROC_PER_NODE=8 \\\nmegatron {} \\\n  --model m --dataset d --max_length 4096 --lr_warmup_fraction 0.05 {}\n"
    )

    def test_defaults_are_those_of_its_source(self) -> None:
        """Not Megatron-LM's: 0.1, 0.95, a cosine, and all weights."""
        config = found("megatron-swift", self.LAUNCH.format("sft", "--num_train_epochs 2"))
        assert (config.peak_lr, config.weight_decay, config.betas) == (1e-5, 0.1, (0.9, 0.95))
        assert (config.schedule, config.final_lr_fraction, config.warmup_fraction) == ("cosine", 0, 0.05)
        assert (config.global_batch, config.epochs, config.task, config.packed) == (16, 2, "finetuning", False)
        filled = {"peak_lr", "weight_decay", "betas", "schedule", "batch_size", "final_lr_fraction", "packed"}
        assert filled <= set(config.defaults)
        assert config.group("norm-and-bias").weight_decay == 0

    def test_epochs_go_before_iterations(self) -> None:
        """init_iters computes them anew."""
        config = found("megatron-swift", self.LAUNCH.format("sft", "--num_train_epochs 2 --train_iters 100"))
        assert (config.epochs, config.total_steps) == (2, None)
        assert found("megatron-swift", self.LAUNCH.format("sft", "--train_iters 100")).total_steps == 100

    @pytest.mark.parametrize("more", ["--tuner_type lora", "--train_type lora", "--adapters a"])
    def test_lora(self, more: str) -> None:
        """Ten times the learning rate."""
        config = found("megatron-swift", self.LAUNCH.format("sft", more))
        assert (config.task, config.peak_lr) == ("lora", 1e-4)

    def test_grpo_counts_completions(self) -> None:
        """As many steps for each prompt."""
        config = found("megatron-swift", self.LAUNCH.format("rlhf", "--rlhf_type grpo --global_batch_size 128"))
        assert (config.repeats, config.global_batch) == (8, 16)
        assert "completions" in codes(config)

    def test_nothing_is_by_default_beside_arguments_that_are_not_known(self) -> None:
        """$MORE may say anything."""
        config = found("megatron-swift", self.LAUNCH.format("sft", "--lr 1e-5 $MORE"))
        assert {"weight_decay", "betas", "schedule"} <= set(config.unknown)
        assert config.defaults == ()


class TestDeepSpeedChat:
    """Launches of its steps 1 and 2 (DeepSpeedExamples 45b4b71)."""

    LAUNCH = (
        "deepspeed --num_gpus 4 main.py --model_name_or_path m --data_split 2,4,4 --zero_stage 2 --max_seq_len 512"
        " --num_train_epochs 4 --per_device_train_batch_size 8 --num_warmup_steps 100 {}\n"
    )

    def test_a_launch(self) -> None:
        """Betas of its code, no decay by default, and a cosine."""
        config = found("deepspeed-chat", self.LAUNCH.format("--learning_rate 9.65e-6"))
        assert (config.peak_lr, config.weight_decay, config.betas) == (9.65e-6, 0, (0.9, 0.95))
        assert (config.schedule, config.warmup_steps, config.epochs) == ("cosine", 100, 4)
        assert (config.global_batch, config.sequence_length, config.packed) == (32, 512, False)
        assert (config.task, config.convention) == ("finetuning", "deepspeed")
        assert {"weight_decay", "betas", "schedule", "accumulation"} <= set(config.defaults)

    def test_the_learning_rate_is_asked_for(self) -> None:
        """Its default is 1e-3 in one step and 5e-5 in another."""
        assert found("deepspeed-chat", self.LAUNCH.format("--weight_decay 0.1")).peak_lr is None

    def test_lora_has_a_learning_rate_of_its_own(self) -> None:
        """Of what adapts; embeddings and norms keep the other, unless LoRA is trained alone."""
        more = "--learning_rate 1e-3 --lora_dim 128 --weight_decay 0.1"
        config = found("deepspeed-chat", self.LAUNCH.format(more))
        assert (config.task, config.peak_lr) == ("lora", 1e-3)
        assert [config.group(name).lr_factor for name in ("hidden", "embedding")] == [0.5, 1]
        alone = found("deepspeed-chat", self.LAUNCH.format(f"{more} --only_optimize_lora"))
        assert (alone.peak_lr, alone.group("hidden").lr_factor) == (5e-4, 1)
        assert "peak_lr" in alone.defaults

    def test_rlhf_is_asked_about(self) -> None:
        """An actor and a critic, each with its optimizer."""
        more = "--actor_learning_rate 9.65e-6 --critic_learning_rate 5e-6 --actor_zero_stage 3"
        with pytest.raises(SpecError, match=r"actor \(lr 9.65e-6\), critic \(lr 5e-6\)"):
            found("deepspeed-chat", f"deepspeed main.py {more} --num_warmup_steps 100 --num_train_epochs 1\n")


class TestOpenRLHF:
    """Arguments of openrlhf.cli (0.11.2), and of older releases."""

    def test_a_launch(self) -> None:
        """Its decay is 0 by default, and it warms up over 3 % of the run."""
        text = "deepspeed --module openrlhf.cli.train_sft --adam.lr 5e-6 --train.batch_size 256 --train.max_epochs 2\n"
        config = found("openrlhf", text)
        assert (config.peak_lr, config.weight_decay, config.betas) == (5e-6, 0.0, (0.9, 0.95))
        assert (config.schedule, config.final_lr_fraction, config.warmup_fraction) == ("cosine", 0.1, 0.03)
        assert (config.batch_size, config.epochs, config.task) == (256, 2, "finetuning")
        assert {"weight_decay", "final_lr_fraction", "warmup_fraction"} <= set(config.defaults)

    def test_older_names(self) -> None:
        """--learning_rate and --l2."""
        text = "deepspeed --module openrlhf.cli.train_dpo --learning_rate 5e-7 --l2 0.01 --train_batch_size 128\n"
        config = found("openrlhf", text)
        assert (config.peak_lr, config.weight_decay, config.batch_size) == (5e-7, 0.01, 128)

    def test_a_floor_is_of_its_cosines_only(self) -> None:
        """min_lr_rate is passed to schedulers with min_lr in their name."""
        config = found("openrlhf", "deepspeed --module openrlhf.cli.train_sft --adam.lr 5e-6 --lr_scheduler linear\n")
        assert (config.schedule, config.final_lr_fraction) == ("linear", None)
        assert "final_lr_fraction" not in config.defaults

    @pytest.mark.parametrize("lrs", ["--actor.adam.lr 1e-6", "--actor_learning_rate 5e-7 --critic_learning_rate 9e-6"])
    def test_ppo_is_asked_about(self, lrs: str) -> None:
        """An actor and a critic, each with its optimizer."""
        with pytest.raises(SpecError, match="two optimizers are in this launch, actor"):
            found("openrlhf", f"python3 -m openrlhf.cli.train_ppo_ray {lrs}\n")

    def test_muon_is_refused(self) -> None:
        """DeepSpeed's Muon is no AdamW."""
        with pytest.raises(SpecError, match="muon"):
            found("openrlhf", "deepspeed --module openrlhf.cli.train_sft --adam.lr 5e-6 --optim muon\n")


class TestVerl:
    """Configs of verl's trainers (0.9.1)."""

    GRPO = """
algorithm: {adv_estimator: grpo}
data: {train_batch_size: 1024, max_prompt_length: 512}
actor_rollout_ref:
  actor:
    strategy: fsdp
    ppo_mini_batch_size: 256
    optim: {lr: 1.0e-06}
trainer: {total_epochs: 15}
"""

    def test_an_actor(self) -> None:
        """Everything decays with torch's 0.01; rollouts are no optimizer steps."""
        config = found("verl", self.GRPO)
        assert (config.peak_lr, config.schedule, config.warmup_fraction) == (1e-6, "constant", 0.0)
        assert {group.weight_decay for group in config.groups} == {0.01}
        assert "weight_decay" in config.defaults
        assert (config.total_steps, config.epochs, config.batch_size) == (None, None, None)

    def test_where_another_file_is_included_nothing_is_by_default(self) -> None:
        """Hydra's defaults may say anything."""
        config = found("verl", f"defaults: [ppo_trainer, _self_]\n{self.GRPO}")
        assert "weight_decay" in config.unknown
        assert config.defaults == ()

    def test_a_critic_is_asked_about(self) -> None:
        """Two optimizers, both listed."""
        text = self.GRPO.replace("grpo", "gae") + "critic: {optim: {lr: 1.0e-05}}\n"
        with pytest.raises(SpecError, match=r"actor.optim \(lr 1.0e-06\) and critic.optim \(lr 1.0e-05\)"):
            found("verl", text)

    def test_another_engine_is_refused(self) -> None:
        """Megatron's keys and defaults are others."""
        with pytest.raises(SpecError, match="strategy = megatron"):
            found("verl", self.GRPO.replace("fsdp", "megatron"))

    def test_it_is_not_written(self) -> None:
        """And says so."""
        with pytest.raises(SpecError, match="verl is read, and not written here"):
            emit("verl", advice("linear"))


class TestGPTNeoX:
    """Its YAML, with dashes or underscores (commit ea7aefd)."""

    TEXT = """
"pipe-parallel-size": 1
"optimizer": {"type": "Adam", "params": {"lr": 0.0006, "betas": [0.9, 0.95], "eps": 1.0e-8}}
"min-lr": 0.00006
"train_micro_batch_size_per_gpu": 4
"weight-decay": 0.1
"train-iters": 320000
"lr-decay-iters": 320000
"lr-decay-style": "cosine"
"warmup": 0.01
"seq-length": 2048
"""

    def test_a_config(self) -> None:
        """A cosine to min_lr."""
        config = found("gpt-neox", self.TEXT)
        assert (config.peak_lr, config.weight_decay, config.betas) == (6e-4, 0.1, (0.9, 0.95))
        assert (config.schedule, config.warmup_fraction, config.total_steps) == ("cosine", 0.01, 320_000)
        assert config.final_lr_fraction == pytest.approx(0.1)
        assert (config.convention, config.findings) == ("apex", ())

    def test_no_decay_is_said_where_none_is_written(self) -> None:
        """The default was 0.01 and is 0.1."""
        config = found("gpt-neox", self.TEXT.replace('"weight-decay": 0.1\n', ""))
        assert "weight_decay" in config.unknown

    def test_a_line_that_is_cut_off(self) -> None:
        """max(lr, min_lr): the line goes to 0 and stays at the floor once there."""
        schedule = found("gpt-neox", self.TEXT.replace("cosine", "linear")).lr_schedule
        assert schedule.multiplier(0.505) == pytest.approx(0.5)
        assert schedule.multiplier(0.95) == pytest.approx(0.1)

    def test_another_end_is_said(self) -> None:
        """A fall over other iterations than the run's."""
        assert codes(found("gpt-neox", self.TEXT.replace('iters": 320000', 'iters": 160000', 1))) == ["other-end"]


class TestNanotron:
    """Its YAML (0.4, and the repository's main)."""

    TEXT = """
optimizer:
  weight_decay: 0.01
  adam_beta1: 0.9
  adam_beta2: 0.95
  adam_eps: 1.0e-08
  learning_rate_scheduler:
    learning_rate: 5.0e-04
    lr_warmup_steps: 100
    lr_warmup_style: linear
    lr_decay_style: 1-sqrt
    lr_decay_starting_step: 800
    lr_decay_steps: 200
    min_decay_lr: 0
tokens: {micro_batch_size: 2, batch_accumulation_per_replica: 4, sequence_length: 2048, train_steps: 1000}
parallelism: {dp: 8, pp: 1, tp: 1}
"""

    def test_a_config(self) -> None:
        """Everything decays; the batch is that of all replicas."""
        config = found("nanotron", self.TEXT)
        assert (config.peak_lr, config.schedule, config.decay_steps) == (5e-4, "wsd-1-sqrt", 200)
        assert {group.weight_decay for group in config.groups} == {0.01}
        assert (config.global_batch, config.total_steps, config.defaults) == (64, 1000, ())

    def test_without_an_end_it_does_not_fall(self) -> None:
        """min_decay_lr is the peak if it is not given."""
        assert found("nanotron", self.TEXT.replace("    min_decay_lr: 0\n", "")).schedule == "constant"

    def test_patterns_spare_what_is_not_known(self) -> None:
        """Only of matrices the decay is certain."""
        line = "  weight_decay: 0.01\n"
        text = self.TEXT.replace(line, f"{line}  weight_decay_exclude_named_params: ['.*norm.*']\n")
        assert [group.group for group in found("nanotron", text).groups if group.known] == ["hidden"]

    def test_a_fall_that_ends_apart_is_said(self) -> None:
        """It ends before the run."""
        assert codes(found("nanotron", self.TEXT.replace("steps: 200", "steps: 100"))) == ["other-end"]


def test_sentence_transformers_are_the_trainers() -> None:
    """SentenceTransformerTrainingArguments extend TrainingArguments and change no default of these (6.2.0)."""
    text = """
from sentence_transformers import SentenceTransformerTrainingArguments
args = SentenceTransformerTrainingArguments(output_dir="m", per_device_train_batch_size=16, learning_rate=2e-5)
"""
    config = found("huggingface", text)
    assert (config.peak_lr, config.weight_decay, config.per_device_batch_size) == (2e-5, 0.0, 16)
    assert (config.schedule, config.epochs) == ("linear", 3)


class TestPaddleNLP:
    """Arguments of PaddleNLP's trainer and its llm scripts (paddlenlp 2.8.1)."""

    FINETUNING = """{
"model_name_or_path": "m", "dataset_name_or_path": "./data", "output_dir": "./sft",
"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4, "num_train_epochs": 3, "learning_rate": 3e-05,
"warmup_steps": 30, "src_length": 1024, "max_length": 2048, "fp16_opt_level": "O2", "recompute": true,
"tensor_parallel_degree": 4, "zero_padding": false, "unified_checkpoint": true
}
"""
    LAUNCH = (
        'python -u -m paddle.distributed.launch \\\n  --gpus "0,1,2,3,4,5,6,7" \\\n  run_pretrain.py --input_dir d'
        " --max_seq_length 2048 --per_device_train_batch_size 1 --gradient_accumulation_steps 2"
        " --tensor_parallel_degree 2 --learning_rate 3e-4 --weight_decay 0.1 --max_steps 5000 --warmup_ratio 0.01 {}\n"
    )

    def test_finetuning(self) -> None:
        """A line to 0, with Paddle's AdamW."""
        config = found("paddlenlp", self.FINETUNING)
        assert (config.peak_lr, config.weight_decay, config.convention) == (3e-5, 0, "paddle")
        assert (config.schedule, config.final_lr_fraction, config.warmup_steps) == ("linear", 0, 30)
        assert (config.task, config.packed, config.epochs, config.devices) == ("finetuning", False, 3, None)
        assert "weight_decay" in config.defaults
        assert found("paddlenlp", self.FINETUNING.replace('"recompute"', '"lora"')).task == "lora"

    def test_pretraining(self) -> None:
        """Its script ends at 1e-5 unless it is told; devices that share a model have one batch."""
        config = found("paddlenlp", self.LAUNCH.format("--lr_scheduler_type cosine"))
        assert (config.schedule, config.task, config.packed) == ("cosine", "pretraining", True)
        assert config.final_lr_fraction == pytest.approx(1e-5 / 3e-4)
        assert "final_lr_fraction" in config.defaults
        assert (config.global_batch, config.warmup_fraction) == (8, 0.01)
        assert config.group("norm-and-bias").weight_decay == 0

    def test_a_fall_that_ends_apart_is_said(self) -> None:
        """And warms up over a part of the run, not of the fall."""
        config = found("paddlenlp", self.LAUNCH.format("--decay_steps 4000 --min_learning_rate 3e-5"))
        assert (config.schedule_end, config.warmup_steps, codes(config)) == (4000, 50, ["other-end"])
        assert config.lr_schedule.multiplier(0.9) == pytest.approx(0.1)

    @pytest.mark.parametrize(
        ("more", "schedule", "end"),
        [
            ("--lr_scheduler_type polynomial", "linear", 1e-7 / 3e-4),
            ("--lr_scheduler_type polynomial --power 2 --lr_end 3e-5", "polynomial", 0.1),
            ("--lr_scheduler_type constant", "constant", None),
            ("--lr_scheduler_type cosine --num_cycles 1", None, 1e-5 / 3e-4),
        ],
    )
    def test_schedules(self, more: str, schedule: str | None, end: float | None) -> None:
        """Their options are arguments."""
        config = found("paddlenlp", self.LAUNCH.format(more))
        assert (config.schedule, config.final_lr_fraction) == (schedule, end and pytest.approx(end))

    def test_beside_a_file_nothing_is_by_default(self) -> None:
        """run_finetune.py FILE.json --more."""
        text = self.LAUNCH.replace("run_pretrain.py", "run_finetune.py ./sft.json").replace("--weight_decay 0.1", "")
        config = found("paddlenlp", text.format(""))
        assert "weight_decay" in config.unknown
        assert config.defaults == ()

    def test_python(self) -> None:
        """The Trainer's own class has the same name."""
        text = "from paddlenlp.trainer import TrainingArguments\nargs = TrainingArguments('o', learning_rate=1e-5)\n"
        assert (found("paddlenlp", text).peak_lr, found("paddlenlp", text).epochs) == (1e-5, 1)

    def test_other_optimizers_are_refused(self) -> None:
        """Adafactor, which its trainer knows by name alone."""
        with pytest.raises(SpecError, match="adafactor"):
            found("paddlenlp", self.LAUNCH.format("--optim adafactor"))


class TestDiffusers:
    """Launches of its example scripts."""

    LAUNCH = (
        "accelerate launch --num_processes 4 {} --learning_rate 1e-5 --train_batch_size 4 --max_train_steps 15000\n"
    )

    def test_a_launch(self) -> None:
        """1e-2 on everything, constant without a warm-up."""
        config = found("diffusers", self.LAUNCH.format("train_text_to_image.py"))
        assert (config.peak_lr, config.global_batch, config.total_steps) == (1e-5, 16, 15_000)
        assert {group.weight_decay for group in config.groups} == {1e-2}
        assert (config.schedule, config.warmup_steps) == ("constant", None)
        assert "weight_decay" in config.defaults

    def test_another_script_has_defaults_of_its_own(self) -> None:
        """So none is said."""
        assert "weight_decay" in found("diffusers", self.LAUNCH.format("train_dreambooth_flux.py")).unknown


class TestOpenCLIP:
    """Launches of open_clip_train.main."""

    LAUNCH = "torchrun --nproc_per_node 4 -m open_clip_train.main --model {} --batch-size 256 --lr 1e-3 --epochs 30\n"

    def test_defaults_hang_on_the_model(self) -> None:
        """params.py: a ViT has beta2 0.98 and epsilon 1e-6."""
        config = found("open-clip", self.LAUNCH.format("ViT-B-32"))
        assert (config.weight_decay, config.betas, config.eps) == (0.2, (0.9, 0.98), 1e-6)
        assert (config.warmup_steps, config.schedule, config.global_batch) == (10_000, "cosine", 1024)
        assert config.group("norm-and-bias").weight_decay == 0
        other = found("open-clip", self.LAUNCH.format("RN50"))
        assert (other.betas, other.eps) == ((0.9, 0.999), 1e-8)

    def test_optimizers_of_timm_are_refused(self) -> None:
        """--opt timm/..."""
        with pytest.raises(SpecError, match="timm/lamb"):
            found("open-clip", f"{self.LAUNCH.format('RN50').strip()} --opt timm/lamb\n")


class TestTorchVision:
    """Launches of references/classification/train.py (commit 017e9b9)."""

    LAUNCH = (
        "torchrun --nproc_per_node 8 train.py --epochs 300 --batch-size 512 --opt {} --lr 0.003 --wd 0.3"
        " --lr-scheduler cosineannealinglr --lr-warmup-method linear --lr-warmup-epochs 30 --label-smoothing 0.11\n"
    )

    def test_a_launch(self) -> None:
        """A cosine to 0 after a warm-up of 30 epochs; everything decays."""
        config = found("torchvision", self.LAUNCH.format("adamw"))
        assert (config.peak_lr, config.epochs, config.global_batch) == (0.003, 300, 4096)
        assert {group.weight_decay for group in config.groups} == {0.3}
        assert (config.schedule, config.warmup_fraction, config.findings) == ("cosine", 0.1, ())

    def test_sgd_is_refused(self) -> None:
        """Its default, whose decay is L2."""
        with pytest.raises(SpecError, match="opt = 'sgd'"):
            found("torchvision", self.LAUNCH.format("sgd"))

    def test_norms_of_their_own(self) -> None:
        """Biases are not normalization layers."""
        config = found("torchvision", f"{self.LAUNCH.format('adamw').strip()} --norm-weight-decay 0\n")
        assert not config.group("norm-and-bias").known


class TestBigVision:
    """Config files of big_vision."""

    CONFIG = """
import ml_collections as mlc
def get_config():
  {0} = mlc.ConfigDict()
  {0}.total_epochs = 90
  {0}.input = {{}}
  {0}.input.batch_size = 1024
  {0}.ckpt_steps = 1000
  {0}.optax_name = 'scale_by_adam'
  {0}.optax = dict(mu_dtype='bfloat16', b2=0.95)
  {0}.lr = 0.001
  {0}.wd = 0.0001
  {0}.schedule = dict(warmup_steps=10_000, decay_type='cosine')
  {0}.grad_clip_norm = 1.0
"""

    @pytest.mark.parametrize("holder", ["config", "c"])
    def test_a_config(self, holder: str) -> None:
        """Whose decay does not hang on the learning rate: 1e-4 a step at the peak is a λ of 0.1."""
        judged = audit(self.CONFIG.format(holder), suffix=".py")
        assert judged.framework == "big-vision"
        assert {each.group: each.weight_decay for each in judged.groups} == {
            "hidden": pytest.approx(0.1),
            "embedding": 0,
            "output": pytest.approx(0.1),
            "norm-and-bias": 0,
        }
        values = {each.field: (each.value, each.origin) for each in judged.values}
        assert values["schedule"] == ("cosine", "read")
        assert values["warmup_steps"] == (10_000, "read")
        assert values["betas"] == ((0.9, 0.95), "default")
        assert (values["epochs"][0], values["batch_size"][0]) == (90, 1024)

    @pytest.mark.parametrize(
        ("line", "known"),
        [("c.wd_mults = [('.*', 1.0)]", True), ("c.wd_mults = [('.*/kernel', 1.0), ('.*bias', .1)]", False)],
    )
    def test_patterns_of_what_decays(self, line: str, known: bool) -> None:
        """Everything, or what nobody knows by its pattern."""
        judged = audit(self.CONFIG.format("c") + f"  {line}\n", suffix=".py")
        decays = {each.group: each.written for each in judged.groups}
        assert decays == dict.fromkeys(decays, 0.0001) | ({} if known else dict.fromkeys(set(decays) - {"hidden"}))

    @pytest.mark.parametrize(
        "schedule",
        ["dict(decay_type='rsqrt', cooldown_steps=9)", "[('a', None), ('b', {})]", "dict(decay_type=code())"],
    )
    def test_schedules_that_are_not_followed(self, schedule: str) -> None:
        """Are unknown, not constant."""
        text = self.CONFIG.format("c") + f"  c.schedule = {schedule}\n"
        assert "schedule" in {each.field for each in audit(text, suffix=".py").values if each.origin == "unknown"}

    def test_other_optimizers_are_refused(self) -> None:
        """Adafactor is no AdamW."""
        with pytest.raises(SpecError, match="scale_by_adafactor"):
            audit(self.CONFIG.format("c").replace("scale_by_adam", "big_vision.scale_by_adafactor"), suffix=".py")
