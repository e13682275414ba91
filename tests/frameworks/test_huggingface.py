"""TrainingArguments of the snippet in a real Trainer, and what a reader finds in other spellings."""

from pathlib import Path
from typing import Any

import pytest
from walking import TinyLM, assert_walks_as_recommended, config_of, read, short

from adamw_scale.frameworks import FRAMEWORKS
from adamw_scale.frameworks.emission import emit

RUNS = {
    "linear": {},
    "cosine-to-10-percent": {},
    "wsd": {},
    "wsd-1-sqrt": {},
    "constant": {},
    "linear-to-20-percent": {},
    "mup": {},
    "inverse-sqrt": {"schedule": "inverse-sqrt"},
    "restarts": {"schedule": "cosine-restarts", "cycles": 2},
}


@pytest.mark.parametrize("run", RUNS)
def test_every_step_is_as_recommended(run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainer builds optimizer and scheduler; it takes its schedule at the start of each step."""
    from transformers import Trainer

    monkeypatch.chdir(tmp_path)
    recommendation = short(run if run in ("mup", *RUNS) and not RUNS[run] else "linear", **RUNS[run])
    namespace: dict[str, Any] = {"__name__": "snippet"}
    exec(emit("huggingface", recommendation).text, namespace)
    model, arguments = TinyLM(), namespace["training_args"]
    assert arguments.gradient_accumulation_steps * arguments.per_device_train_batch_size == 256
    optimizer = namespace["build_optimizer"](model, model.lm_head) if run == "mup" else None
    trainer = Trainer(model, arguments, optimizers=(optimizer, None))
    trainer.create_optimizer_and_scheduler(num_training_steps=arguments.max_steps)
    assert trainer.lr_scheduler is not None
    real = getattr(trainer.optimizer, "optimizer", trainer.optimizer)
    assert_walks_as_recommended(model, real, trainer.lr_scheduler.step, config_of(recommendation, "huggingface"))


YAML = """
learning_rate: 2.0e-05
weight_decay: 0.01
per_device_train_batch_size: 8
gradient_accumulation_steps: 4
num_train_epochs: 2
lr_scheduler_type: cosine_with_min_lr
lr_scheduler_kwargs: {min_lr_rate: 0.1}
warmup_ratio: 0.1
max_seq_length: 2048
"""
SHELL = """
torchrun --nproc_per_node 8 run_clm.py \\
  --learning_rate 2e-5 --weight_decay 0.01 --per_device_train_batch_size 8 --gradient_accumulation_steps=4 \\
  --num_train_epochs 2 --lr_scheduler_type cosine_with_min_lr --lr_scheduler_kwargs '{"min_lr_rate": 0.1}' \\
  --warmup_ratio 0.1 --max_seq_length 2048 && echo done
"""


@pytest.mark.parametrize("text", [YAML, SHELL], ids=["yaml", "shell"])
def test_reads_files_and_command_lines(text: str) -> None:
    """The same run in two languages; the key that is gone in transformers 5 is said."""
    config = read(FRAMEWORKS["huggingface"](), text)
    assert (config.peak_lr, config.weight_decay, config.epochs) == (2e-5, 0.01, 2)
    assert (config.per_device_batch_size, config.accumulation, config.sequence_length) == (8, 4, 2048)
    assert (config.schedule, config.final_lr_fraction, config.warmup_fraction) == ("cosine", 0.1, 0.1)
    assert [finding.code for finding in config.findings] == ["removed-key"]
    assert config.group("norm-and-bias").weight_decay == 0
    assert config.group("embedding").weight_decay == 0.01


def test_warmup_ratio_is_refused_by_the_installed_release() -> None:
    """What the finding says is so."""
    from transformers import TrainingArguments

    with pytest.raises(TypeError, match="warmup_ratio"):
        TrainingArguments(output_dir="out", warmup_ratio=0.1)  # type: ignore[call-arg]


def test_defaults_are_the_librarys() -> None:
    """A config that says nothing trains with the Trainer's own defaults."""
    from transformers import TrainingArguments

    config, real = read(FRAMEWORKS["huggingface"](), "output_dir: out"), TrainingArguments(output_dir="out")
    assert config.peak_lr == real.learning_rate
    assert config.weight_decay == real.weight_decay
    assert config.betas == (real.adam_beta1, real.adam_beta2)
    assert (config.eps, config.epochs) == (real.adam_epsilon, real.num_train_epochs)
    assert config.per_device_batch_size == real.per_device_train_batch_size
    assert config.schedule == real.lr_scheduler_type.value
    assert {"peak_lr", "weight_decay"} <= set(config.defaults)
