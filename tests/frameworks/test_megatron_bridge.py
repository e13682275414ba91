"""Megatron-Bridge's real configs and scheduler; its packages import models, so they are loaded without __init__."""

import importlib
import importlib.util
import inspect
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from walking import STEPS, TinyLM, assert_walks_as_recommended, config_of, read, short

from adamw_scale.errors import SpecError
from adamw_scale.formats import parse
from adamw_scale.frameworks import FRAMEWORKS
from adamw_scale.frameworks.emission import emit
from adamw_scale.frameworks.recognition import recognized

BRIDGE = "megatron.bridge"
PACKAGES = ("", ".training", ".training.utils", ".training.tokenizers", ".recipes", ".recipes.utils", ".utils")
# Modules that only hold annotations of fields that are not used here.
NAMES = {
    ".data": (),
    ".data.datasets": (),
    ".data.datasets.packed_sequence": ("PackedSequenceSpecs",),
    ".models": ("GPTModelProvider", "T5ModelProvider"),
    ".models.mamba": (),
    ".models.mamba.mamba_provider": ("MambaModelProvider",),
    ".peft": (),
    ".peft.base": ("PEFT",),
    ".training.comm_overlap": ("CommOverlapConfig",),
    ".training.flex_dispatcher_backend": ("validate_flex_dispatcher_backend",),
    ".training.mixed_precision": ("MixedPrecisionConfig", "get_mixed_precision_config"),
    ".training.tokenizers.config": ("TokenizerConfig",),
    ".training.tokenizers.tokenizer": ("MegatronTokenizer",),
    ".training.utils.config_utils": ("_ConfigContainerBase",),
    ".utils.common_utils": ("get_world_size_safe", "print_rank_0"),
}
RUNS: dict[str, dict[str, Any]] = {
    "linear": {},
    "linear-to-20-percent": {},
    "cosine-to-10-percent": {},
    "constant": {},
    "wsd": {},
    "wsd-1-sqrt": {},
    "wsd-cosine": {"schedule": "wsd-cosine", "decay_fraction": 0.3},
    "inverse-sqrt": {"schedule": "inverse-sqrt"},
    "no warm-up": {"schedule": "cosine", "warmup_steps": 0},
    "samples": {},
    "mup": {},
}
RECIPE = "distributed_fused_adam_with_cosine_annealing"


@pytest.fixture(scope="module")
def bridge() -> Iterator[SimpleNamespace]:
    """The real modules of configs, scheduler and recipes, while other tests see none of them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optimizer = pytest.importorskip("megatron.core.optimizer", reason="megatron-core is not installed")
        importlib.import_module("megatron.core.optimizer.muon")
        places = sys.modules["megatron"].__path__
        root = next((Path(place, "bridge") for place in places if Path(place, "bridge").is_dir()), None)
        if root is None:
            pytest.skip("megatron-bridge is not installed")
        try:
            for name in PACKAGES:
                module = sys.modules[BRIDGE + name] = ModuleType(BRIDGE + name)
                module.__path__ = [str(root.joinpath(*name.split(".")))]
            for name, members in NAMES.items():
                module = sys.modules[BRIDGE + name] = ModuleType(BRIDGE + name)
                module.__path__ = []
                vars(module).update({member: type(member, (), {}) for member in members})
            sys.modules[f"{BRIDGE}.utils.common_utils"].warn_rank_0 = warnings.warn  # type: ignore[attr-defined]
            yield SimpleNamespace(
                config=importlib.import_module(f"{BRIDGE}.training.config"),
                optim=importlib.import_module(f"{BRIDGE}.training.optim"),
                recipes=importlib.import_module(f"{BRIDGE}.recipes.utils.optimizer_utils"),
                core=optimizer,
            )
        finally:
            for name in [each for each in sys.modules if each.startswith(BRIDGE)]:
                del sys.modules[name]


def built(
    bridge: SimpleNamespace, optimizer: Any, scheduler: Any, train: Any, model: torch.nn.Module
) -> tuple[Any, Any]:
    """Optimizer and scheduler as its setup makes them, with torch's AdamW, which megatron-core falls back to."""
    optimizer.finalize()
    scheduler.finalize()
    container = SimpleNamespace(train=train, scheduler=scheduler)
    bridge.config.ConfigContainer._validate_training_scheduler_compatibility(container)
    bridge.config.ConfigContainer._calculate_scheduler_steps(container)
    context = bridge.config.OptimizerConfigOverrideProviderContext(scheduler, optimizer, model)
    overrides = bridge.config.OptimizerConfigOverrideProvider().build_config_overrides(context) or {}
    groups: dict[Any, list[Any]] = {}
    for name, parameter in model.named_parameters():
        options: dict[str, float] = {}
        for key, override in overrides.items():
            options |= override if key.matches(parameter, name) else {}
        groups.setdefault(tuple(options.items()), []).append(parameter)
    adamw = torch.optim.AdamW(
        [{"params": parameters, **dict(options)} for options, parameters in groups.items()],
        lr=optimizer.lr,
        betas=(optimizer.adam_beta1, optimizer.adam_beta2),
        eps=optimizer.adam_eps,
        weight_decay=optimizer.weight_decay,
    )
    return adamw, bridge.optim._get_scheduler(optimizer, scheduler, adamw)


