"""Composer's snippet with its real DecoupledAdamW, schedulers and clock, and what a reader finds in other spellings."""

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from conftest import EVERY_SCHEDULE
from walking import STEPS, TinyLM, assert_walks_as_recommended, config_of, read, short

from adamw_scale.frameworks import FRAMEWORKS
from adamw_scale.frameworks.emission import emit
from adamw_scale.theory import conventions

RUNS: dict[str, dict[str, Any]] = {
    **{run: {} for run in ("linear", "cosine-to-10-percent", "wsd", "wsd-1-sqrt", "constant", "mup", "samples")},
    "polynomial": {"schedule": "polynomial", "schedule_power": 3.0, "final_lr_fraction": 0.1},
    "step": {"schedule": "step", "milestones": (0.8, 0.9)},
    "restarts": {"schedule": "cosine-restarts", "cycles": 2, "warmup_steps": None},
}


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    """Composer's optimizers, schedulers and times without its packages' __init__, which want torchvision."""
    spec = importlib.util.find_spec("composer")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("could not import 'composer' (pip install --no-deps mosaicml)")
    path, before = (
        Path(spec.submodule_search_locations[0]),
        {n for n in sys.modules if n.partition(".")[0] == "composer"},
    )
    assert not before
    try:
        for name in ("composer", "composer.utils", "composer.core"):
            package = ModuleType(name)
            package.__path__ = [str(path.joinpath(*name.split(".")[1:]))]
            sys.modules[name] = package
        utils, core = sys.modules["composer.utils"], sys.modules["composer.core"]
        vars(utils)["StringEnum"] = importlib.import_module("composer.utils.string_enum").StringEnum
        vars(utils)["dist"] = sys.modules["composer.utils.dist"] = ModuleType("composer.utils.dist")
        vars(core)["Serializable"] = importlib.import_module("composer.core.serializable").Serializable
        time = importlib.import_module("composer.core.time")
        vars(core).update({name: getattr(time, name) for name in ("Time", "TimeUnit", "Timestamp")})
        vars(core)["State"] = SimpleNamespace  # an annotation in schedulers; what they read of it is given below
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module("composer.optim")
        yield path
    finally:
        for loaded in [name for name in sys.modules if name.partition(".")[0] == "composer"]:
            del sys.modules[loaded]


def composed(text: str) -> dict[str, Any]:
    """What the snippet defines."""
    namespace: dict[str, Any] = {"__name__": "snippet"}
    exec(compile(text, "snippet.py", "exec", dont_inherit=True), namespace)
    return namespace


def clocked(optimizer: Any, duration: str) -> Any:
    """What a scheduler reads of the Trainer's state."""
    time = sys.modules["composer.core.time"]
    return SimpleNamespace(
        optimizers=[optimizer],
        max_duration=time.Time.from_timestring(duration),
        timestamp=time.Timestamp(),
        dataloader_len=None,
    )


@pytest.mark.parametrize("run", RUNS)
def test_every_step_is_as_recommended(run: str, root: Path) -> None:
    """Each step has the schedule of the step before, taken at its start, or at its middle where it is a function."""
    recommendation = short(run if not RUNS[run] else "linear", **RUNS[run])
    namespace, config = composed(emit("composer", recommendation).text), config_of(recommendation, "composer")
    model = TinyLM()
    optimizer = namespace["build_optimizer"](*((model, model.lm_head) if run == "mup" else (model,)))
    assert Path(sys.modules["composer.optim"].__file__ or "").is_relative_to(root)
    assert type(optimizer).__module__ == "composer.optim.decoupled_weight_decay"
    state = clocked(optimizer, namespace["MAX_DURATION"])
    scheduler = sys.modules["composer.optim"].compile_composer_scheduler(namespace["scheduler"], state)
    within = 0.5 if "lr_multiplier" in namespace else 0.0

    def next_step() -> None:
        scheduler.step()
        state.timestamp = state.timestamp.to_next_batch(samples=256)

    assert_walks_as_recommended(model, optimizer, next_step, config, lambda step: (max(step - 1, 0) + within) / STEPS)


