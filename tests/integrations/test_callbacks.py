"""The monitor in real trainers: what it measures is what is advised at every step, and it gets into their own logs."""

import csv
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import LambdaLR
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments

from adamw_scale import TrainingRun, recommend
from adamw_scale.errors import SpecError
from adamw_scale.integrations import param_groups
from adamw_scale.integrations.huggingface import TimescaleCallback
from adamw_scale.spec.advice import Recommendation

STEPS, PEAK = 40, 1e-2
pytestmark = pytest.mark.filterwarnings("ignore")  # of the trainers, none of them about what is measured


def advised(**fields: object) -> Recommendation:
    """40 steps of 8 sequences of 16 tokens, over one data set of 80, with warm-up and cosine."""
    run = {
        "dataset_size": 80 * 16,
        "epochs": 4,
        "batch_size": 8 * 16,
        "peak_lr": PEAK,
        "schedule": "cosine",
        "warmup_steps": 4,
    }
    return recommend(TrainingRun.model_validate({**run, **fields}), "constant-tau-epoch")


class Tokens(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """Eighty sequences."""

    def __init__(self) -> None:
        self.tokens = torch.randint(64, (80, 16), generator=torch.Generator().manual_seed(0))

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"input_ids": self.tokens[index], "labels": self.tokens[index]}


class Look(TrainerCallback):
    """Keeps every step's readings."""

    def __init__(self, watching: TimescaleCallback) -> None:
        self.watching = watching
        self.readings: list[Any] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Of all groups."""
        assert self.watching.monitor is not None
        self.readings.append(self.watching.monitor.step())


def trainer_of(folder: Path, advice: Recommendation, **options: Any) -> Trainer:
    """A tiny GPT-2 in double precision, with the Trainer's own optimizer, scheduler and groups."""
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=64, n_positions=16)).double()
    arguments = {
        "output_dir": str(folder),
        "learning_rate": PEAK,
        "weight_decay": advice.weight_decay,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 4,
        "num_train_epochs": 4,
        "per_device_train_batch_size": 8,
        "logging_steps": 5,
        "report_to": [],
        "use_cpu": True,
        "disable_tqdm": True,
        "save_strategy": "no",
        "max_grad_norm": 0.0,
        "adam_beta2": 0.95,
    }
    return Trainer(model=model, args=TrainingArguments(**{**arguments, **options}), train_dataset=Tokens())


def test_in_a_real_trainer_measured_decay_is_the_advised(tmp_path: Path) -> None:
    """At every one of 40 steps, through warm-up and cosine, to 1e-6; in the log history too; no caution."""
    advice = advised()
    trainer = trainer_of(tmp_path, advice)
    watching = TimescaleCallback(advice, every=1).watch(trainer)
    look = Look(watching)
    trainer.add_callback(look)
    trainer.train()
    assert len(look.readings) == STEPS
    for step, (decayed, undecayed) in enumerate(look.readings):
        multiplier = advice.run.lr_schedule.multiplier(step / STEPS)
        assert decayed.planned == pytest.approx(PEAK * advice.weight_decay * multiplier, rel=1e-6, abs=1e-15)
        assert decayed.measured == pytest.approx(decayed.planned, rel=1e-6, abs=1e-12)
        assert undecayed.measured == pytest.approx(0.0, abs=1e-12)
    assert watching.monitor is not None
    assert watching.monitor.warnings == []
    logged = [line for line in trainer.state.log_history if "loss" in line]
    assert len(logged) == STEPS // 5
    assert logged[-1]["adamw_scale/decayed-0/decay_sum"] == pytest.approx(look.readings[-1][0].decay_sum)


class Reporter(TrainerCallback):
    """Stands where TensorBoard and others stand: keeps what it is given to log."""

    def __init__(self) -> None:
        self.lines: list[dict[str, float]] = []

    def on_log(self, *_: Any, logs: dict[str, float] | None = None, **__: Any) -> None:
        """Keep it."""
        self.lines.append(dict(logs or {}))


def test_reporters_get_the_readings(tmp_path: Path) -> None:
    """`watch` comes before callbacks that were there."""
    trainer, reporter = trainer_of(tmp_path, advised(), max_steps=5), Reporter()
    trainer.add_callback(reporter)
    TimescaleCallback(advised()).watch(trainer)
    trainer.train()
    assert "adamw_scale/decayed-0/retention" in reporter.lines[0]


