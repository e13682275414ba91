"""axolotl's YAML through its real schema, its builder's own methods and its trainer's mixins.

The package needs GPU libraries to import as a whole, so its files are loaded one by one.
"""

import importlib
import importlib.util
import sys
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import yaml
from torch import nn
from walking import STEPS, TinyLM, assert_walks_as_recommended, config_of, read, short

from adamw_scale.frameworks import FRAMEWORKS
from adamw_scale.frameworks.emission import emit
from adamw_scale.theory.schedules import Schedule

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("axolotl") is None, reason="axolotl is not installed"),
    pytest.mark.filterwarnings("ignore"),  # of its schema, none of them about what is written
]
# What the files below import and do not use for optimizer or schedule.
UNUSED = {
    "axolotl.integrations.base": ("PluginManager",),
    "axolotl.monkeypatch.trainer.lr": ("patch_trainer_get_lr",),
    "axolotl.telemetry.callbacks": ("TelemetryCallback",),
    "axolotl.telemetry.manager": ("TelemetryManager",),
    "axolotl.utils.callbacks": (
        *("GCCallback", "SaveAxolotlConfigtoWandBCallback", "SaveModelOnFirstStepCallback"),
        *("GPUStatsCallback", "SkipEvalOnResumeCallback"),
    ),
    "axolotl.utils.callbacks.profiler": ("PytorchProfilerCallback",),
    "peft.optimizers": ("create_loraplus_optimizer",),
}


@cache
def parts() -> SimpleNamespace:
    """Schema, builder and mixins."""
    from transformers import Trainer, TrainingArguments

    loaded = dict(sys.modules)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from axolotl.utils.dict import DictDefault
            from axolotl.utils.schemas.config import AxolotlInputConfig

            for name, members in UNUSED.items():
                parents = [name.rsplit(".", count)[0] for count in range(name.count("."), 0, -1)]
                for module in (*(each for each in parents if each not in sys.modules), name):
                    sys.modules[module] = ModuleType(module)
                    sys.modules[module].__path__ = []
                vars(sys.modules[name]).update(dict.fromkeys(members))
            no_plugins = SimpleNamespace(create_lr_scheduler=lambda **_: None)
            sys.modules["axolotl.integrations.base"].PluginManager = SimpleNamespace(get_instance=lambda: no_plugins)
            builder = alone("core/builders/base.py").TrainerBuilderBase
            scheduler = alone("core/trainers/mixins/scheduler.py").SchedulerMixin
            optimizer = alone("core/trainers/mixins/optimizer.py").OptimizerMixin
            fields = alone("core/training_args_base.py").AxolotlTrainingMixins
        finally:
            for name in [each for each in sys.modules if each.partition(".")[0] in ("axolotl", "peft")]:
                if name not in loaded:
                    del sys.modules[name]

    class Builder(builder):  # type: ignore[misc, valid-type]
        def build(self, total_num_steps: int) -> None:
            """Not built here."""

    class Mixed(scheduler, optimizer, Trainer):  # type: ignore[misc, valid-type]
        optimizer_cls_and_kwargs = None

    @dataclass
    class Arguments(fields, TrainingArguments):  # type: ignore[misc, valid-type]
        pass

    return SimpleNamespace(
        schema=AxolotlInputConfig, mapping=DictDefault, builder=Builder, trainer=Mixed, arguments=Arguments
    )


