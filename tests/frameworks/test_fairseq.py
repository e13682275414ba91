"""fairseq's arguments in its own parser, optimizer and schedulers, in a process of its own.

fairseq 0.12.2 has only a source release and wants omegaconf 2.0, which does not install beside today's packages: put
its sources and `pip install --no-deps --target DIR omegaconf==2.0.6 hydra-core==1.0.7 antlr4-python3-runtime==4.8`
on ADAMW_SCALE_FAIRSEQ (as on PYTHONPATH) to run these tests.
"""

import json
import math
import os
import re
import shlex
import subprocess
import sys
from typing import Any

import pytest
from walking import POINTS, STEPS, config_of, from_start, read, short, shrink

from adamw_scale.errors import SpecError
from adamw_scale.frameworks import FRAMEWORKS
from adamw_scale.frameworks.emission import emit

RUNS: dict[str, dict[str, Any]] = {
    "linear": {},
    "cosine-to-10-percent": {},
    "constant": {},
    "linear-to-20-percent": {},
    "samples": {},
    "polynomial": {"schedule": "polynomial", "schedule_power": 3.0, "final_lr_fraction": 0.05},
    "inverse-sqrt": {"schedule": "inverse-sqrt"},
    "exponential": {"schedule": "exponential", "final_lr_fraction": 0.01},
    "restarts": {"schedule": "cosine-restarts", "cycles": 3, "final_lr_fraction": 0.1},
    "growing-restarts": {"schedule": "cosine-restarts", "cycles": 2, "cycle_growth": 2.0},
    "no-warmup": {"warmup_steps": 0},
    "cosine-without-warmup": {"warmup_steps": 0, "schedule": "cosine"},
}
BASE = "--optimizer adam --lr 1e-3 --max-update 400 "
REFUSED = {
    "tri-stage": BASE + "--lr-scheduler tri_stage --warmup-updates 40 --decay-steps 360",
    "fraction": BASE + "--lr-scheduler cosine --warmup-updates 2.5",
}
OTHERS = {
    "defaults": "--optimizer adam",
    "warm from min": BASE + "--lr-scheduler cosine --warmup-updates 40 --min-lr 1e-4",
    "shrinking": BASE + "--lr-scheduler cosine --lr-period-updates 200",
    "tri-stage": BASE + "--lr-scheduler tri_stage --warmup-steps 40 --hold-steps 200 --decay-steps 160",
    "ratios": BASE + "--lr-scheduler tri_stage --phase-ratio '(0.25, 0.25, 0.5)' --final-lr-scale 0.1",
}
# Walks every run on stdin. The dataclasses of fairseq and of hydra 1.0 are defaults of others, which Python
# 3.11 takes only if they are hashable; fairseq's package imports compiled parts, so its modules are loaded without it.
WALK = """
import argparse, dataclasses, importlib.util, json, sys, types
plain = dataclasses.dataclass
def hashable(cls=None, /, **options):
    def wrap(c):
        free = not options.get("frozen") and options.get("eq", True) and "__hash__" not in c.__dict__
        return plain(c, **({**options, "unsafe_hash": True} if free else options))
    return wrap if cls is None else wrap(cls)
dataclasses.dataclass = hashable
spec = importlib.util.find_spec("fairseq")
package, utils = types.ModuleType("fairseq"), types.ModuleType("fairseq.utils")
package.__path__, package.utils, utils.multi_tensor_total_norm = list(spec.submodule_search_locations), utils, None
sys.modules |= {"fairseq": package, "fairseq.utils": utils}
said, sys.stdout = sys.stdout, sys.stderr
import fairseq.optim, torch
from fairseq.dataclass.configs import DatasetConfig, OptimizationConfig
from fairseq.dataclass.utils import gen_parser_from_dataclass
from fairseq.optim.lr_scheduler import LR_SCHEDULER_DATACLASS_REGISTRY, LR_SCHEDULER_REGISTRY
from omegaconf import OmegaConf

def arguments(words):
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--optimizer")
    parser.add_argument("--lr-scheduler", default="fixed")
    parser.add_argument("--tokens-per-sample", type=int)
    gen_parser_from_dataclass(parser, OptimizationConfig())
    gen_parser_from_dataclass(parser, DatasetConfig())
    known, _ = parser.parse_known_args(words)
    gen_parser_from_dataclass(parser, fairseq.optim.OPTIMIZER_DATACLASS_REGISTRY[known.optimizer]())
    gen_parser_from_dataclass(parser, LR_SCHEDULER_DATACLASS_REGISTRY[known.lr_scheduler]())
    return parser.parse_args(words)

def fields(kind, given, **more):
    found = {name: getattr(given, name) for name in kind.__dataclass_fields__ if hasattr(given, name)}
    return OmegaConf.create({**found, "lr": list(given.lr), **more})

def walk(words, steps, points):
    given = arguments(words)
    weight = torch.nn.Parameter(torch.ones(2, 2, dtype=torch.float64))
    optimizer_kind = fairseq.optim.OPTIMIZER_DATACLASS_REGISTRY[given.optimizer]
    optimizer = fairseq.optim._build_optimizer(
        fields(optimizer_kind, given, _name=given.optimizer, tpu=False), [weight]
    )
    name = given.lr_scheduler
    length = getattr(given, "total_num_update", None)
    more = {"max_update": given.max_update}
    if length is not None:
        more["total_num_update"] = length if isinstance(length, (int, float)) else given.max_update
    scheduler = LR_SCHEDULER_REGISTRY[name](fields(LR_SCHEDULER_DATACLASS_REGISTRY[name], given, **more), optimizer)
    scheduler.step_update(0)
    scheduler.step_begin_epoch(1)
    scheduler.step_update(0)
    lrs, taken = [], {}
    for step in range(steps):
        weight.grad = torch.zeros_like(weight)
        before = float(weight[0, 0])
        lrs.append(optimizer.get_lr())
        optimizer.step()
        if step in points:
            taken[step] = 1 - float(weight[0, 0]) / before
        scheduler.step_update(step + 1)
    keep = ("lr", "weight_decay", "adam_betas", "adam_eps", "lr_scheduler", "max_update", "batch_size", "update_freq")
    return {"lrs": lrs, "taken": taken, "arguments": {key: getattr(given, key, None) for key in keep}}

asked, results = json.load(sys.stdin), {}
for name, words in asked["runs"].items():
    try:
        results[name] = walk(words, asked["steps"], asked["points"])
    except SystemExit as stop:
        results[name] = {"refused": stop.code}
json.dump(results, said)
"""


