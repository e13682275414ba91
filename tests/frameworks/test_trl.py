"""SFTConfig of the snippet in a real Trainer, and what a reader finds of TRL's other configs."""

import importlib
import importlib.util
import inspect
from pathlib import Path
from typing import Any

import pytest
from walking import TinyLM, assert_walks_as_recommended, config_of, read, short

from adamw_scale.frameworks import FRAMEWORKS
from adamw_scale.frameworks.emission import emit

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("trl") is None, reason="trl is not installed"),
    pytest.mark.filterwarnings("ignore"),  # of its import, none of them about what is written
]
COMMANDS = ("sft", "dpo", "kto", "grpo", "rloo", "reward")
CLASSES = {"grpo": "GRPOConfig", "rloo": "RLOOConfig", "reward": "RewardConfig"}


@pytest.mark.parametrize("run", ["linear", "cosine-to-10-percent", "wsd", "linear-to-20-percent", "mup"])
def test_every_step_is_as_recommended(run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SFTTrainer leaves optimizer and scheduler to the Trainer, which takes its schedule at the start of each step."""
    from transformers import Trainer

    monkeypatch.chdir(tmp_path)
    recommendation = short(run)
    namespace: dict[str, Any] = {"__name__": "snippet"}
    text = emit("trl", recommendation).text
    assert "from trl import SFTConfig\n" in text
    exec(text.replace('"out",', '"out", use_cpu=True, bf16=False,'), namespace)
    model, arguments = TinyLM(), namespace["training_args"]
    assert type(arguments).__name__ == "SFTConfig"
    assert arguments.max_length == 2048
    assert arguments.gradient_accumulation_steps * arguments.per_device_train_batch_size == 256
    optimizer = namespace["build_optimizer"](model, model.lm_head) if run == "mup" else None
    trainer = Trainer(model, arguments, optimizers=(optimizer, None))
    trainer.create_optimizer_and_scheduler(num_training_steps=arguments.max_steps)
    assert trainer.lr_scheduler is not None
    real = getattr(trainer.optimizer, "optimizer", trainer.optimizer)
    assert_walks_as_recommended(model, real, trainer.lr_scheduler.step, config_of(recommendation, "trl"))


def test_trainers_leave_the_optimizer_to_the_trainer() -> None:
    """No trainer of TRL's builds optimizer or scheduler by itself, in its source."""
    import trl

    folder = Path(inspect.getfile(trl)).parent / "trainer"
    for file in ("sft_trainer.py", "dpo_trainer.py", "base_trainer.py", "_base_trainer.py"):
        source = (folder / file).read_text() if (folder / file).exists() else ""
        assert "def create_optimizer" not in source
        assert "def create_scheduler" not in source


@pytest.mark.parametrize("command", COMMANDS)
def test_defaults_are_the_librarys(command: str, tmp_path: Path) -> None:
    """Every config has its own learning rate; the rest is the Trainer's."""
    name = CLASSES.get(command, f"{command.upper()}Config")
    real = getattr(importlib.import_module("trl"), name)(
        output_dir=str(tmp_path), use_cpu=True, bf16=False, report_to="none"
    )
    part = FRAMEWORKS["trl"]()
    for text in (
        f"from trl import {name}\nargs = {name}(output_dir='out')\n",
        f"trl {command} --output_dir out\n",
        f"accelerate launch examples/scripts/{command}.py --output_dir out\n",
    ):
        config = read(part, text)
        assert config.peak_lr == real.learning_rate, text
        assert (config.weight_decay, config.eps, config.epochs) == (
            real.weight_decay,
            real.adam_epsilon,
            real.num_train_epochs,
        )
        assert config.betas == (real.adam_beta1, real.adam_beta2)
        assert config.per_device_batch_size == real.per_device_train_batch_size
        assert config.schedule == real.lr_scheduler_type.value
        assert {"peak_lr", "weight_decay"} <= set(config.defaults)


def test_reads_its_yaml() -> None:
    """A config of `trl sft --config`, whose defaults are those of SFTConfig."""
    config = read(
        FRAMEWORKS["trl"](),
        "model_name_or_path: any\ndataset_name: any\nlearning_rate: 2.0e-4\nweight_decay: 0.1\nmax_length: 4096\n"
        "lr_scheduler_type: cosine_with_min_lr\nlr_scheduler_kwargs:\n  min_lr_rate: 0.1\nwarmup_steps: 10\n"
        "per_device_train_batch_size: 4\ngradient_accumulation_steps: 8\nnum_train_epochs: 2\n",
    )
    assert (config.peak_lr, config.weight_decay, config.epochs, config.sequence_length) == (2e-4, 0.1, 2, 4096)
    assert (config.schedule, config.final_lr_fraction, config.warmup_steps) == ("cosine", 0.1, 10)
    assert (config.per_device_batch_size, config.accumulation) == (4, 8)
    assert config.findings == ()
    assert read(FRAMEWORKS["trl"](), "weight_decay: 0.1\npacking: true\n").peak_lr == 2e-5
    assert read(FRAMEWORKS["trl"](), "weight_decay: 0.1\n").peak_lr is None  # of SFT, or of DPO


@pytest.mark.parametrize("key", ["max_seq_length", "warmup_ratio"])
def test_what_the_installed_release_refuses(key: str) -> None:
    """What the findings say is so."""
    from trl import SFTConfig

    with pytest.raises(TypeError, match=key):
        SFTConfig(output_dir="out", **{key: 1})
    config = read(FRAMEWORKS["trl"](), f"args = SFTConfig(output_dir='out', {key}=0.5)")
    assert [(finding.code, finding.severity) for finding in config.findings] == [("removed-key", "warning")]


def test_beside_a_config_file_nothing_is_by_default() -> None:
    """`trl sft --config FILE` takes from it what its arguments do not say."""
    config = read(FRAMEWORKS["trl"](), "trl sft --config sft.yaml --weight_decay 0.1\n")
    assert (config.weight_decay, config.peak_lr, config.defaults) == (0.1, None, ())