def defined(text: str) -> dict[str, Any]:
    """What an emitted module defines."""
    namespace: dict[str, Any] = {}
    exec(compile(text, "recipe.py", "exec"), namespace)
    return namespace


@pytest.mark.parametrize("run", RUNS)
def test_every_step_is_as_recommended(run: str, bridge: SimpleNamespace) -> None:
    """The scheduler counts samples, and is at the start of each step; biases and gains do not decay."""
    recommendation = short(run if not RUNS[run] else "linear", **RUNS[run])
    text, config = emit("megatron-bridge", recommendation).text, config_of(recommendation, "megatron-bridge")
    given, model = defined(text), TinyLM()
    assert given["train"].train_iters == STEPS
    batch = given["train"].global_batch_size
    assert batch == config.batch_size
    optimizer, scheduler = built(bridge, given["optimizer"], given["scheduler"], given["train"], model)
    assert_walks_as_recommended(model, optimizer, lambda: scheduler.step(increment=batch), config)
    assert (optimizer.defaults["betas"], optimizer.defaults["eps"]) == (config.betas, config.eps)


@pytest.mark.parametrize(
    ("name", "arguments", "decay"),
    [
        (RECIPE, {"weight_decay": 0.1, "min_lr": 0.0}, 0.033),
        (RECIPE, {"weight_decay": 0.1, "start_weight_decay": 0.1, "end_weight_decay": 0.1}, 0.1),
        (RECIPE, {}, 0.033),
        (f"{RECIPE}_samples", {"weight_decay": 0.1, "lr_warmup_samples": 80}, 0.033),
        ("distributed_muon_with_cosine_annealing", {"weight_decay": 0.1, "min_lr": 0.0, "lr_warmup_iters": 10}, 0.033),
    ],
)
def test_recipes_decay_by_start_and_end(
    name: str, arguments: dict[str, Any], decay: float, bridge: SimpleNamespace
) -> None:
    """The config that a recipe's function returns says weight_decay, and the run decays by 0.033."""
    optimizer, scheduler = getattr(bridge.recipes, name)(precision="fp32", max_lr=0.01, **arguments)
    if "samples" in name:
        train = bridge.config.TrainingConfig(train_samples=800, global_batch_size=8)
    else:
        scheduler.lr_warmup_iters, scheduler.lr_decay_iters = 10, 100
        train = bridge.config.TrainingConfig(train_iters=100, global_batch_size=8)
    adamw, real = built(bridge, optimizer, scheduler, train, TinyLM())
    real.step(increment=8)
    assert adamw.param_groups[0]["weight_decay"] == decay
    written = ", ".join(f"{key}={each!r}" for key, each in {"max_lr": 0.01, **arguments}.items())
    config = read(FRAMEWORKS["megatron-bridge"](), f"opt, sched = {name}({written})")
    assert config.weight_decay == decay
    assert (config.peak_lr, config.schedule) == (0.01, "cosine")
    assert config.final_lr_fraction == pytest.approx((real.min_lr or 0.0) / real.max_lr)
    stated = "error" if "weight_decay" in arguments else "warning"  # by the caller, or by the function's default
    overridden = [("decay-overridden", stated)] if decay == 0.033 else []
    assert optimizer.weight_decay == 0.1
    assert [(finding.code, finding.severity) for finding in config.findings] == overridden
    assert ("weight_decay" in config.defaults) == (decay == 0.033)


