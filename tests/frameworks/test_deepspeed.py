"""DeepSpeed's JSON in its real engine, on the CPU."""

import importlib.util
import inspect
import json
import logging
import socket
import warnings
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from walking import STEPS, TinyLM, assert_walks_as_recommended, config_of, read, short

from adamw_scale.frameworks import FRAMEWORKS
from adamw_scale.frameworks.emission import emit

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("deepspeed") is None, reason="deepspeed is not installed"),
    pytest.mark.filterwarnings("ignore"),  # of its engine, none of them about what is written
]
RUNS: dict[str, dict[str, Any]] = {
    "linear": {},
    "cosine-to-10-percent": {},
    "constant": {},
    "linear-to-20-percent": {"warmup_steps": 0},
    "cosine without warm-up": {"schedule": "cosine", "warmup_steps": 0},
    "constant without warm-up": {"schedule": "constant", "warmup_steps": 0},
}


@pytest.fixture(scope="module")
def deepspeed() -> Iterator[Any]:
    """The library with one process, and without the one extension that it would compile."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(), socket.socket() as free:
        warnings.simplefilter("ignore")
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
        free.close()
        values = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        for variable, value in {**values, "DS_ACCELERATOR": "cpu"}.items():
            patch.setenv(variable, value)
        library = pytest.importorskip("deepspeed")
        patch.setitem(library.ops.__compatible_ops__, "deepspeed_shm_comm", False)
        logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
        library.init_distributed("gloo")
        yield library
        library.comm.destroy_process_group()


def engine_of(deepspeed: Any, config: dict[str, Any], model: TinyLM | None = None) -> Any:
    """A real engine; its Adam is torch's, as FusedAdam has to be compiled first."""
    config = json.loads(json.dumps({"train_batch_size": 1, **config}))
    config["optimizer"]["params"]["torch_adam"] = True
    model = (model or TinyLM()).float()
    return deepspeed.initialize(model=model, model_parameters=model.parameters(), config=config)[0]


def adamw(scheduler: str = "", params: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    """A small config."""
    optimizer = {"optimizer": {"type": "AdamW", "params": {"lr": 3e-4, "weight_decay": 0.1, **options}}}
    return {**optimizer, **({"scheduler": {"type": scheduler, "params": params}} if scheduler else {})}


@pytest.mark.parametrize("run", RUNS)
def test_every_step_is_as_recommended(run: str, deepspeed: Any) -> None:
    """The warm-up and WarmupDecayLR are a step behind the start of each step, all else is taken at it."""
    recommendation = short(run if " " not in run else "linear", **RUNS[run])
    text, config = emit("deepspeed", recommendation).text, config_of(recommendation, "deepspeed")
    model = TinyLM()
    engine = engine_of(deepspeed, json.loads(text), model)
    assert engine.train_batch_size() == 256
    model.double()

    def progress(step: int) -> float:
        lagging = config.warmup_steps and (config.schedule != "cosine" or step <= config.warmup_steps)
        return max(0, step - 1) / STEPS if lagging else step / STEPS

    def zero_gradients() -> None:
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)

    steps = SimpleNamespace(param_groups=engine.optimizer.param_groups, step=engine.step)
    assert_walks_as_recommended(model, steps, zero_gradients, config, progress)
    assert engine.global_steps == STEPS


def test_param_groups_win_over_the_json(deepspeed: Any) -> None:
    """How to group is so: what model_parameters says of itself stays."""
    model = TinyLM().float()
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1]},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0, "lr": 1e-4},
    ]
    config = {"train_batch_size": 1, **adamw(torch_adam=True)}
    _, optimizer, *_ = deepspeed.initialize(model=model, model_parameters=groups, config=config)
    assert [(group["lr"], group["weight_decay"]) for group in optimizer.param_groups] == [(3e-4, 0.1), (1e-4, 0.0)]


