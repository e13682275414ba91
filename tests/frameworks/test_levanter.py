"""Levanter's YAML in its own parser, optimizer, mask and schedules."""

import dataclasses
import importlib
import importlib.util
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from walking import POINTS, STEPS, advice, config_of, from_start, read, short

from adamw_scale import recommend
from adamw_scale.frameworks import FRAMEWORKS
from adamw_scale.frameworks.config import Config
from adamw_scale.frameworks.emission import emit
from adamw_scale.frameworks.levanter import FIELDS
from adamw_scale.theory import conventions
from adamw_scale.theory.weight_decay_schedules import Decay

RUNS: dict[str, dict[str, Any]] = {
    "linear": {},
    "cosine-to-10-percent": {},
    "wsd": {},
    "constant": {},
    "linear-to-20-percent": {},
    "mup": {},
    "samples": {},
    "wsd-cosine": {"schedule": "wsd-cosine"},
    "inverse-sqrt": {"schedule": "inverse-sqrt"},
    "restarts": {"schedule": "cosine-restarts", "cycles": 3, "final_lr_fraction": 0.1},
    "no-warmup": {"warmup_steps": 0},
    "one-step-of-warmup": {"warmup_steps": 1},
    "one-step-of-decay": {"schedule": "wsd", "decay_fraction": 1 / STEPS},
    "adamc": {"weight_decay_schedule": "follows-lr"},
    "adamc-cosine": {"weight_decay_schedule": "follows-lr", "schedule": "cosine", "final_lr_fraction": 0.1},
}
KINDS = {"embeddings": "embedding", "norm": "norm-and-bias", "hidden": "hidden", "lm_head": "output"}


@pytest.fixture(scope="module")
def levanter() -> Iterator[Any]:
    """Levanter's optimizers and libraries beneath; its package itself wants git, wandb and ray, and a tracker."""
    before = set(sys.modules)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        libraries = {name: pytest.importorskip(name) for name in ("jax", "equinox", "haliax", "haliax.nn", "draccus")}
        spec = importlib.util.find_spec("levanter")
        if spec is None or not spec.submodule_search_locations:
            pytest.skip("could not import 'levanter'")
        package, tracker = ModuleType("levanter"), ModuleType("levanter.tracker")
        package.__path__ = list(spec.submodule_search_locations)
        vars(tracker).update(dict.fromkeys(("log_hyperparameters", "jit_log", "log"), lambda *_, **__: None))
        vars(package)["tracker"] = tracker
        sys.modules |= {"levanter": package, "levanter.tracker": tracker}
        try:
            config = importlib.import_module("levanter.optim.config")
        finally:
            for name in [each for each in sys.modules if each.partition(".")[0] == "levanter" and each not in before]:
                del sys.modules[name]
    assert Path(config.__file__).parts[-3:] == ("levanter", "optim", "config.py")
    if not hasattr(config.AdamConfig, "adamc_weight_decay"):
        pytest.skip("levanter 1.1 and before have other keys")
    return SimpleNamespace(config=config, **{name.rpartition(".")[2]: each for name, each in libraries.items()})


@dataclasses.dataclass
class Trainer:
    """What train_lm's trainer section has of interest here."""

    num_train_steps: int = 400_000
    train_batch_size: int = 512


@dataclasses.dataclass
class Model:
    """What train_lm's model section has of interest here."""

    seq_len: int = 2048


def parsed(levanter: Any, text: str, folder: Path) -> Any:
    """Levanter's own reading of a YAML file."""
    adam = levanter.config.AdamConfig
    fields = [
        ("optimizer", levanter.config.OptimizerConfig, dataclasses.field(default_factory=adam)),
        ("trainer", Trainer, dataclasses.field(default_factory=Trainer)),
        ("model", Model, dataclasses.field(default_factory=Model)),
    ]
    file = folder / "train.yaml"
    file.write_text(text)
    return levanter.draccus.parse(dataclasses.make_dataclass("TrainLmConfig", fields), config_path=str(file), args=[])