def test_decay_is_overridden_in_the_configs_too(bridge: SimpleNamespace) -> None:
    """The same without a recipe; an assignment afterwards mends it."""
    source = (
        "optimizer = OptimizerConfig(lr=0.01, min_lr=0.0, weight_decay=0.1)\n"
        "scheduler = SchedulerConfig(start_weight_decay=0.033, end_weight_decay=0.033)\n"
        "train = TrainingConfig(train_iters=100, global_batch_size=8)\n"
    )
    config = read(FRAMEWORKS["megatron-bridge"](), source)
    assert [(finding.code, finding.severity) for finding in config.findings] == [("decay-overridden", "error")]
    namespace = vars(bridge.config).copy()
    exec(source, namespace)
    adamw, real = built(*(bridge, namespace["optimizer"], namespace["scheduler"], namespace["train"], TinyLM()))
    real.step(increment=8)
    assert adamw.param_groups[0]["weight_decay"] == 0.033 == config.weight_decay
    mended = source + "cfg.scheduler.start_weight_decay = 0.1\ncfg.scheduler.end_weight_decay = 0.1\n"
    assert read(FRAMEWORKS["megatron-bridge"](), mended).findings == ()


@pytest.mark.parametrize(
    ("optimizer", "scheduler", "code"),
    [
        ("lr=0.01, weight_decay=0.1", "start_weight_decay=0.1, end_weight_decay=0.1", "no-min-lr"),
        ("lr=0.01, min_lr=0.0, weight_decay=0.1", "lr_decay_style='cosine'", "no-scheduled-decay"),
    ],
)
def test_what_the_bridge_refuses_is_found(optimizer: str, scheduler: str, code: str, bridge: SimpleNamespace) -> None:
    """The real scheduler cannot be built from it."""
    source = f"a = OptimizerConfig({optimizer}); b = SchedulerConfig({scheduler})"
    config = read(FRAMEWORKS["megatron-bridge"](), source)
    assert [(finding.code, finding.severity) for finding in config.findings] == [(code, "error")]
    assert config.weight_decay == 0.1
    namespace = vars(bridge.config).copy()
    exec(source, namespace)
    train = bridge.config.TrainingConfig(train_iters=100, global_batch_size=8)
    with pytest.raises(TypeError):
        built(bridge, namespace["a"], namespace["b"], train, TinyLM())


def test_fixed_arguments_are_refused(bridge: SimpleNamespace) -> None:
    """The variant over samples has no argument for start and end."""
    name = f"{RECIPE}_samples"
    config = read(FRAMEWORKS["megatron-bridge"](), f"{name}(start_weight_decay=0.1)")
    assert ("unknown-argument", "start_weight_decay") in [(finding.code, finding.key) for finding in config.findings]
    with pytest.raises(TypeError):
        getattr(bridge.recipes, name)(start_weight_decay=0.1)


