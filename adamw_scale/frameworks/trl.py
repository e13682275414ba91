"""TRL: the Hugging Face Trainer's optimizer and schedules, whose arguments its configs extend (trainer/sft_config.py).

The same fields with learning rates of their own: where none is given, supervised fine-tuning takes 2e-5, the
preference and reinforcement trainers 1e-6, the reward model 1e-4.
"""

import re
from typing import Any

from adamw_scale.formats.document import Document
from adamw_scale.frameworks.config import Config, Mend
from adamw_scale.frameworks.huggingface import HuggingFace
from adamw_scale.frameworks.reading import Keys, keys_of
from adamw_scale.frameworks.spelling import whole
from adamw_scale.frameworks.table import Trap, key

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
    usual_task = "finetuning"
    _command: str | None = None  # of the document that is read
    keys = {**HuggingFace.keys, "peak_lr": key("learning_rate")}
    traps = (
        *HuggingFace.traps,
        Trap("warning", "removed-key", "max_seq_length",
             "max_seq_length was renamed: TRL 1.x refuses it",
             "write max_length", mend=Mend(key="max_seq_length", name="max_length")),
    )  # fmt: skip

    def write(self, config: Config) -> str:
        """As for the Trainer, and the length, which TRL would cut to 1024 tokens."""
        row = '    output_dir="out",\n'
        length = f"    max_length={whole(config.sequence_length)},\n" if config.sequence_length else ""
        return super().write(config).replace(row, row + length, 1)

    def find(self, document: Document) -> Keys:
        """Arguments of whichever of TRL's configs it is."""
        self._command = _command(document)
        return keys_of(document, (CONFIGS[self._command or "sft"][0],), ("output_dir",))

    def number(self, keys: Keys, field: str, filling: str | None = None) -> float | None:
        """The learning rate of its command, if that cannot be told none by default."""
        found = super().number(keys, field, filling)
        if field != "peak_lr" or found is not None or self._command is None:
            return found
        return keys.filled(field, CONFIGS[self._command][1], "learning_rate")

    def fields(self, keys: Keys, document: Document) -> dict[str, Any]:
        """With what an epoch is of a batch in completions."""
        return super().fields(keys, document) | in_completions(keys, GENERATIONS.get(self._command or ""))


def in_completions(keys: Keys, usual: float | None) -> dict[str, Any]:
    """What an epoch is of a batch in completions, `usual` of each prompt unless it says so; empty without any.

    It takes prompts * num_generations * num_iterations / completions steps (RepeatSampler of the trainers).
    """
    if usual is None or (each := keys.number_or("repeats", usual, "num_generations")) is None:
        return {}
    times = keys.number("num_iterations") or 1.0
    message = f"batches are in completions, {each:g} of each prompt, so a step takes 1/{each * times:g} of its rows"
    keys.note("completions", "num_generations", message, fix="nothing to do; pass --samples, the number of prompts")
    return {"repeats": each * times}


def _command(document: Document) -> str | None:
    """Which trainer the document is for: by the config it calls, or the command or script it runs."""
    called = {call.last for call in document.calls}
    for command, (arguments_class, _) in CONFIGS.items():
        run = document.format == "shell arguments" and re.search(
            rf"(\btrl +|/|^){command}(\.py)?\s", document.text, re.MULTILINE
        )
        if arguments_class in called or run:
            return command
    keys = document.keys()
    return "grpo" if "num_generations" in keys else "sft" if keys & _OF_SFT else None
