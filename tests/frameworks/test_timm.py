"""timm's arguments in its real optimizer and scheduler factories, and what a reader finds in other spellings."""

import importlib
import importlib.util
import re
import shlex
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from walking import STEPS, TinyLM, assert_walks_as_recommended, config_of, read, short

from adamw_scale.errors import SpecError
from adamw_scale.frameworks import FRAMEWORKS
from adamw_scale.frameworks.emission import emit
from adamw_scale.frameworks.timm import Timm

RUNS: dict[str, dict[str, Any]] = {
    **{
        run: {}
        for run in (
            "linear",
            "cosine-to-10-percent",
            "wsd",
            "wsd-1-sqrt",
            "constant",
            "linear-to-20-percent",
            "samples",
        )
    },
    "wsd-cosine": {"schedule": "wsd-cosine", "final_lr_fraction": 0.1},
    "polynomial": {"schedule": "polynomial", "schedule_power": 3.0},
    "inverse-sqrt": {"schedule": "inverse-sqrt"},
    "no-warmup": {"warmup_steps": 0},
    "follows-lr": {"weight_decay_schedule": "follows-lr"},
}
WORDS = {"opt", "sched", "lr_decay_fn"}


@pytest.fixture(scope="module")
def real() -> Iterator[SimpleNamespace]:
    """timm.optim and timm.scheduler without timm's __init__, which wants torchvision; train.py is not in the wheel."""
    spec = importlib.util.find_spec("timm")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("could not import 'timm' (pip install --no-deps timm)")
    path = spec.submodule_search_locations[0]
    try:
        sys.modules["timm"] = ModuleType("timm")
        sys.modules["timm"].__path__ = [path]
        sys.modules["timm.models"] = ModuleType("timm.models")
        vars(sys.modules["timm.models"])["group_parameters"] = None  # for layer decay only
        optim, scheduler = importlib.import_module("timm.optim"), importlib.import_module("timm.scheduler")
        factory = importlib.import_module("timm.scheduler.scheduler_factory")
        assert Path(factory.__file__ or "").is_relative_to(path)
        yield SimpleNamespace(
            names=optim.list_optimizers(),
            optimizer=optim.create_optimizer_v2,
            optimizer_kwargs=optim.optimizer_kwargs,
            scheduler=scheduler.create_scheduler_v2,
            scheduler_kwargs=factory.scheduler_kwargs,
        )
    finally:
        for loaded in [name for name in sys.modules if name.partition(".")[0] == "timm"]:
            del sys.modules[loaded]


def arguments_of(text: str) -> Namespace:
    """Flags of the emitted bash array, typed as train.py types them; whole numbers stay whole."""
    inside = re.search(r"ADAMW_ARGS=\(\n(.*?)\n\)", text, re.DOTALL)
    assert inside
    given: dict[str, Any] = {"momentum": 0.9}
    for flag in inside[1].split("--")[1:]:
        name, *values = shlex.split(flag)
        key = name.replace("-", "_")
        numbers = [each if key in WORDS else int(each) if each.isdecimal() else float(each) for each in values]
        given[key] = True if not numbers else numbers if key == "opt_betas" else numbers[0]
    return Namespace(**given)


def built(real: SimpleNamespace, given: Namespace, model: TinyLM, updates_per_epoch: int) -> tuple[Any, Any, Any]:
    """Optimizer, scheduler and number of epochs, made as train.py makes them."""
    optimizer = real.optimizer(model, **real.optimizer_kwargs(cfg=given))
    scheduler, epochs = real.scheduler(optimizer, **real.scheduler_kwargs(given), updates_per_epoch=updates_per_epoch)
    return optimizer, scheduler, epochs


def walk(scheduler: Any, optimizer: Any, steps: int = STEPS) -> list[float]:
    """Learning rates of a run."""
    lrs = []
    for step in range(steps):
        lrs.append(optimizer.param_groups[0]["lr"])
        scheduler.step_update(num_updates=step + 1)
    return lrs