def test_accumulated_decay_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    """20 steps, a checkpoint, 20 more by another Trainer: the sums of 40."""
    advice = advised()
    whole = TimescaleCallback(advice).watch(trainer := trainer_of(tmp_path / "whole", advice))
    trainer.train()
    options = {"save_strategy": "steps", "save_steps": 20}

    class Stop(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            control.should_training_stop = state.global_step == 20

    first = trainer_of(tmp_path / "halves", advice, **options)
    TimescaleCallback(advice).watch(first)
    first.add_callback(Stop())
    first.train()
    second = trainer_of(tmp_path / "halves", advice, **options)
    resumed = TimescaleCallback(advice).watch(second)
    second.train(resume_from_checkpoint=True)
    assert resumed.monitor is not None
    assert whole.monitor is not None
    assert resumed.monitor.state_dict()["steps"] == STEPS
    assert resumed.monitor.step()[0].decay_sum == pytest.approx(whole.monitor.step()[0].decay_sum)
    assert resumed.monitor.warnings == []


def test_a_trainer_that_overrides_is_named(tmp_path: Path) -> None:
    """A scheduler of another shape than the advised one, and one optimizer group for everything."""
    advice = advised()
    trainer = trainer_of(tmp_path, advice, lr_scheduler_type="constant_with_warmup")
    watching = TimescaleCallback(advice).watch(trainer)
    trainer.train()
    assert watching.monitor is not None
    assert [caution.code for caution in watching.monitor.warnings] == ["overwritten", "overwritten"]
    trainer = trainer_of(tmp_path, advice, max_steps=3)
    optimizer = torch.optim.AdamW(trainer.model.parameters(), lr=PEAK, weight_decay=advice.weight_decay)
    trainer.optimizer, trainer.lr_scheduler = optimizer, LambdaLR(optimizer, lambda step: step / 4)
    watching = TimescaleCallback(advice).watch(trainer)
    trainer.train()
    assert watching.monitor is not None
    assert [caution.code for caution in watching.monitor.warnings] == ["on-norms"]


def lightning() -> Any:
    """The library, whose import warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import lightning.pytorch

    return lightning.pytorch


def module_of(advice: Recommendation, optimizers: int = 1, seen: list[Any] | None = None) -> Any:
    """A LightningModule in double precision with the advised groups and schedule."""

    class Module(lightning().LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.model = torch.nn.Sequential(torch.nn.Linear(16, 64), torch.nn.ReLU(), torch.nn.Linear(64, 4)).double()
            self.automatic_optimization = optimizers == 1

        def training_step(self, batch: torch.Tensor, index: int) -> torch.Tensor:
            return torch.nn.functional.mse_loss(self.model(batch), batch[:, :4])

        def configure_optimizers(self) -> Any:
            made = [torch.optim.AdamW(param_groups(self.model, advice)) for _ in range(optimizers)]
            if optimizers > 1:
                return made
            schedule = LambdaLR(made[0], lambda step: advice.run.lr_schedule.multiplier(min(1.0, step / STEPS)))
            return {"optimizer": made[0], "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    return Module()


def fit(folder: Path, module: Any, *callbacks: Any, **options: Any) -> Any:
    """A real Trainer over 80 rows in batches of 8, which logs to a CSV file."""
    pl = lightning()
    from lightning.pytorch.loggers import CSVLogger

    rows = torch.randn(80, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    trainer = pl.Trainer(
        max_epochs=4,
        accelerator="cpu",
        callbacks=list(callbacks),
        logger=CSVLogger(folder),
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        **options,
    )
    trainer.fit(module, torch.utils.data.DataLoader(rows, batch_size=8))
    return trainer


def test_in_lightning_measured_decay_is_the_advised(tmp_path: Path) -> None:
    """At every one of 40 steps, to 1e-6; the CSV logger has it."""
    from adamw_scale.integrations.lightning import TimescaleCallback as LightningCallback

    advice = advised(unit="samples", dataset_size=80, batch_size=8)
    watching = LightningCallback(advice, every=1)
    readings: list[Any] = []

    class Look(lightning().Callback):  # type: ignore[misc]
        def on_train_batch_end(self, *_: Any) -> None:
            readings.append(watching.monitor.step())

    trainer = fit(tmp_path, module_of(advice), watching, Look())
    assert len(readings) == STEPS
    for step, (hidden, norm) in enumerate(readings):
        multiplier = advice.run.lr_schedule.multiplier(step / STEPS)
        assert hidden.planned == pytest.approx(PEAK * advice.weight_decay * multiplier, rel=1e-6, abs=1e-15)
        assert hidden.measured == pytest.approx(hidden.planned, rel=1e-6, abs=1e-12)
        assert norm.measured == pytest.approx(0.0, abs=1e-12)
    assert watching.monitor is not None
    assert watching.monitor.warnings == []
    with open(Path(trainer.logger.log_dir) / "metrics.csv") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["adamw_scale/hidden/decay_sum"]) == pytest.approx(readings[-1][0].decay_sum, rel=1e-5)
    kept = watching.state_dict()
    assert kept["steps"] == STEPS


def test_lightning_with_gradient_accumulation(tmp_path: Path) -> None:
    """Steps are the optimizer's, not the batches'."""
    from adamw_scale.integrations.lightning import TimescaleCallback as LightningCallback

    watching = LightningCallback()
    fit(tmp_path, module_of(advised()), watching, accumulate_grad_batches=2)
    assert watching.monitor is not None
    assert watching.monitor.steps == STEPS // 2


def test_several_optimizers_are_refused(tmp_path: Path) -> None:
    """One line that says what to do."""
    from adamw_scale.integrations.lightning import TimescaleCallback as LightningCallback

    with pytest.raises(SpecError, match="has 2 optimizers"):
        fit(tmp_path, module_of(advised(), optimizers=2), LightningCallback())