def test_defaults_are_the_bridges(bridge: SimpleNamespace) -> None:
    """What the configs leave out is what the real dataclasses and functions have."""
    config = read(
        FRAMEWORKS["megatron-bridge"](), "OptimizerConfig(lr=0.01, min_lr=0.0); TrainingConfig(train_iters=100)"
    )
    real, scheduler = bridge.config.OptimizerConfig(lr=0.01), bridge.config.SchedulerConfig()
    assert (config.betas, config.eps) == ((real.adam_beta1, real.adam_beta2), real.adam_eps)
    assert (config.weight_decay, config.optimizer) == (real.weight_decay, real.optimizer)
    assert (config.schedule, config.warmup_steps or 0) == (scheduler.lr_decay_style, scheduler.lr_warmup_iters)
    recipe = inspect.signature(getattr(bridge.recipes, RECIPE)).parameters
    config = read(FRAMEWORKS["megatron-bridge"](), f"{RECIPE}()")
    assert config.peak_lr == recipe["max_lr"].default
    assert config.betas == (recipe["adam_beta1"].default, recipe["adam_beta2"].default)
    assert config.warmup_steps == recipe["lr_warmup_iters"].default
    assert config.weight_decay == recipe["start_weight_decay"].default == recipe["end_weight_decay"].default
    assert set(config.defaults) == {
        "peak_lr",
        "warmup_steps",
        "weight_decay",
        "betas",
        "beta1",
        "eps",
        "optimizer",
        "final_lr_fraction",
    }


def test_a_warm_up_that_fills_the_run_is_found(bridge: SimpleNamespace) -> None:
    """The real config cuts it and warns; a recipe's 2000 iterations often do that."""
    config = read(
        FRAMEWORKS["megatron-bridge"](),
        f"{RECIPE}(weight_decay=0.1, start_weight_decay=0.1, end_weight_decay=0.1)\ncfg.train.train_iters = 100",
    )
    assert [finding.code for finding in config.findings] == ["warmup-fills-run"]
    assert config.lr_schedule.multiplier(0.5) == pytest.approx(0.5)
    optimizer, scheduler = getattr(bridge.recipes, RECIPE)(precision="fp32")
    train = bridge.config.TrainingConfig(train_iters=100, global_batch_size=8)
    with pytest.warns(UserWarning, match="capping"):
        built(bridge, optimizer, scheduler, train, TinyLM())


def test_reads_recipes_and_yaml() -> None:
    """Fields assigned to a recipe's config, and the YAML of its overrides."""
    part = FRAMEWORKS["megatron-bridge"]()
    recipe = read(
        part,
        f"cfg = _pretrain_common()\nopt_cfg, scheduler_cfg = {RECIPE}(max_lr=3e-4, lr_warmup_iters=500)\n"
        "cfg.optimizer.decoupled_lr = 6e-4\ncfg.train.train_iters = 1000\ncfg.train.global_batch_size = 512\n"
        "cfg.model.seq_length = 4096\ncfg.scheduler.lr_decay_style = 'linear'\n",
    )
    assert (recipe.total_steps, recipe.batch_size, recipe.sequence_length) == (1000, 512, 4096)
    assert (recipe.schedule, recipe.warmup_steps, recipe.final_lr_fraction) == ("linear", 500, pytest.approx(0.1))
    assert [group.lr_factor for group in recipe.groups] == [1, 2, 2, 1]
    yaml = read(
        part,
        "optimizer:\n  lr: 3e-4\n  min_lr: 3e-5\n  weight_decay: 0.1\nscheduler:\n  lr_decay_style: cosine\n"
        "  start_weight_decay: 0.1\n  end_weight_decay: 0.1\n  lr_warmup_iters: 10\ntrain:\n  train_iters: 100\n",
    )
    assert (yaml.peak_lr, yaml.weight_decay, yaml.total_steps, yaml.findings) == (3e-4, 0.1, 100, ())
    with pytest.raises(SpecError, match="no call"):
        read(part, "x = f(lr=1)")


def test_is_told_from_megatron() -> None:
    """Both share most keys."""
    for name in ("megatron", "megatron-bridge"):
        assert recognized(parse(emit(name, short("wsd")).text)) == name
