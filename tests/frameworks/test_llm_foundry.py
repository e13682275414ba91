"""LLM Foundry's YAML in its real param_groups, Composer's real DecoupledAdamW and both libraries' schedulers."""

import ast
import functools
import importlib
import importlib.util
import inspect
import logging
import re
import sys
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from walking import STEPS, TinyLM, assert_walks_as_recommended, config_of, read, short

from adamw_scale.auditing.configs import without_the_unknown
from adamw_scale.auditing.runs import run_fields
from adamw_scale.errors import SpecError
from adamw_scale.frameworks import FRAMEWORKS
from adamw_scale.frameworks.emission import emit

RUNS: dict[str, dict[str, Any]] = {
    **{run: {} for run in ("linear", "cosine-to-10-percent", "wsd", "constant", "linear-to-20-percent", "mup")},
    "wsd-to-10-percent": {"schedule": "wsd", "final_lr_fraction": 0.1},
    "inverse-sqrt": {"schedule": "inverse-sqrt"},
}


@pytest.fixture(scope="module")
def real() -> Iterator[SimpleNamespace]:
    """Optimizer, schedulers and groups of the two libraries, without what else their packages import."""
    paths = {}
    for package in ("composer", "llmfoundry"):
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            pytest.skip(f"could not import {package!r} (pip install --no-deps mosaicml llm-foundry)")
        paths[package] = Path(spec.submodule_search_locations[0])
    try:
        for name in (
            "composer",
            "composer.utils",
            "composer.core",
            "llmfoundry",
            "llmfoundry.utils",
            "llmfoundry.optim",
        ):
            package, *inner = name.split(".")
            sys.modules[name] = ModuleType(name)
            sys.modules[name].__path__ = [str(paths[package].joinpath(*inner))]
        utils, core = sys.modules["composer.utils"], sys.modules["composer.core"]
        vars(utils)["StringEnum"] = importlib.import_module("composer.utils.string_enum").StringEnum
        vars(utils)["dist"] = sys.modules["composer.utils.dist"] = ModuleType("composer.utils.dist")
        vars(core)["Serializable"] = importlib.import_module("composer.core.serializable").Serializable
        time = importlib.import_module("composer.core.time")
        vars(core).update({name: getattr(time, name) for name in ("Time", "TimeUnit", "Timestamp")})
        vars(core)["State"] = SimpleNamespace  # an annotation in schedulers; what they read of it is given below
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            optim = importlib.import_module("composer.optim")
            own = importlib.import_module("llmfoundry.optim.scheduler")
        names = (paths["llmfoundry"] / "utils" / "builders.py").read_text()
        registered = (paths["llmfoundry"] / "optim" / "__init__.py").read_text()
        schedulers = {
            name: getattr(optim, found, None) or getattr(own, found)
            for name, found in re.findall(r"schedulers\.register\(\s*'(\w+)',\s*func=(\w+)", registered)
        }
        yield SimpleNamespace(
            optim=optim, time=time, schedulers=schedulers, registered=registered, extract=_function(names)
        )
    finally:
        for loaded in [name for name in sys.modules if name.partition(".")[0] in paths]:
            del sys.modules[loaded]


def _function(source: str) -> Any:
    """_extract_param_groups of utils/builders.py, whose module imports a tokenizer's and a loader's world."""
    (found,) = [
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef) and node.name == "_extract_param_groups"
    ]
    for argument in found.args.args:
        argument.annotation = None
    found.returns = None
    log = logging.getLogger("llm-foundry")
    namespace: dict[str, Any] = {"re": re, "functools": functools, "OrderedDict": OrderedDict, "log": log}
    exec(compile(ast.Module([found], []), "builders.py", "exec", dont_inherit=True), namespace)
    return namespace["_extract_param_groups"]