def emitted(run: str) -> str:
    """The snippet of a run."""
    recommendation = short("linear" if RUNS[run] else run, **RUNS[run])
    return emit("fairseq", recommendation).text


def words_of(text: str) -> list[str]:
    """What bash passes on."""
    done = subprocess.run(
        ["bash", "-c", f'{text}\nprintf "%s\\0" "${{ADAMW_ARGS[@]}}"'], capture_output=True, text=True, check=True
    )
    return done.stdout.split("\0")[:-1]


@pytest.fixture(scope="module")
def walked() -> dict[str, Any]:
    """Every run, walked by fairseq."""
    found = os.environ.get("ADAMW_SCALE_FAIRSEQ", "")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (found, os.environ.get("PYTHONPATH"))))}
    check = (
        "import importlib.util as u, sys; sys.exit(any(u.find_spec(n) is None for n in ('fairseq', 'omegaconf', "
        "'hydra')))"
    )
    if subprocess.run([sys.executable, "-c", check], env=environment).returncode:
        pytest.skip("fairseq 0.12.2 with omegaconf 2.0 and hydra 1.0 is not on ADAMW_SCALE_FAIRSEQ")
    runs = {
        **{run: words_of(emitted(run)) for run in RUNS},
        **{f"refused {name}": shlex.split(line) for name, line in REFUSED.items()},
        **{f"other {name}": shlex.split(line) for name, line in OTHERS.items()},
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WALK],
        input=json.dumps({"runs": runs, "steps": STEPS, "points": POINTS}),
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    results: dict[str, Any] = json.loads(done.stdout)
    return results