def alone(path: str) -> Any:
    """A file of axolotl as a module of its own."""
    found = importlib.util.find_spec("axolotl")
    assert found is not None
    assert found.submodule_search_locations
    spec = importlib.util.spec_from_file_location(
        f"one_file_{Path(path).stem}", Path(found.submodule_search_locations[0]) / path
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


def validated(text: str) -> Any:
    """A config as axolotl's schema has it."""
    minimal = {"base_model": "any", "datasets": [{"path": "any", "type": "alpaca"}]}
    return parts().schema(**{**minimal, **yaml.safe_load(text)})


def trainer_of(text: str, folder: Path, model: nn.Module | None = None) -> Any:
    """What axolotl's own methods make of a config for a run of 400 steps."""
    builder = parts().builder.__new__(parts().builder)
    builder.cfg = parts().mapping(validated(text).model_dump(exclude_none=True))
    builder.cfg.output_dir = str(folder)
    builder._train_dataset = builder._eval_dataset = None
    arguments, others = builder._set_base_training_args(STEPS)
    here = {"use_cpu": True, "bf16": False, "report_to": "none", "eval_strategy": "no"}
    quadratic = {"lr_quadratic_warmup": bool(builder.cfg.lr_quadratic_warmup)}  # set by the builders for each task
    trainer = parts().trainer(model or TinyLM(), parts().arguments(**{**arguments, **here, **quadratic}))
    trainer.optimizer_cls_and_kwargs = others.get("optimizer_cls_and_kwargs")
    trainer.create_optimizer_and_scheduler(num_training_steps=STEPS)
    return trainer


def lrs(text: str, folder: Path) -> list[float]:
    """Learning rate of each step."""
    trainer, rates = trainer_of(text, folder), []
    for _ in range(STEPS):
        rates.append(trainer.optimizer.param_groups[0]["lr"])
        trainer.optimizer.step()
        trainer.lr_scheduler.step()
    return rates


RUNS: dict[str, dict[str, Any]] = {
    "linear": {},
    "cosine-to-10-percent": {},
    "wsd": {},
    "wsd-1-sqrt": {},
    "constant": {},
    "linear-to-20-percent": {},
    "inverse-sqrt": {"schedule": "inverse-sqrt"},
    "restarts": {"schedule": "cosine-restarts", "cycles": 2},
    "polynomial": {"schedule": "polynomial", "schedule_power": 3.0, "final_lr_fraction": 0.05},
    "no warm-up": {"schedule": "cosine", "warmup_steps": 0},
}


@pytest.mark.parametrize("run", RUNS)
def test_every_step_is_as_recommended(run: str, tmp_path: Path) -> None:
    """The schedule is taken at the start of each step; LayerNorm and biases are spared."""
    recommendation = short("linear" if RUNS[run] else run, **RUNS[run])
    model = TinyLM()
    trainer = trainer_of(emit("axolotl", recommendation).text, tmp_path, model)
    arguments = trainer.args
    assert arguments.max_steps == STEPS
    assert arguments.gradient_accumulation_steps * arguments.per_device_train_batch_size == 256
    optimizer = trainer.optimizer
    assert type(optimizer).__name__ == "AdamW"
    assert optimizer.param_groups[0]["betas"] == recommendation.run.betas
    assert optimizer.param_groups[0]["eps"] == recommendation.run.eps
    assert_walks_as_recommended(model, optimizer, trainer.lr_scheduler.step, config_of(recommendation, "axolotl"))


def test_defaults_are_the_librarys(tmp_path: Path) -> None:
    """Of its schema, and of what its builder leaves to the Trainer."""
    text = "learning_rate: 1.0e-3\nmax_steps: 400\n"
    config, real = read(FRAMEWORKS["axolotl"](), text), trainer_of(text, tmp_path)
    assert config.weight_decay == real.args.weight_decay
    assert config.betas == (real.args.adam_beta1, real.args.adam_beta2)
    assert (config.eps, config.optimizer) == (real.args.adam_epsilon, real.args.optim.value)
    assert config.warmup_steps == real.args.warmup_steps == 12
    assert config.schedule == real.args.lr_scheduler_type.value
    assert (config.per_device_batch_size, config.accumulation) == (
        real.args.per_device_train_batch_size,
        real.args.gradient_accumulation_steps,
    )
    assert {"weight_decay", "warmup_steps", "per_device_batch_size"} <= set(config.defaults)
    assert read(FRAMEWORKS["axolotl"](), "learning_rate: 1.0e-3").epochs == real.args.num_train_epochs


def codes(text: str) -> list[tuple[str, str]]:
    """What reading a config notes."""
    return [(finding.code, finding.severity) for finding in read(FRAMEWORKS["axolotl"](), text).findings]


BASE = "base_model: any\nlearning_rate: 1.0e-3\nweight_decay: 0.1\nmax_steps: 400\nwarmup_steps: 40\n"


@pytest.mark.parametrize(
    "more",
    [
        "lr_scheduler: cosine\ncosine_min_lr_ratio: 0.1\n",
        "cosine_min_lr_ratio: 0.1\ncosine_constant_lr_ratio: 0.8\n",
        "lr_scheduler: linear\ncosine_min_lr_ratio: 0.1\n",
        "lr_scheduler: rex\n",
        "lr_scheduler: rex\ncosine_min_lr_ratio: 0.1\n",
        "lr_scheduler: one_cycle\n",
        "lr_scheduler: constant\n",
        "lr_scheduler: warmup_stable_decay\nlr_scheduler_kwargs: {num_decay_steps: 80, decay_type: linear}\n",
    ],
)
def test_reads_its_own_schedules(more: str, tmp_path: Path) -> None:
    """What was read is what runs, to a step: rex and one_cycle are taken elsewhere in it, and rex in a table."""
    schedule: Schedule = read(FRAMEWORKS["axolotl"](), BASE + more).lr_schedule
    real = lrs(BASE + more, tmp_path)
    for step in range(STEPS):
        nearby = [schedule.multiplier((step + shift) / STEPS) for shift in (0.0, 1.0)]
        assert min(nearby) - 0.003 <= real[step] / 1e-3 <= max(nearby) + 0.003, step


def test_floor_is_the_cosines_alone(tmp_path: Path) -> None:
    """What the findings say is so: linear and the quadratic warm-up go to zero."""
    for more, noted in (
        ("lr_scheduler: linear\n", []),
        ("lr_quadratic_warmup: true\n", [("quadratic-warmup", "note")]),
    ):
        text = f"{BASE}cosine_min_lr_ratio: 0.1\n{more}"
        assert lrs(text, tmp_path)[-1] < 1e-5
        assert read(FRAMEWORKS["axolotl"](), text).lr_schedule.final == 0
        assert codes(text) == [("ignored-key", "error"), *noted]


def test_lr_div_factor_does_nothing(tmp_path: Path) -> None:
    """Accepted, and without effect in one_cycle too, which moves beta1."""
    text = f"{BASE}lr_scheduler: one_cycle\nlr_div_factor: 3\nadam_beta1: 0.9\n"
    assert trainer_of(text, tmp_path).optimizer.param_groups[0]["betas"][0] == 0.95
    assert lrs(text, tmp_path)[0] == pytest.approx(1e-3 / 25)
    assert codes(text) == [("ignored-key", "warning"), ("betas-overridden", "warning")]


@pytest.mark.parametrize(
    ("warmup", "steps"), [("warmup_ratio: 0.13", 52), ("warmup_steps: 1", 2), ("warmup_steps: 0", 0)]
)
def test_warmup_in_its_spellings(warmup: str, steps: int, tmp_path: Path) -> None:
    """A ratio becomes steps, and one step two."""
    text = BASE.replace("warmup_steps: 40", warmup)
    assert trainer_of(text, tmp_path).args.warmup_steps == steps
    assert read(FRAMEWORKS["axolotl"](), text).warmup_steps == steps


def test_two_warmups_are_refused() -> None:
    """By the schema, so the finding is an error."""
    with pytest.raises(ValueError, match="mutually exclusive"):
        validated(BASE + "warmup_ratio: 0.1\n")
    assert codes(BASE + "warmup_ratio: 0.1\n") == [("refused-value", "error")]


@pytest.mark.parametrize("more", ["optimizer: adamc\n", "embedding_lr: 1.0e-4\n", "embedding_lr_scale: 0.1\n"])
def test_embeddings_are_spared_by_its_own_grouping(more: str, tmp_path: Path) -> None:
    """What the finding says is so."""
    model = nn.ModuleDict({"embed_tokens": nn.Embedding(4, 4), "hidden": nn.Linear(4, 4), "lm_head": nn.Linear(4, 4)})
    trainer = trainer_of(BASE + more, tmp_path, model)
    owner = {id(p): group for group in trainer.optimizer.param_groups for p in group["params"]}
    config = read(FRAMEWORKS["axolotl"](), BASE + more)
    for module, group in (("embed_tokens", "embedding"), ("hidden", "hidden"), ("lm_head", "output")):
        real, ours = owner[id(model[module].weight)], config.group(group)
        assert real["weight_decay"] == ours.weight_decay
        assert real["initial_lr"] == pytest.approx(1e-3 * ours.lr_factor)
    assert codes(BASE + more) == [("embeddings-spared", "note")]


@pytest.mark.parametrize("optimizer", ["adamc", "optimi_adamw"])
@pytest.mark.parametrize("betas", ["", "adam_beta2: 0.95\n", "adam_beta1: 0.8\nadam_beta2: 0.95\n"])
def test_one_beta_does_not_reach_its_own_optimizers(optimizer: str, betas: str, tmp_path: Path) -> None:
    """What the finding says is so; without both, and without adam_epsilon, the optimizer's own defaults hold."""
    text = f"{BASE}optimizer: {optimizer}\n{betas}"
    config, group = read(FRAMEWORKS["axolotl"](), text), trainer_of(text, tmp_path).optimizer.param_groups[0]
    assert config.betas == (group["betas"] if "betas" in group else (group["beta1"], group["beta2"]))
    assert config.eps == group["eps"]
    assert (("ignored-key", "error") in codes(text)) == (betas.count("beta") == 1)
    assert config.convention == {"adamc": "adamc", "optimi_adamw": "optimi"}[optimizer]


def test_keys_it_does_not_know_are_ignored() -> None:
    """So the batch of the snippet can stand in one."""
    config = validated("learning_rate: 1e-3\nadamw_scale: {global_batch_size: 256}\n")
    assert config.learning_rate == 1e-3
    assert read(FRAMEWORKS["axolotl"](), "batch_size: 32\nmicro_batch_size: 8\nlearning_rate: 1e-3").accumulation == 4
