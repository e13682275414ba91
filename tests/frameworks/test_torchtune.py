"""torchtune's real config.instantiate and scheduler; its packages want an old torchao, so __init__ is left out."""

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from importlib.metadata import files
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import yaml
from walking import STEPS, TinyLM, assert_walks_as_recommended, config_of, read, short

from adamw_scale.errors import SpecError
from adamw_scale.frameworks import FRAMEWORKS
from adamw_scale.frameworks.emission import emit
from adamw_scale.frameworks.torchtune import COSINE, OLD_COSINE

omegaconf = pytest.importorskip("omegaconf", reason="torchtune is not installed")
RUNS: dict[str, dict[str, Any]] = {
    "cosine": {"schedule": "cosine"},
    "constant": {},
    "no warm-up": {"schedule": "cosine", "warmup_steps": 0},
    "constant without warm-up": {"schedule": "constant", "warmup_steps": 0},
    "samples": {"schedule": "cosine"},
}


@pytest.fixture(scope="module")
def instantiate() -> Iterator[Any]:
    """The real function that makes an object from a section, while other tests see none of its modules."""
    spec = importlib.util.find_spec("torchtune")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("torchtune is not installed")
    root = Path(spec.submodule_search_locations[0])
    try:
        for name in ("torchtune", "torchtune.config", "torchtune.training", "torchtune.utils", "torchtune.modules"):
            module = sys.modules[name] = ModuleType(name)
            module.__path__ = [str(root.joinpath(*name.split(".")[1:]))]
        memory = sys.modules["torchtune.training.memory"] = ModuleType("torchtune.training.memory")
        memory.OptimizerInBackwardWrapper = object  # type: ignore[attr-defined]
        yield importlib.import_module("torchtune.config._instantiate").instantiate
    finally:
        for name in [each for each in sys.modules if each.partition(".")[0] == "torchtune"]:
            del sys.modules[name]


def built(instantiate: Any, text: str, model: torch.nn.Module, steps_per_epoch: int) -> tuple[Any, Any]:
    """Optimizer and scheduler as a recipe makes them; it counts the steps itself."""
    config = omegaconf.OmegaConf.create(yaml.safe_load(text))
    optimizer = instantiate(config.optimizer, list(model.parameters()))
    limit = config.get("max_steps_per_epoch")
    total = config.get("epochs", 1) * (steps_per_epoch if limit is None else min(limit, steps_per_epoch))
    scheduler = instantiate(config.get("lr_scheduler"), optimizer, num_training_steps=total, last_epoch=-1)
    return optimizer, scheduler


@pytest.mark.parametrize("run", RUNS)
def test_every_step_is_as_recommended(run: str, instantiate: Any) -> None:
    """The scheduler is at the start of each step; everything decays alike."""
    recommendation = short(run if run in ("constant", "samples") else "linear", **RUNS[run])
    text, config = emit("torchtune", recommendation).text, config_of(recommendation, "torchtune")
    model = TinyLM()
    optimizer, scheduler = built(instantiate, text, model, STEPS + 100)
    assert_walks_as_recommended(model, optimizer, scheduler.step, config)
    assert (tuple(optimizer.defaults["betas"]), optimizer.defaults["eps"]) == (config.betas, config.eps)


def test_epochs_repeat_the_data_and_parts_of_them_are_limited() -> None:
    """Whole epochs need no limit; parts of one do."""

    def lengths(epochs: float) -> tuple[Any, Any]:
        keys = yaml.safe_load(emit("torchtune", short("samples", schedule="cosine", epochs=epochs)).text)
        return keys["epochs"], keys["max_steps_per_epoch"]

    assert lengths(3) == (3, None)
    assert lengths(0.5) == (1, STEPS / 2)
    assert lengths(1.5) == (2, STEPS * 3 / 4)