def tiny_model(levanter: Any) -> Any:
    """A model of ones with Haliax's layers."""
    hax, nn, jax = levanter.haliax, levanter.nn, levanter.jax
    vocabulary, width, inner = hax.Axis("vocab", 8), hax.Axis("embed", 4), hax.Axis("mlp", 4)
    key = jax.random.PRNGKey(0)
    layers = {
        "embeddings": nn.Embedding.init(vocabulary, width, key=key),
        "norm": nn.LayerNorm.init(width),
        "hidden": nn.Linear.init(width, inner, key=key),
        "lm_head": nn.Linear.init(inner, vocabulary, key=key, use_bias=False),
    }
    annotations = {name: type(layer) for name, layer in layers.items()}
    kind = type("TinyLM", (levanter.equinox.Module,), {"__annotations__": annotations})
    return jax.tree.map(lambda x: jax.numpy.ones(x.shape), kind(**layers))


def assert_walks(levanter: Any, optimizer: Any, config: Config) -> None:
    """Every step on zero gradients; the decay of every tensor is as recommended, at the start of each step.

    Schedules are optax's, in single precision, so 3e-7 of the peak may be missing.
    """
    jax = levanter.jax
    weights = tiny_model(levanter)
    zeros, state, update = (
        jax.tree.map(jax.numpy.zeros_like, weights),
        optimizer.init(weights),
        jax.jit(optimizer.update),
    )
    decay = Decay(config.lr_schedule, config.weight_decay_schedule, config.final_weight_decay_fraction or 0.0)
    peak_lr = config.peak_lr or 0
    for step in range(STEPS):
        updates, state = update(zeros, state, weights)
        s, w = decay.lr.multiplier(from_start(step)), decay.own(from_start(step))
        assert float(state.hyperparams["learning_rate"]) == pytest.approx(peak_lr * s, rel=1e-6, abs=3e-7 * peak_lr)
        if step not in POINTS:
            continue
        seen = set()
        for path, change in jax.tree.leaves_with_path(updates):
            name = jax.tree_util.keystr(path)
            kind = "norm-and-bias" if ".bias" in name else KINDS[name.split(".")[1]]
            peak = conventions.decay_per_step(
                "levanter", config.group(kind).weight_decay, conventions.Setting(peak_lr=peak_lr), s=1.0
            )
            assert -float(change.mean()) == pytest.approx(peak * s * w, rel=1e-6, abs=6e-7 * peak), (name, step)
            seen.add(kind)
        assert seen == {"hidden", "embedding", "output", "norm-and-bias"}


@pytest.mark.parametrize("run", RUNS)
def test_every_step_is_as_recommended(levanter: Any, run: str, tmp_path: Path) -> None:
    """Parsed, built and walked by Levanter; embeddings decay as recommended, not as its default mask has it."""
    recommendation = short("linear" if RUNS[run] else run, **RUNS[run])
    text, config = emit("levanter", recommendation).text, config_of(recommendation, "levanter")
    real = parsed(levanter, text, tmp_path)
    assert real.trainer.num_train_steps == config.total_steps == STEPS
    assert real.trainer.train_batch_size == config.batch_size
    assert real.optimizer.adamc_weight_decay == run.startswith("adamc")
    with levanter.jax.enable_x64(True):
        assert_walks(levanter, real.optimizer.build(STEPS), config)


@pytest.mark.parametrize("run", ["adamc", "restarts", "inverse-sqrt", "one-step-of-warmup", "one-step-of-decay"])
def test_reads_back_what_it_wrote(run: str) -> None:
    """Schedules beyond the common ones too."""
    recommendation = short("linear", **RUNS[run])
    part = FRAMEWORKS["levanter"]()
    written, back = config_of(recommendation, "levanter"), read(part, emit(part.name, recommendation).text)
    assert back.weight_decay_schedule == written.weight_decay_schedule
    for number in range(101):
        expected = written.lr_schedule.multiplier(number / 100)
        assert back.lr_schedule.multiplier(number / 100) == pytest.approx(expected, abs=1e-6), number