@pytest.mark.parametrize("epochs", [1, 10])
@pytest.mark.parametrize("run", RUNS)
def test_every_step_is_as_recommended(run: str, epochs: int, real: SimpleNamespace) -> None:
    """The schedule is taken at the start of each step; corrected decay falls with the square of the lr."""
    name, changes = (
        (run, {}) if not RUNS[run] else ("cosine-to-10-percent" if run == "no-warmup" else "linear", RUNS[run])
    )
    batch = 1024 if run == "samples" else 256 * 2048
    recommendation = short(name, **{"epochs": epochs, "dataset_size": STEPS * batch / epochs, **changes})
    given = arguments_of(emit("timm", recommendation).text)
    assert given.batch_size == (1024 if run == "samples" else 256)
    assert isinstance(given.warmup_epochs, int) == (epochs == 10 or run == "no-warmup")  # train.py wants whole epochs
    model, config = TinyLM(), config_of(recommendation, "timm")
    optimizer, scheduler, whole_run = built(real, given, model, STEPS // epochs)
    assert whole_run == pytest.approx(epochs)
    if run == "follows-lr":
        assert (given.opt, config.convention) == ("adamc", "timm")
        config = config.model_copy(update={"convention": "timm-corrected"})
    steps = iter(range(1, STEPS + 1))
    assert_walks_as_recommended(model, optimizer, lambda: scheduler.step_update(num_updates=next(steps)), config)


def test_defaults_are_the_librarys(real: SimpleNamespace) -> None:
    """Those of the optimizer and the scheduler; train.py's own, 2e-5 and 300 epochs with 5 of warm-up, are its own."""
    config = read(FRAMEWORKS["timm"](), "python train.py --opt adamw --lr 1e-3")
    given = Namespace(opt="adamw", lr=1e-3, weight_decay=2e-5, momentum=0.9, sched="cosine")
    defaults = real.optimizer(TinyLM(), **real.optimizer_kwargs(cfg=given)).defaults
    assert (config.betas, config.eps) == (defaults["betas"], defaults["eps"])
    kwargs = real.scheduler_kwargs(given)
    assert (config.schedule, config.final_lr_fraction) == (kwargs["sched"], kwargs["min_lr"])
    assert config.warmup_fraction == kwargs["warmup_epochs"] / 300
    assert (config.weight_decay, config.epochs) == (2e-5, 300)
    assert config.group("norm-and-bias").weight_decay == 0
    assert {"weight_decay", "epochs", "warmup_fraction"} <= set(config.defaults)


SHELL = """
torchrun --nproc_per_node=8 train.py --data-dir /data -b 128 -j 8 --model vit_small_patch16_224 --opt adamw \\
  --lr 1e-3 --weight-decay 0.05 --opt-betas 0.9 0.95 --sched cosine --sched-on-updates --epochs 90 \\
  --warmup-epochs 10 --warmup-prefix --min-lr 1e-5 --grad-accum-steps 2 --amp
"""
YAML = """
opt: adamw
lr: 1.0e-3
weight_decay: 0.05
opt_betas: [0.9, 0.95]
sched: cosine
sched_on_updates: true
epochs: 90
warmup_epochs: 10
warmup_prefix: true
min_lr: 1.0e-5
batch_size: 128
grad_accum_steps: 2
"""


@pytest.mark.parametrize("text", [SHELL, YAML], ids=["shell", "yaml"])
def test_reads_command_lines_and_files(text: str) -> None:
    """The same run in two languages; devices are in the launch only."""
    config = read(FRAMEWORKS["timm"](), text)
    assert (config.peak_lr, config.weight_decay, config.betas) == (1e-3, 0.05, (0.9, 0.95))
    assert (config.schedule, config.epochs, config.warmup_fraction) == ("cosine", 100, 0.1)
    assert config.final_lr_fraction == pytest.approx(0.01)
    assert (config.per_device_batch_size, config.accumulation) == (128, 2)
    assert config.global_batch == (2048 if text == SHELL else None)
    assert not config.findings


def test_reads_scripts_that_are_not_timms() -> None:
    """MAE scales --blr with the batch; ConvNeXt moves its weight decay; both decay 0.05 if nothing is said."""
    mae = read(
        FRAMEWORKS["timm"](),
        "python -m torch.distributed.launch --nproc_per_node=8 main_pretrain.py --batch_size 64 --accum_iter 2 "
        "--mask_ratio 0.75 --epochs 800 --warmup_epochs 40 --blr 1.5e-4",
    )
    assert (mae.peak_lr, mae.weight_decay, mae.betas) == (pytest.approx(1.5e-4 * 1024 / 256), 0.05, (0.9, 0.95))
    assert (mae.epochs, mae.warmup_fraction, mae.convention) == (800, 0.05, "timm")
    assert [finding.code for finding in mae.findings] == ["lr-scaling"]
    convnext = read(
        FRAMEWORKS["timm"](),
        "python main.py --batch_size 128 --lr 4e-3 --update_freq 4 --weight_decay 0.1 --weight_decay_end 0.2 "
        "--layer_decay 0.7 --epochs 300 --warmup_epochs 20 --min_lr 1e-6",
    )
    assert (convnext.weight_decay_schedule, convnext.final_weight_decay_fraction) == ("cosine", 2)
    assert (convnext.peak_lr, convnext.accumulation, convnext.optimizer) == (4e-3, 4, "adamw")
    assert [finding.code for finding in convnext.findings] == ["layer-decay"]


def test_optimizer_names_are_conventions(real: SimpleNamespace) -> None:
    """Corrected by name or by argument; SGD is not read, though it is what train.py takes if nothing is said."""
    part = FRAMEWORKS["timm"]()
    assert read(part, "--opt adamc --lr 1e-3").convention == "timm-corrected"
    assert read(part, "--opt adamw --lr 1e-3").convention == "timm"
    assert read(part, "--opt nadamw --opt-kwargs corrected_weight_decay=True --lr 1e-3").convention == "timm-corrected"
    assert set(Timm.optimizers) <= set(real.names)
    assert real.optimizer(TinyLM(), "nadamw", lr=1e-3, corrected_weight_decay=True).defaults["corrected_weight_decay"]
    assert real.optimizer(TinyLM(), "adamc", lr=1e-3).defaults["corrected_weight_decay"]
    with pytest.raises(TypeError):
        real.optimizer(TinyLM(), "adamw", lr=1e-3, corrected_weight_decay=True)
    with pytest.raises(SpecError, match="adamw"):
        read(part, "--opt sgd --lr 0.1")
    assert "optimizer-default" in [finding.code for finding in read(part, "--sched cosine --lr 1e-3").findings]


def test_lr_is_scaled_with_the_root_of_the_batch_if_it_is_not_given() -> None:
    """As train.py does for optimizers with `ada` in their name; without the devices it cannot be told."""
    part = FRAMEWORKS["timm"]()
    text = "train.py --opt adamw --lr-base 1e-3 --batch-size 256"
    assert read(part, f"torchrun --nproc_per_node 4 {text}").peak_lr == pytest.approx(2e-3)
    assert read(part, f"torchrun --nproc_per_node 4 {text} --lr-base-scale linear").peak_lr == pytest.approx(4e-3)
    unknown = read(part, f"python {text}")
    assert unknown.peak_lr is None
    assert ("lr-scaling", "warning") in [(finding.code, finding.severity) for finding in unknown.findings]


def codes(text: str) -> list[str]:
    """What is found in arguments."""
    return [finding.code for finding in read(FRAMEWORKS["timm"](), f"--opt adamw --lr 1e-3 {text}").findings]


def lrs(real: SimpleNamespace, **given: Any) -> list[float]:
    """Learning rates of ten epochs of 40 steps."""
    known = {"opt": "adamw", "lr": 1e-3, "weight_decay": 0.1, "momentum": 0.9, "sched": "cosine", "epochs": 10}
    optimizer, scheduler, _ = built(real, Namespace(**{**known, **given}), TinyLM(), 40)
    return walk(scheduler, optimizer)


def test_warmup_inside_the_curve_hides_the_peak(real: SimpleNamespace) -> None:
    """What the finding says is so."""
    inside = lrs(real, warmup_epochs=2, sched_on_updates=True)
    assert inside[80] < 0.91e-3 < inside[79]
    assert lrs(real, warmup_epochs=2, sched_on_updates=True, warmup_prefix=True)[80] == 1e-3
    assert codes("--epochs 10 --warmup-epochs 2 --sched-on-updates") == ["warmup-inside"]
    assert codes("--epochs 8 --warmup-epochs 2 --sched-on-updates --warmup-prefix") == []


def test_without_updates_the_lr_does_not_move_within_an_epoch(real: SimpleNamespace) -> None:
    """What the finding says is so: the first epoch runs at the lr that the warm-up starts from."""
    assert set(lrs(real, warmup_epochs=2)) == {1e-5}
    assert codes("--epochs 8 --warmup-epochs 2 --warmup-prefix") == ["steps-of-an-epoch"]


def test_poly_without_a_power_hardly_falls(real: SimpleNamespace) -> None:
    """What the finding says is so."""
    assert lrs(real, sched="poly", warmup_epochs=0, sched_on_updates=True)[200] > 0.93e-3
    text = "--sched poly --epochs 10 --warmup-epochs 0 --sched-on-updates"
    assert codes(text) == ["power-default"]
    assert codes(f"{text} --decay-rate 1.0") == []
    assert read(FRAMEWORKS["timm"](), f"--opt adamw --lr 1e-3 {text} --decay-rate 1.0").schedule == "linear"


def test_warmup_longer_than_the_run_never_peaks(real: SimpleNamespace) -> None:
    """What the finding says is so; the default of 5 epochs is enough for it."""
    assert max(lrs(real, warmup_epochs=20, sched_on_updates=True)) < 0.51e-3
    assert codes("--epochs 3 --sched-on-updates") == ["warmup-never-ends", "warmup-inside"]


def test_mup_is_one_number_with_a_caution() -> None:
    """train.py has one lr and one λ."""
    snippet = emit("timm", short("mup"))
    assert "one-weight-decay" in [caution.code for caution in snippet.cautions]