def test_defaults_are_the_librarys(deepspeed: Any) -> None:
    """Of each Adam that may run, and of each scheduler."""
    from deepspeed.ops.adam import DeepSpeedCPUAdam, FusedAdam
    from deepspeed.runtime import lr_schedules

    part = FRAMEWORKS["deepspeed"]()
    for adam, options in (
        (FusedAdam, {}),
        (DeepSpeedCPUAdam, {"type": "Adam"}),
        (torch.optim.AdamW, {"params": {"torch_adam": True}}),
        (torch.optim.Adam, {"type": "Adam", "params": {"torch_adam": True, "adam_w_mode": False}}),
    ):
        real = defaults_of(adam)
        config = read(part, json.dumps({"optimizer": {"type": "AdamW", "params": {}, **options}}))
        assert (config.peak_lr, config.weight_decay, config.eps) == (real["lr"], real["weight_decay"], real["eps"])
        assert config.betas == real["betas"]
        assert {"peak_lr", "weight_decay"} <= set(config.defaults)
    for name in ("WarmupLR", "WarmupDecayLR", "WarmupCosineLR"):
        real = defaults_of(getattr(lr_schedules, name))
        config = read(part, json.dumps(adamw(name, {"total_num_steps": 5000})))
        assert config.warmup_steps == real["warmup_num_steps"]
        assert config.peak_lr == (real.get("warmup_max_lr") or 3e-4)
        assert real["warmup_type"] == "log"
        if name == "WarmupCosineLR":
            assert config.final_lr_fraction == real["cos_min_ratio"]


def defaults_of(built: Any) -> dict[str, Any]:
    """Defaults of a constructor's arguments."""
    return {name: each.default for name, each in inspect.signature(built).parameters.items()}


def codes(config: dict[str, Any]) -> list[tuple[str, str]]:
    """What reading a config notes."""
    return [
        (finding.code, finding.severity) for finding in read(FRAMEWORKS["deepspeed"](), json.dumps(config)).findings
    ]


def test_warmup_decay_goes_to_its_own_peak(deepspeed: Any) -> None:
    """What the finding says is so: without warmup_max_lr the peak is 0.001, whatever lr says."""
    params = {"total_num_steps": 20, "warmup_num_steps": 4, "warmup_type": "linear"}
    config = adamw("WarmupDecayLR", params)
    engine = engine_of(deepspeed, config)
    assert max(lrs(engine, 20)) == pytest.approx(1e-3)
    assert read(FRAMEWORKS["deepspeed"](), json.dumps(config)).peak_lr == 1e-3
    assert codes(config) == [("lr-overridden", "error")]
    given = adamw("WarmupLR", {**params, "warmup_max_lr": 2e-4})
    del given["scheduler"]["params"]["total_num_steps"]
    assert max(lrs(engine_of(deepspeed, given), 20)) == pytest.approx(2e-4)
    assert codes(given) == [("lr-overridden", "error")]


def lrs(engine: Any, steps: int) -> list[float]:
    """Learning rate of each of a run's first steps."""
    rates = []
    for _ in range(steps):
        rates.append(float(engine.optimizer.param_groups[0]["lr"]))
        engine.optimizer.step()
        engine.lr_scheduler.step()
    return rates


def test_warmup_is_a_logarithm_unless_said(deepspeed: Any) -> None:
    """What the finding says is so, of unknown words too: half the peak after ten of a hundred steps."""
    for kind, noted in (
        ({}, ("log-warmup", "warning")),
        ({"warmup_type": "cosine"}, ("log-warmup", "warning")),
        ({"warmup_type": "log"}, ("log-warmup", "note")),
    ):
        config = adamw("WarmupLR", {"warmup_num_steps": 100, **kind})
        assert lrs(engine_of(deepspeed, config), 11)[-1] == pytest.approx(1.5e-4)
        assert codes(config) == [noted]


@pytest.mark.parametrize("steps", [0, 10.0])
def test_no_warmup_and_fractions_are_refused(steps: float, deepspeed: Any) -> None:
    """By DeepSpeed with an error, so the finding is one; 1 counts as 2."""
    config = adamw("WarmupLR", {"warmup_num_steps": steps, "warmup_type": "linear"})
    with pytest.raises(ValueError, match="positive integer"):
        engine_of(deepspeed, config)
    assert codes(config) == [("refused-value", "error")]
    once = adamw("WarmupLR", {"warmup_num_steps": 1, "warmup_type": "linear"})
    assert lrs(engine_of(deepspeed, once), 4) == pytest.approx([0, 0, 1.5e-4, 3e-4])
    assert read(FRAMEWORKS["deepspeed"](), json.dumps(once)).warmup_steps == 2