def test_adamc_has_the_recommended_decay_at_peak() -> None:
    """AdamC's λ is that at peak lr, which is where the recommendation's is too."""
    run = advice("linear").run
    plain, recommendation = (
        recommend(run.model_copy(update={"weight_decay_schedule": schedule}), "power-lines")
        for schedule in ("constant", "follows-lr")
    )
    assert config_of(recommendation, "levanter").weight_decay == recommendation.weight_decay
    factor = plain.weight_decay / recommendation.weight_decay
    assert factor == pytest.approx(2 / 3, rel=1e-3)  # mean of s * s over mean of s


def test_defaults_are_the_librarys(levanter: Any) -> None:
    """A config that says nothing trains with Levanter's own defaults, and no other keys are known to it."""
    real, config = levanter.config.AdamConfig(), read(FRAMEWORKS["levanter"](), "trainer:\n  seed: 1\n")
    assert set(real.__dataclass_fields__) == FIELDS
    assert (config.peak_lr, config.weight_decay, config.eps) == (real.learning_rate, real.weight_decay, real.epsilon)
    assert config.betas == (real.beta1, real.beta2)
    assert (config.schedule, config.final_lr_fraction) == (real.lr_schedule, real.min_lr_ratio)
    assert config.warmup_steps == real.warmup * 400_000
    assert config.group("embedding").weight_decay == 0
    assert {"peak_lr", "weight_decay", "total_steps", "final_lr_fraction"} <= set(config.defaults)


CASES = {
    "warmup: 0.1": "{warmup: 0.1}",
    "wsd": "{lr_schedule: linear, decay: 0.2, warmup: 20, min_lr_ratio: 0.0}",
    "stable only": "{lr_schedule: linear, decay: 0, warmup: 20}",
    "whole-run decay": "{lr_schedule: linear, decay: 380, warmup: 20}",
    "late inverse square root": "{lr_schedule: {type: inv_sqrt, timescale: 100}, warmup: 20, min_lr_ratio: 0}",
    "inverse square root": "{lr_schedule: inv_sqrt, warmup: 20}",
    "cooldown": "{lr_schedule: constant, cooldown: 0.25, warmup: 20, min_lr_ratio: 0.0}",
    "cycles": "{cycles: 4, warmup: 0}",
    "cycle length": "{cycle_length: 100, warmup: 0}",
    "listed cycles": "{cycles: [160, 280], warmup: 40}",
    "text": "{learning_rate: 1e-3}",
}


@pytest.mark.filterwarnings("ignore:cooldown is deprecated:DeprecationWarning")
@pytest.mark.parametrize("case", CASES)
def test_schedule_is_read_as_levanter_reads_it(levanter: Any, case: str, tmp_path: Path) -> None:
    """The schedule found in a config is what Levanter makes of it, to 2 % of the peak where a table stands in."""
    text = f"optimizer: {CASES[case]}\ntrainer: {{num_train_steps: 400}}\n"
    real, config = parsed(levanter, text, tmp_path).optimizer, read(FRAMEWORKS["levanter"](), text)
    assert config.peak_lr == real.learning_rate
    schedule, tolerance = config.lr_schedule, 0.02 if config.schedule == "table" else 1e-5
    for step in range(0, STEPS, 7):
        lr = float(real.lr_scheduler(STEPS)(step))
        assert schedule.multiplier(step / STEPS) == pytest.approx(lr / real.learning_rate, abs=tolerance), step