def test_defaults_are_torchs(instantiate: Any) -> None:
    """torchtune passes on what is written, so the rest is the optimizer's; and half a wave is the scheduler's."""
    config = read(FRAMEWORKS["torchtune"](), "optimizer:\n  _component_: torch.optim.AdamW\n  fused: false\n")
    real = torch.optim.AdamW([torch.ones(1)]).defaults
    assert (config.peak_lr, config.weight_decay) == (real["lr"], real["weight_decay"])
    assert (config.betas, config.eps) == (real["betas"], real["eps"])
    assert (config.schedule, config.accumulation) == ("constant", 1)
    filled = {"peak_lr", "weight_decay", "accumulation", "betas", "eps", "schedule", "packed"}
    assert set(config.defaults) == filled
    text = (
        f"optimizer: {{_component_: torch.optim.AdamW}}\nlr_scheduler: {{_component_: {COSINE}, num_warmup_steps: 0}}\n"
    )
    optimizer, scheduler = built(instantiate, text, TinyLM(), 100)
    for _ in range(50):
        optimizer.step()
        scheduler.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(real["lr"] / 2)
    assert read(FRAMEWORKS["torchtune"](), text).schedule == "cosine"


def test_schedulers_of_torch_are_refused(instantiate: Any) -> None:
    """The recipe passes an argument that they do not have."""
    text = (
        "optimizer: {_component_: torch.optim.AdamW}\n"
        "lr_scheduler: {_component_: torch.optim.lr_scheduler.StepLR, step_size: 5}\n"
    )
    config = read(FRAMEWORKS["torchtune"](), text)
    assert [(finding.code, finding.severity) for finding in config.findings] == [("scheduler-refused", "error")]
    assert config.schedule is None
    with pytest.raises(TypeError, match="num_training_steps"):
        built(instantiate, text, TinyLM(), 100)


def test_the_old_place_of_the_scheduler_is_found(instantiate: Any) -> None:
    """torchtune.modules held it once; it is read all the same."""
    config = read(FRAMEWORKS["torchtune"](), f"lr_scheduler:\n  _component_: {OLD_COSINE}\n  num_warmup_steps: 5\n")
    assert [(finding.code, finding.severity) for finding in config.findings] == [("moved", "warning")]
    assert (config.schedule, config.warmup_steps) == ("cosine", 5)
    sources = Path(sys.modules["torchtune.modules"].__path__[0]).glob("*.py")
    assert not any("get_cosine_schedule" in source.read_text() for source in sources)


def test_other_waves_are_found(instantiate: Any) -> None:
    """A whole wave is at its peak again when the run ends."""
    text = (
        f"optimizer: {{_component_: torch.optim.AdamW}}\nlr_scheduler: "
        f"{{_component_: {COSINE}, num_warmup_steps: 0, num_cycles: 1}}\n"
    )
    found = read(FRAMEWORKS["torchtune"](), text).findings
    assert [(finding.code, finding.severity) for finding in found] == [("other-waves", "warning")]
    optimizer, scheduler = built(instantiate, text, TinyLM(), 100)
    for _ in range(100):
        optimizer.step()
        scheduler.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(1e-3)


@pytest.mark.usefixtures("instantiate")
def test_reads_the_configs_that_torchtune_ships() -> None:
    """Every YAML with an AdamW in the release, references to other keys and all."""
    configs = {}
    for file in files("torchtune") or ():
        if file.suffix == ".yaml" and "AdamW" in (text := file.read_text()):
            configs[file.name] = read(FRAMEWORKS["torchtune"](), text)
    assert len(configs) > 50
    assert all(config.peak_lr and config.betas == (0.9, 0.999) for config in configs.values())
    assert not any(config.findings for config in configs.values())
    lora = configs["8B_lora_single_device.yaml"]
    assert (lora.schedule, lora.warmup_steps, lora.weight_decay) == ("cosine", 100, 0.01)


def test_reads_other_optimizers() -> None:
    """bitsandbytes and Adam; the rest is refused with what is known."""
    part = FRAMEWORKS["torchtune"]()
    paged = read(part, "optimizer: {_component_: bitsandbytes.optim.PagedAdamW8bit, lr: 2e-5}")
    assert (paged.convention, paged.peak_lr, paged.weight_decay) == ("bitsandbytes", 2e-5, 0.01)
    assert read(part, "optimizer: {_component_: torch.optim.Adam, lr: 2e-5}").convention == "torch-adam"
    with pytest.raises(SpecError, match=r"Known: torch\.optim\.AdamW"):
        read(part, "optimizer: {_component_: torch.optim.SGD, lr: 2e-5}")