@pytest.mark.parametrize("run", RUNS)
def test_every_step_is_as_recommended(walked: dict[str, Any], run: str) -> None:
    """lr and decay at the start of each step; `fixed` warms up over (t + 1) / W, 1/W of the peak higher."""
    recommendation = short("linear" if RUNS[run] else run, **RUNS[run])
    config, result = config_of(recommendation, "fairseq"), walked[run]
    assert config.schedule == recommendation.run.schedule
    assert result["arguments"]["max_update"] == config.total_steps == STEPS
    assert result["arguments"]["update_freq"] == [config.batch_size]
    peak, warmup = config.peak_lr or 0, int(config.warmup_steps or 0)
    for step, lr in enumerate(result["lrs"]):
        multiplier = config.lr_schedule.multiplier(from_start(step))
        if config.schedule == "constant" and step < warmup:
            assert multiplier == pytest.approx(step / warmup)
            multiplier = (step + 1) / warmup
        assert lr == pytest.approx(peak * multiplier, rel=1e-6, abs=1e-14), step
        if step in POINTS:
            taken = result["taken"][str(step)]
            assert taken == pytest.approx(shrink(config, "hidden", multiplier), rel=1e-6, abs=1e-13), step


def test_defaults_are_the_librarys(walked: dict[str, Any]) -> None:
    """A command line that says nothing trains with fairseq's own defaults."""
    real = walked["other defaults"]["arguments"]
    config = read(FRAMEWORKS["fairseq"](), "fairseq-train data --optimizer adam")
    assert [config.peak_lr] == real["lr"] == [0.25]
    assert (config.weight_decay, config.eps) == (real["weight_decay"], real["adam_eps"])
    assert config.betas == tuple(float(each) for each in re.findall(r"[\d.]+", str(real["adam_betas"])))
    assert (config.schedule, real["lr_scheduler"]) == ("constant", "fixed")
    assert config.total_steps is None
    assert {"peak_lr", "weight_decay"} <= set(config.defaults)


@pytest.mark.parametrize(("case", "tolerance"), [("tri-stage", 1e-3), ("ratios", 1e-3)])
def test_stages_are_read_as_fairseq_reads_them(walked: dict[str, Any], case: str, tolerance: float) -> None:
    """A table of tri_stage's warm-up, hold and exponential fall."""
    config, result = read(FRAMEWORKS["fairseq"](), OTHERS[case]), walked[f"other {case}"]
    for step, lr in enumerate(result["lrs"]):
        assert config.lr_schedule.multiplier(step / STEPS) == pytest.approx(lr / 1e-3, abs=tolerance), step


def test_findings_are_so(walked: dict[str, Any]) -> None:
    """Refused flags, a warm-up from min_lr and shrinking restarts are what fairseq makes of these lines."""
    part = FRAMEWORKS["fairseq"]()
    assert walked["refused tri-stage"] == walked["refused fraction"] == {"refused": 2}
    assert walked["other warm from min"]["lrs"][0] == pytest.approx(1e-4)
    assert [each.code for each in read(part, OTHERS["warm from min"]).findings] == ["warmup-start"]
    assert walked["other shrinking"]["lrs"][200] == pytest.approx(1e-4)
    assert [each.code for each in read(part, OTHERS["shrinking"]).findings] == ["restarts"]