MASKS = {
    "{}": {"hidden", "output"},
    "{default_weight_decay_mask: false}": {"hidden", "output", "embedding", "norm-and-bias"},
    "{weight_decay_modules: [Embedding.weight], default_weight_decay_mask: true}": {"hidden", "output", "embedding"},
    "{weight_decay_modules: [Linear.weight]}": {"hidden", "output"},
    '{weight_decay_modules: ".*lm_head.*weight|.*embeddings.*"}': {"output", "embedding"},
    '{weight_decay_modules: "lm_head"}': {"output"},
    '{weight_decay_modules: "head"}': set(),
}


@pytest.mark.parametrize("mask", MASKS)
def test_what_decays_is_read_as_levanter_reads_it(levanter: Any, mask: str, tmp_path: Path) -> None:
    """The groups that decay are those that Levanter's own mask decays; modules by name are said to be."""
    text = f"optimizer: {mask}\n"
    config, real = read(FRAMEWORKS["levanter"](), text), parsed(levanter, text, tmp_path).optimizer
    model, jax = tiny_model(levanter), levanter.jax
    decays = real.build_weight_decay_mask()
    found = jax.tree.leaves_with_path(decays(model) if decays else jax.tree.map(lambda x: True, model))
    names = {jax.tree_util.keystr(path): decayed for path, decayed in found}
    kinds = {
        "norm-and-bias" if ".bias" in name else KINDS[name.split(".")[1]] for name, decayed in names.items() if decayed
    }
    assert kinds == MASKS[mask] == {group.group for group in config.groups if group.weight_decay}
    noted = "weight_decay_modules" in mask and "Embedding" not in mask
    assert ("decay-by-name" in [finding.code for finding in config.findings]) == noted


def test_unknown_keys_are_refused(levanter: Any, tmp_path: Path) -> None:
    """What the finding says is so."""
    text = "optimizer:\n  learning_rate: 1e-3\n  betas: [0.9, 0.95]\n"
    with pytest.raises(levanter.draccus.utils.DecodingError, match="betas"):
        parsed(levanter, text, tmp_path)
    (finding,) = read(FRAMEWORKS["levanter"](), text).findings
    assert (finding.code, finding.severity, finding.key) == ("refused-key", "error", "optimizer.betas")


def test_one_is_the_whole_run(levanter: Any, tmp_path: Path) -> None:
    """A warm-up of 1 leaves no step to fall in."""
    text = "optimizer:\n  warmup: 1\ntrainer:\n  num_train_steps: 400\n"
    with pytest.raises(ValueError, match="decay_steps"):
        parsed(levanter, text, tmp_path).optimizer.lr_scheduler(400)
    (finding,) = read(FRAMEWORKS["levanter"](), text).findings
    assert (finding.code, finding.severity) == ("fraction-of-one", "error")


def test_reads_a_command_line() -> None:
    """Overrides after a config's path."""
    config = read(
        FRAMEWORKS["levanter"](),
        "python -m levanter.main.train_lm --config_path llama.yaml --optimizer.learning_rate 1e-3 \\\n"
        "  --optimizer.weight_decay 0.05 --optimizer.warmup 500 --trainer.num_train_steps 10000",
    )
    assert (config.peak_lr, config.weight_decay, config.warmup_steps) == (1e-3, 0.05, 500)


def test_schedule_of_the_batch_is_not_guessed() -> None:
    """A batch that changes on the way is said, not read."""
    config = read(
        FRAMEWORKS["levanter"](),
        "trainer:\n  train_batch_size:\n    - {start: 0, value: 256}\n    - {start: 1000, value: 512}\n",
    )
    assert config.batch_size is None
    assert [finding.code for finding in config.findings] == ["batch-schedule"]


def test_uneven_cycles_are_said() -> None:
    """One factor of growth is all that a schedule of restarts has."""
    config = read(
        FRAMEWORKS["levanter"](), "optimizer: {cycles: [100, 300, 320], warmup: 0}\ntrainer: {num_train_steps: 400}\n"
    )
    assert [finding.code for finding in config.findings] == ["uneven-cycles"]
