"""The monitor as a callback of transformers' Trainer."""

import json
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from adamw_scale.integrations.monitor import TimescaleMonitor
from adamw_scale.spec.advice import Recommendation


class TimescaleCallback(TrainerCallback):
    """Adds the readings to whatever the Trainer logs, and says in one line each what is wrong.

        trainer = Trainer(...)
        TimescaleCallback(advice).watch(trainer)

    `watch` puts it before the reporters (TensorBoard, Weights & Biases, ...), so that they get the readings too. Passed
    in `callbacks=` it comes after them, and the readings are in `trainer.state.log_history` only.

    Args:
        plan: What `recommend` answered; None to watch without advice.
        options: Further arguments of `TimescaleMonitor`.
    """

    def __init__(self, plan: Recommendation | None = None, **options: Any) -> None:
        self.plan, self.options = plan, options
        self.monitor: TimescaleMonitor | None = None

    def watch(self, trainer: Any) -> "TimescaleCallback":
        """Become the first callback of a Trainer."""
        trainer.callback_handler.callbacks.insert(0, self)
        return self

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, optimizer: Any = None, **_: Any
    ) -> None:
        """The optimizer is there: follow it, from the step that the Trainer goes on from."""
        if self.monitor is not None:
            self.monitor.close()
        self.monitor = TimescaleMonitor(optimizer, self.plan, **self.options)
        self.monitor.steps = state.global_step
        kept = _kept(args, state)
        if state.global_step and kept.is_file():
            self.monitor.load_state_dict(json.loads(kept.read_text(encoding="utf-8")))

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Keep what has been added up beside the checkpoint."""
        if self.monitor is not None and state.is_world_process_zero and _kept(args, state).parent.is_dir():
            _kept(args, state).write_text(json.dumps(self.monitor.state_dict()), encoding="utf-8")

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Add the readings to a line of training logs."""
        if self.monitor is not None and logs is not None and "loss" in logs:
            logs.update(self.monitor.metrics())
            state.log_history[-1].update(self.monitor.metrics())

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Let go of the optimizer."""
        if self.monitor is not None:
            self.monitor.close()


def _kept(args: TrainingArguments, state: TrainerState) -> Path:
    """Where the monitor's state is, in the checkpoint of a step."""
    return Path(args.output_dir or ".") / f"checkpoint-{state.global_step}" / "adamw_scale.json"