@pytest.mark.parametrize("run", ["polynomial", "exponential", "restarts", "growing-restarts", "inverse-sqrt"])
def test_reads_back_what_it_wrote(run: str) -> None:
    """Schedules beyond the common ones too."""
    part, recommendation = FRAMEWORKS["fairseq"](), short("linear", **RUNS[run])
    written, back = config_of(recommendation, "fairseq"), read(part, emit(part.name, recommendation).text)
    for number in range(101):
        expected = written.lr_schedule.multiplier(number / 100)
        assert back.lr_schedule.multiplier(number / 100) == pytest.approx(expected, abs=1e-6), number


def test_reads_a_launch_script() -> None:
    """fairseq's own example of a language model, with a batch in tokens."""
    config = read(
        FRAMEWORKS["fairseq"](),
        "fairseq-train --task language_modeling data-bin/wikitext-103 --arch transformer_lm "
        "--share-decoder-input-output-embed \\\n"
        "  --dropout 0.1 --optimizer adam --adam-betas '(0.9, 0.98)' --weight-decay 0.01 --clip-norm 0.0 \\\n"
        "  --lr 0.0005 --lr-scheduler inverse_sqrt --warmup-updates 4000 --warmup-init-lr 1e-07 \\\n"
        "  --tokens-per-sample 512 --sample-break-mode none --max-tokens 2048 --update-freq 16 --fp16 --max-update "
        "50000\n",
    )
    assert (config.peak_lr, config.weight_decay, config.betas) == (5e-4, 0.01, (0.9, 0.98))
    assert (config.schedule, config.warmup_steps, config.total_steps) == ("inverse-sqrt", 4000, 50000)
    assert (config.per_device_batch_size, config.accumulation, config.sequence_length) == (4, 16, 512)
    assert not config.findings


def test_reads_yaml_of_hydra() -> None:
    """The same names in sections, with _name for what a section is."""
    config = read(
        FRAMEWORKS["fairseq"](),
        "task:\n  _name: masked_lm\n  tokens_per_sample: 512\ndataset:\n  batch_size: 16\n"
        "optimizer:\n  _name: adam\n  weight_decay: 0.01\n  adam_betas: (0.9,0.98)\n  adam_eps: 1e-06\n"
        "lr_scheduler:\n  _name: polynomial_decay\n  warmup_updates: 10000\n  total_num_update: "
        "${optimization.max_update}\n"
        "optimization:\n  lr: [0.0005]\n  max_update: 125000\n  update_freq: [16]\n",
    )
    assert (config.peak_lr, config.weight_decay, config.betas, config.eps) == (5e-4, 0.01, (0.9, 0.98), 1e-6)
    assert (config.schedule, config.warmup_steps, config.total_steps) == ("linear", 10000, 125000)
    assert (config.per_device_batch_size, config.accumulation, config.sequence_length) == (16, 16, 512)


def test_notes_what_it_cannot_judge() -> None:
    """Learning rates by epoch, annealing, schedules of other lengths, stages that do not add up."""
    part = FRAMEWORKS["fairseq"]()
    assert [each.code for each in read(part, "--optimizer adam --lr 1e-3,5e-4 --force-anneal 3").findings] == [
        "lr-by-epoch",
        "anneals",
    ]
    other = read(part, BASE + "--lr-scheduler polynomial_decay --total-num-update 500")
    assert [each.code for each in other.findings] == ["schedule-length"]
    assert (other.schedule, other.schedule_end) == ("linear", 500)
    assert 0.15 < other.lr_schedule.final < 0.25  # of 500 updates the run has 400
    stages = read(part, BASE + "--lr-scheduler tri_stage --warmup-updates 40 --decay-steps 400 --init-lr-scale 0")
    assert [(each.code, each.severity) for each in stages.findings] == [("refused-key", "error")]
    assert math.isclose(stages.lr_schedule.multiplier(1.0), 0.01)
    with pytest.raises(SpecError, match="decay_steps"):
        read(part, BASE + "--lr-scheduler tri_stage --warmup-steps 40")
    with pytest.raises(SpecError, match="three numbers"):
        read(part, BASE + "--lr-scheduler tri_stage --phase-ratio 0.5")