def built(real: SimpleNamespace, text: str, model: torch.nn.Module) -> tuple[Any, Any, Any]:
    """Optimizer, scheduler and clock, from YAML as build_optimizer and build_scheduler take it apart."""
    given = yaml.safe_load(text)
    assert set(given) <= {"optimizer", "scheduler", "max_duration", "global_train_batch_size", "max_seq_len"}
    optimizer, scheduler = given["optimizer"], given["scheduler"]
    assert re.search(rf"optimizers\.register\(\s*'{optimizer.pop('name')}',\s*func=DecoupledAdamW", real.registered)
    groups = real.extract(model, optimizer)
    adamw = real.optim.DecoupledAdamW(groups, **optimizer)
    shape = real.schedulers[scheduler.pop("name")](**scheduler)
    state = SimpleNamespace(
        optimizers=[adamw],
        max_duration=real.time.Time.from_timestring(given["max_duration"]),
        timestamp=real.time.Timestamp(),
        dataloader_len=None,
    )
    return adamw, real.optim.compile_composer_scheduler(shape, state), state


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.filterwarnings("ignore:InverseSquareRootWithWarmupScheduler")  # is experimental
def test_every_step_is_as_recommended(run: str, real: SimpleNamespace) -> None:
    """Each step has the schedule of the start of the step before: the Trainer steps schedulers before its clock."""
    recommendation = short(run if not RUNS[run] else "linear", **RUNS[run])
    text, config = emit("llm-foundry", recommendation).text, config_of(recommendation, "llm-foundry")
    assert "nearest-schedule" not in text
    model = TinyLM()
    optimizer, scheduler, state = built(real, text, model)

    def next_step() -> None:
        scheduler.step()
        state.timestamp = state.timestamp.to_next_batch(samples=256)

    assert_walks_as_recommended(model, optimizer, next_step, config, lambda step: max(step - 1, 0) / STEPS)


def test_defaults_are_the_libraries(real: SimpleNamespace) -> None:
    """A config with names only gets DecoupledAdamW's and the schedulers' own defaults."""
    defaults = real.optim.DecoupledAdamW([torch.nn.Parameter(torch.ones(1))]).defaults
    config = read(
        FRAMEWORKS["llm-foundry"](),
        "optimizer: {name: decoupled_adamw}\nscheduler: {name: cosine_with_warmup, t_warmup: 100ba}\nmax_duration: 1ep",
    )
    assert (config.peak_lr, config.weight_decay) == (defaults["lr"], defaults["weight_decay"])
    assert (config.betas, config.eps) == (defaults["betas"], defaults["eps"])
    for name in ("cosine_with_warmup", "linear_decay_with_warmup"):
        alpha = inspect.signature(real.schedulers[name].__init__).parameters["alpha_f"].default
        assert config.final_lr_fraction == alpha
    assert set(config.defaults) == {"peak_lr", "weight_decay", "eps", "final_lr_fraction", "betas"}
    assert [group.weight_decay for group in config.groups] == [1e-5] * 4


FILE = """
variables:
  max_seq_len: 2048
  run_name: mpt-125m
max_seq_len: ${variables.max_seq_len}
optimizer:
  name: decoupled_adamw
  lr: 6.0e-4
  betas: [0.9, 0.95]
  eps: 1.0e-08
  weight_decay: 0.0
  param_groups:
  - param_str_match: 'norm|\\.bias$'
    weight_decay: 0.0
  - param_str_match: wte
    lr: 3.0e-3
    weight_decay: 1.0e-5
scheduler:
  name: cosine_with_warmup
  t_warmup: 100ba
  alpha_f: 0.1
max_duration: 4800ba
global_train_batch_size: 256
device_train_microbatch_size: auto
"""


def test_reads_a_yaml_of_the_repository() -> None:
    """With its variables, and with groups of which one scales the embedding."""
    config = read(FRAMEWORKS["llm-foundry"](), FILE)
    assert (config.peak_lr, config.weight_decay, config.total_steps, config.warmup_steps) == (6e-4, 0, 4800, 100)
    assert (config.final_lr_fraction, config.sequence_length, config.global_batch) == (0.1, 2048, 256)
    assert (config.group("embedding").weight_decay, config.group("embedding").lr_factor) == (1e-5, pytest.approx(5))
    assert config.group("norm-and-bias").weight_decay == config.group("output").weight_decay == 0
    assert config.group("output").lr_factor == 1
    assert not config.findings


@pytest.mark.parametrize(
    ("duration", "warmup", "field", "expected"),
    [
        ("1ep", "0.1dur", "warmup_fraction", 0.1),
        ("10000000tok", "1000000tok", "warmup_fraction", 0.1),
        ("2ep", "100ba", "warmup_steps", 100),
    ],
)
def test_reads_times_in_every_unit(duration: str, warmup: str, field: str, expected: float) -> None:
    """Steps stay steps; what has the run's own unit becomes a fraction of it."""
    config = read(
        FRAMEWORKS["llm-foundry"](),
        f"scheduler: {{name: linear_decay_with_warmup, t_warmup: {warmup}}}\nmax_duration: {duration}",
    )
    assert getattr(config, field) == expected
    assert not config.findings