def test_adam_w_mode(deepspeed: Any) -> None:
    """Adam is AdamW unless told otherwise; AdamW always is."""
    config = adamw(adam_w_mode=False)
    assert type(engine_of(deepspeed, config).optimizer) is torch.optim.AdamW
    assert codes(config) == [("ignored-key", "warning")]
    config["optimizer"]["type"] = "Adam"
    assert type(engine_of(deepspeed, config).optimizer) is torch.optim.Adam
    assert read(FRAMEWORKS["deepspeed"](), json.dumps(config)).convention == "deepspeed-l2"
    assert codes(config) == []
    del config["optimizer"]["params"]["adam_w_mode"]
    assert type(engine_of(deepspeed, config).optimizer) is torch.optim.AdamW
    assert read(FRAMEWORKS["deepspeed"](), json.dumps(config)).convention == "deepspeed"


def test_max_grad_norm_is_refused(deepspeed: Any) -> None:
    """Clipping is written elsewhere."""
    config = adamw(max_grad_norm=1.0)
    with pytest.raises(ValueError, match="gradient_clipping"):
        engine_of(deepspeed, config)
    assert codes(config) == [("refused-key", "error")]


def test_schedulers_of_torch(deepspeed: Any) -> None:
    """By their names, with torch's defaults: LinearLR rises from a third unless told otherwise."""
    config = adamw("LinearLR", {"total_iters": 20})
    assert lrs(engine_of(deepspeed, config), 1) == pytest.approx([1e-4])
    assert codes(config) == [("schedule-unread", "note")]
    cosine = read(FRAMEWORKS["deepspeed"](), json.dumps(adamw("CosineAnnealingLR", {"T_max": 20, "eta_min": 3e-5})))
    assert (cosine.schedule, cosine.total_steps, cosine.final_lr_fraction) == ("cosine", 20, pytest.approx(0.1))


HUGGING_FACE = """{
  "zero_optimization": {"stage": 2},
  "optimizer": {"type": "AdamW", "params": {"lr": "auto", "betas": "auto", "eps": "auto", "weight_decay": "auto"}},
  "scheduler": {"type": "WarmupDecayLR", "params": {"warmup_min_lr": "auto", "warmup_max_lr": "auto",
    "warmup_num_steps": "auto", "total_num_steps": "auto", "warmup_type": "linear"}},
  "train_batch_size": "auto", "train_micro_batch_size_per_gpu": "auto", "gradient_accumulation_steps": "auto"
}"""


def test_auto_stays_unknown() -> None:
    """What the Trainer will fill in is not taken for DeepSpeed's default."""
    config = read(FRAMEWORKS["deepspeed"](), HUGGING_FACE)
    assert (config.peak_lr, config.betas, config.eps, config.warmup_steps) == (None,) * 4
    assert (config.total_steps, config.batch_size, config.per_device_batch_size) == (None,) * 3
    assert config.schedule == "linear"
    assert config.defaults == ()
    assert [finding.code for finding in config.findings] == ["filled-in-elsewhere"]


def test_reads_a_dict_in_python_and_what_has_no_optimizer() -> None:
    """Spellings seen in scripts."""
    part = FRAMEWORKS["deepspeed"]()
    config = read(
        part,
        "steps = 1000\nds_config = {\n  'train_batch_size': 4 * 8,\n"
        "  'optimizer': {'type': 'adam', 'params': {'lr': 3e-4, 'betas': [0.8, 0.99], 'weight_decay': 3e-7}},\n"
        "  'scheduler': {'type': 'WarmupCosineLR', 'params': {'total_num_steps': steps, 'warmup_num_steps': 100,\n"
        "    'warmup_type': 'linear', 'cos_min_ratio': 0.1}},\n}\n",
    )
    assert (config.peak_lr, config.betas, config.weight_decay, config.batch_size) == (3e-4, (0.8, 0.99), 3e-7, 32)
    assert (config.schedule, config.total_steps, config.warmup_steps, config.final_lr_fraction) == (
        "cosine",
        1000,
        100,
        0.1,
    )
    bare = read(part, '{"train_batch_size": 64, "zero_optimization": {"stage": 3}}')
    assert (bare.peak_lr, bare.betas, bare.schedule, bare.batch_size) == (None, None, None, 64)
    assert [finding.code for finding in bare.findings] == ["optimizer-elsewhere"]