def test_the_trainer_steps_its_schedulers_before_its_clock(root: Path) -> None:
    """The order that `next_step` above repeats, from the source; the Trainer itself needs more than is installed."""
    source = (root / "trainer" / "trainer.py").read_text()
    per_batch = source.index("if self._scheduler_step_frequency == TimeUnit.BATCH:\n                    for scheduler")
    assert per_batch < source.index("scheduler.step()", per_batch) < source.index(".to_next_batch(", per_batch)
    assert source.index(".to_next_batch(") > per_batch


@pytest.mark.parametrize("schedule", EVERY_SCHEDULE)
def test_every_schedule_is_written(schedule: str, root: Path) -> None:
    """As one of Composer's classes, or as a function."""
    warmup = {} if schedule in ("one-cycle", "table") else {"warmup_steps": 0 if schedule != "inverse-sqrt" else 40}
    options = {key: each for key, each in EVERY_SCHEDULE[schedule].items() if key != "warmup_fraction"}
    recommendation = short("linear", schedule=schedule, **{"warmup_steps": None, **warmup, **options})
    snippet = emit("composer", recommendation)
    assert "nearest-schedule" not in [caution.code for caution in snippet.cautions]
    state = clocked(None, composed(snippet.text)["MAX_DURATION"])
    assert 0 <= composed(snippet.text)["scheduler"](state) <= 1


def test_decay_of_a_group_does_not_depend_on_its_lr(root: Path) -> None:
    """The hidden matrices of muP have an eighth of the lr; their value is λ times their own lr."""
    recommendation = short("mup")
    hidden = recommendation.param_groups[0]
    written = config_of(recommendation, "composer").group("hidden").weight_decay
    assert written == pytest.approx(hidden.weight_decay * hidden.peak_lr)
    assert conventions.CONVENTIONS["composer"].kind == "independent"


def test_defaults_are_the_librarys(root: Path) -> None:
    """What DecoupledAdamW does if it is told nothing."""
    import torch

    real = sys.modules["composer.optim"].DecoupledAdamW([torch.nn.Parameter(torch.ones(1))]).defaults
    config = read(FRAMEWORKS["composer"](), "DecoupledAdamW(model.parameters())")
    assert (config.peak_lr, config.weight_decay) == (real["lr"], real["weight_decay"])
    assert (config.betas, config.eps) == (real["betas"], real["eps"])
    assert [group.weight_decay for group in config.groups] == [1e-5] * 4
    assert set(config.defaults) == {"peak_lr", "weight_decay", "betas", "eps"}


def test_reads_a_training_script() -> None:
    """Optimizer, scheduler and duration of the README's kind."""
    config = read(
        FRAMEWORKS["composer"](),
        "optimizer = composer.optim.DecoupledAdamW(model.parameters(), lr=6e-4, betas=(0.9, 0.95), weight_decay=6e-5)\n"
        "trainer = Trainer(model=model, optimizers=optimizer, max_duration='10ep', eval_interval='1ep',\n"
        "    schedulers=LinearWithWarmupScheduler(t_warmup='1ep', alpha_f=0.02))\n",
    )
    assert (config.schedule, config.warmup_fraction, config.final_lr_fraction) == ("linear", 0.1, 0.02)
    assert (config.epochs, config.peak_lr, config.weight_decay) == (10, 6e-4, 6e-5)
    assert read(FRAMEWORKS["composer"](), "DecoupledAdamW(p, lr=1e-3)\nscheduler = f").schedule is None
    soon = read(FRAMEWORKS["composer"](), "DecoupledAdamW(p)\nTrainer(max_duration='soon')")
    assert (soon.total_steps, [finding.code for finding in soon.findings]) == (None, ["time-unread"])