def test_units_that_do_not_fit_are_refused_by_composer(real: SimpleNamespace) -> None:
    """What the finding says is so."""
    text = (
        "optimizer: {name: decoupled_adamw}\nscheduler: {name: cosine_with_warmup, t_warmup: 400tok}\nmax_duration: "
        "400ba"
    )
    with pytest.raises(ValueError, match="unit"):
        built(real, text, TinyLM())
    findings = read(FRAMEWORKS["llm-foundry"](), text).findings
    assert [(finding.code, finding.severity) for finding in findings] == [("time-units", "error")]


def test_shorter_end_is_refused_and_longer_end_cut_off(real: SimpleNamespace) -> None:
    """What the finding says is so."""
    text = (
        "optimizer: {name: decoupled_adamw}\nscheduler: {name: cosine_with_warmup, t_warmup: 40ba, t_max: %s}\n"
        "max_duration: 400ba"
    )
    with pytest.raises(ValueError, match="t_max"):
        built(real, text % "200ba", TinyLM())
    optimizer, scheduler, state = built(real, text % "800ba", TinyLM())
    state.timestamp = real.time.Timestamp(batch=400)
    optimizer.step()
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] > 0.5e-3
    config = read(FRAMEWORKS["llm-foundry"](), text % "800ba")
    assert [finding.code for finding in config.findings] == ["other-end"]
    assert config.lr_schedule.final == pytest.approx(optimizer.param_groups[0]["lr"] / (config.peak_lr or 0), abs=0.01)


@pytest.mark.parametrize("length", ["${duration}", "forever", "1..0ba", ".inf", "null"])
def test_a_duration_that_is_no_time_is_unknown_and_said(length: str) -> None:
    """Neither a traceback nor a number."""
    config = read(FRAMEWORKS["llm-foundry"](), f"max_duration: {length}\noptimizer: {{name: decoupled_adamw}}\n")
    assert (config.total_steps, config.epochs, config.total_tokens) == (None, None, None)
    assert "total_steps" in config.unknown
    assert [(finding.code, finding.key) for finding in config.findings] == [("time-unread", "max_duration")]


def test_durations_may_be_references_and_whole_numbers() -> None:
    """A name that the file explains; the Trainer takes a whole number for epochs."""
    part = FRAMEWORKS["llm-foundry"]()
    assert read(part, "duration: 500ba\nmax_duration: ${duration}\noptimizer: {lr: 1e-3}\n").total_steps == 500
    assert read(part, "max_duration: 2\noptimizer: {lr: 1e-3}\n").epochs == 2
    assert read(part, "max_duration: 1_000tok\noptimizer: {lr: 1e-3}\n").total_tokens == 1000


@pytest.mark.parametrize(("key", "asked"), [("t_warmup", "--warmup"), ("t_max", "--schedule")])
def test_a_schedule_with_a_time_that_is_not_known_is_not_known(key: str, asked: str) -> None:
    """It is asked for: its warm-up, or all of it."""
    text = f"max_duration: 400ba\nscheduler: {{name: cosine_with_warmup, t_warmup: 4ba, {key}: later}}\n"
    text = text.replace("t_warmup: 4ba, t_warmup", "t_warmup")
    config = without_the_unknown(read(FRAMEWORKS["llm-foundry"](), text))
    assert config.total_steps == 400
    assert {"--warmup", "--schedule"} & run_fields(config, "tokens")[1].keys() == {asked}


def test_intricate_patterns_are_left_out() -> None:
    """A regular expression that could run forever is never run."""
    config = read(
        FRAMEWORKS["llm-foundry"](),
        "optimizer:\n  name: decoupled_adamw\n  weight_decay: 1e-5\n  param_groups:\n"
        "  - {param_str_match: '([a-z.]+)+!', weight_decay: 0.0}\n  - {param_str_match: 'norm(', weight_decay: 0.0}\n",
    )
    assert [finding.code for finding in config.findings] == ["group-unread"] * 2
    assert config.group("norm-and-bias").weight_decay == 1e-5


def test_inverse_sqrt_with_a_cooldown_is_no_known_schedule() -> None:
    """It is neither WSD nor the plain inverse square root, so it is not called either."""
    text = (
        "scheduler: {name: inv_sqrt_with_warmup, t_warmup: 10ba, t_scale: 10ba, t_cooldown: 20ba}\nmax_duration: 100ba"
    )
    assert read(FRAMEWORKS["llm-foundry"](), text).schedule is None
    with pytest.raises(SpecError, match="not known here"):
        read(FRAMEWORKS["llm-foundry"](), "scheduler: {name: rex, t_warmup: 10ba}")
