"""TRL: the Hugging Face Trainer's optimizer and schedules, whose arguments its configs extend (trainer/sft_config.py).

The same fields with learning rates of their own: where none is given, supervised fine-tuning takes 2e-5, the
preference and reinforcement trainers 1e-6, the reward model 1e-4.
"""

import re
from typing import Any

from adamw_scale.formats.document import Document
from adamw_scale.frameworks.config import Config, Finding, Mend
from adamw_scale.frameworks.huggingface import HuggingFace
from adamw_scale.frameworks.reading import Keys, keys_of
from adamw_scale.frameworks.spelling import whole
from adamw_scale.frameworks.table import key

# Its configs by their command (`trl dpo`), with the learning rate of each.
CONFIGS = {
    "sft": ("SFTConfig", 2e-5),
    "dpo": ("DPOConfig", 1e-6),
    "kto": ("KTOConfig", 1e-6),
    "grpo": ("GRPOConfig", 1e-6),
    "rloo": ("RLOOConfig", 1e-6),
    "reward": ("RewardConfig", 1e-4),
}


GENERATIONS = {"grpo": 8.0, "rloo": 2.0}  # completions of a prompt where num_generations is not given
_OF_SFT = frozenset({"completion_only_loss", "assistant_only_loss", "dataset_text_field", "packing", "eos_token"})


class TRL(HuggingFace):
    """SFTConfig, and a ready-made optimizer where one λ does not serve all groups."""

    name = "trl"
    title = "TRL"
    reads = "SFTConfig, DPOConfig and the like in Python, YAML of them, or a command line"
    signs = (HuggingFace.signs - {"TrainingArguments"}) | frozenset(
        {
            *(config for config, _ in CONFIGS.values()),
            *("SFTTrainer", "DPOTrainer", "KTOTrainer", "GRPOTrainer", "RLOOTrainer", "RewardTrainer"),
            *("max_length", "completion_only_loss", "assistant_only_loss", "dataset_text_field", "num_generations"),
            *("beta", "loss_type", "packing", "eos_token"),
        }
    )
    packages = frozenset({"trl"})
    scripts = r"\btrl +(sft|dpo|kto|grpo|rloo|reward)\b|\btrl/scripts/"
    formats = frozenset({"Python", "YAML", "JSON", "shell arguments"})
    proven = "trl 1.16, on transformers 5.23"

    arguments_class = "SFTConfig"
    package = "trl"

    def write(self, config: Config) -> str:
        """As for the Trainer, and the length, which TRL would cut to 1024 tokens."""
        row = '    output_dir="out",\n'
        length = f"    max_length={whole(config.sequence_length)},\n" if config.sequence_length else ""
        return super().write(config).replace(row, row + length, 1)

    def read(self, document: Document) -> Config:
        """The arguments of whichever of TRL's configs it is; if that cannot be told no learning rate is by default."""
        command = _command(document)
        arguments_class, default_lr = CONFIGS[command] if command else ("SFTConfig", None)
        kind = type(
            arguments_class,
            (HuggingFace,),
            {
                "arguments_class": arguments_class,
                "keys": {**HuggingFace.keys, "peak_lr": key("learning_rate", default=default_lr)},
                "usual_task": "finetuning",
            },
        )
        keys = keys_of(document, (arguments_class,), ("output_dir",))
        config = _in_prompts(kind().read(document), keys, GENERATIONS.get(command or ""))
        if "max_seq_length" not in keys:
            return config
        renamed = Finding(
            mend=Mend(key="max_seq_length", name="max_length"),
            code="removed-key",
            severity="warning",
            message="max_seq_length was renamed: TRL 1.x refuses it",
            fix="write max_length",
            key="max_seq_length",
        )
        return config.model_copy(update={"findings": (*config.findings, renamed)})


def _in_prompts(config: Config, keys: Keys, generations: float | None) -> Config:
    """A config whose batch is in completions, several of each prompt, if it is one: rows of the data set are prompts.

    An epoch takes prompts * num_generations * num_iterations / completions a step (RepeatSampler of the trainers).
    """
    if generations is None:
        return config
    each, times = keys.number_or("repeats", generations, "num_generations"), keys.number("num_iterations") or 1.0
    noted = keys.noted()
    changes: dict[str, Any] = {
        name: tuple(dict.fromkeys((*getattr(config, name), *noted[name]))) for name in ("defaults", "unknown")
    }
    if each is not None:
        again = f", each taken {times:g} times" if times != 1 else ""
        message = (
            f"batches are in completions, {each:g} of each prompt (num_generations){again}: a step takes "
            f"1/{each * times:g} as many rows of the data set"
        )
        keys.note("completions", "num_generations", message, fix="nothing to do; pass --samples, the number of prompts")
        changes |= {"repeats": each * times, "findings": (*config.findings, keys.findings[-1])}
    return config.model_copy(update=changes)


def _command(document: Document) -> str | None:
    """Which trainer the document is for: by the config it calls, or the command or script it runs."""
    called = {call.name.rpartition(".")[2] for call in document.calls}
    for command, (arguments_class, _) in CONFIGS.items():
        run = document.format == "shell arguments" and re.search(
            rf"(\btrl +|/|^){command}(\.py)?\s", document.text, re.MULTILINE
        )
        if arguments_class in called or run:
            return command
    keys = document.keys()
    return "grpo" if "num_generations" in keys else "sft" if keys & _OF_SFT else None
