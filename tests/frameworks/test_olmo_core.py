"""OLMo-core's real optimizer configs and schedulers, called as its train module calls them."""

import json
import warnings
from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn
from walking import STEPS, assert_walks_as_recommended, config_of, from_end, read, short

from adamw_scale.errors import SpecError
from adamw_scale.frameworks import FRAMEWORKS
from adamw_scale.frameworks.emission import emit

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    optim = pytest.importorskip("olmo_core.optim", reason="ai2-olmo-core is not installed")
    from olmo_core.exceptions import OLMoConfigurationError

# It says once that the length of the run is in its stages.
pytestmark = pytest.mark.filterwarnings("ignore:'ComposableScheduler' ignores")

RUNS: dict[str, dict[str, Any]] = {
    "linear": {},
    "linear-to-20-percent": {},
    "cosine-to-10-percent": {},
    "constant": {},
    "wsd": {},
    "wsd with a floor": {"schedule": "wsd", "final_lr_fraction": 0.1},
    "wsd-cosine": {"schedule": "wsd-cosine", "decay_fraction": 0.3},
    "inverse-sqrt": {"schedule": "inverse-sqrt"},
    "no warm-up": {"schedule": "wsd", "warmup_steps": 0},
    "constant without warm-up": {"schedule": "constant", "warmup_steps": 0},
    "mup": {},
    "mup with a floor": {"schedule": "wsd", "final_lr_fraction": 0.2},
    "samples": {},
}
KINDS = {
    "embeddings.weight": "embedding",
    "attention_norm.weight": "norm-and-bias",
    "feed_forward.weight": "hidden",
    "lm_head.norm.weight": "norm-and-bias",
    "lm_head.w_out.weight": "output",
}


class OLMo(nn.Module):
    """A tensor of each kind under the names of OLMo-core's Transformer, without biases, in double precision."""

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = nn.Embedding(8, 4)
        self.attention_norm = nn.RMSNorm(4)
        self.feed_forward = nn.Linear(4, 4, bias=False)
        self.lm_head = nn.ModuleDict({"norm": nn.RMSNorm(4), "w_out": nn.Linear(4, 8, bias=False)})
        self.double()


def built(text: str) -> dict[str, Any]:
    """What an emitted module defines."""
    namespace: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(text, "train.py", "exec"), namespace)
    return namespace


def named(run: str) -> str:
    """The run that a test's name starts from."""
    if run.startswith("mup"):
        return "mup"
    return run if not RUNS[run] else "linear"


@pytest.mark.parametrize("run", RUNS)
def test_every_step_is_as_recommended(run: str) -> None:
    """The scheduler is asked before each step, with the step counted from 1: the schedule at the end of the step."""
    recommendation = short(named(run), **RUNS[run])
    given, config = built(emit("olmo-core", recommendation).text), config_of(recommendation, "olmo-core")
    assert (given["max_duration"].value, given["max_duration"].unit) == (STEPS, "steps")
    model, trainer = OLMo(), SimpleNamespace(global_step=0, max_steps=STEPS)
    optimizer = given["optim"].build(model)

    def next_step() -> None:
        trainer.global_step += 1
        for group in optimizer.param_groups:
            given["scheduler"].set_lr(group, trainer)

    next_step()
    assert_walks_as_recommended(model, optimizer, next_step, config, from_end, KINDS)


def test_batch_is_in_tokens() -> None:
    """What data loaders take as global_batch_size; in a run over samples the sequence length is not known."""
    given = built(emit("olmo-core", short()).text)
    assert given["GLOBAL_BATCH_SIZE"] == 256 * 2048
    assert "GLOBAL_BATCH_SIZE" not in built(emit("olmo-core", short("samples")).text)


def test_defaults_are_olmo_cores() -> None:
    """Both AdamWs have the same, and the schedulers a floor of a tenth."""
    config = read(FRAMEWORKS["olmo-core"](), "AdamWConfig(); CosWithWarmup(warmup=10)")
    for real in (optim.AdamWConfig(), optim.SkipStepAdamWConfig()):
        assert (config.peak_lr, config.weight_decay) == (real.lr, real.weight_decay)
        assert (config.betas, config.eps) == (real.betas, real.eps)
    assert [group.weight_decay for group in config.groups] == [0.01] * 4
    assert config.final_lr_fraction == optim.CosWithWarmup(warmup=10).alpha_f
    assert set(config.defaults) == {"peak_lr", "weight_decay", "final_lr_fraction", "betas", "eps"}
    wsd = read(FRAMEWORKS["olmo-core"](), "AdamWConfig(); WSD(warmup=10)")
    assert (wsd.decay_fraction, wsd.final_lr_fraction) == (optim.WSD(warmup=10).decay_fraction, 0.0)


@pytest.mark.parametrize(
    ("source", "code"),
    [("CosWithWarmup(alpha_f=0.1)", "no-warmup"), ("WSD(warmup=10, decay=20)", "two-decays")],
)
def test_what_olmo_core_refuses_is_found(source: str, code: str) -> None:
    """The real class raises."""
    config = read(FRAMEWORKS["olmo-core"](), f"AdamWConfig(lr=1e-3); {source}")
    assert [(finding.code, finding.severity) for finding in config.findings] == [(code, "error")]
    with pytest.raises(OLMoConfigurationError):
        eval(source, vars(optim))


def test_an_unknown_option_of_an_override_does_nothing() -> None:
    """The real optimizer keeps it in the group and decays all the same; and globs have to match."""
    override = 'OptimGroupOverride(params=["embeddings.weight"], opts=dict(wd=0.0))'
    source = f"AdamWConfig(lr=1e-3, weight_decay=0.1, group_overrides=[{override}])"
    config = read(FRAMEWORKS["olmo-core"](), source)
    assert config.group("embedding").weight_decay == 0.1
    assert [(finding.code, finding.severity) for finding in config.findings] == [("ignored-key", "error")]
    group = eval(source, vars(optim)).build(OLMo()).param_groups[0]
    assert (group["wd"], group["weight_decay"]) == (0.0, 0.1)
    override = optim.OptimGroupOverride(params=["*.bias"], opts={"weight_decay": 0.0})
    with pytest.raises(OLMoConfigurationError, match="does not match"):
        optim.AdamWConfig(group_overrides=[override]).build(OLMo())


def test_reads_an_official_script() -> None:
    """As AI2's training scripts write it: constants, embeddings spared, lengths in tokens."""
    config = read(
        FRAMEWORKS["olmo-core"](),
        "SEQUENCE_LENGTH = 4096\nGLOBAL_BATCH_SIZE = 4 * 1024 * 1024\n"
        "module = TransformerTrainModuleConfig(rank_microbatch_size=2 * 4096, max_sequence_length=SEQUENCE_LENGTH,\n"
        "    optim=SkipStepAdamWConfig(lr=3e-4, weight_decay=0.1, betas=(0.9, 0.95), group_overrides=[\n"
        "        OptimGroupOverride(params=['embeddings.weight'], opts=dict(weight_decay=0.0))]),\n"
        "    scheduler=CosWithWarmup(warmup_steps=2000), max_grad_norm=1.0)\n"
        "trainer = TrainerConfig(max_duration=Duration.tokens(int(5e12)))\n",
    )
    assert [group.weight_decay for group in config.groups] == [0.1, 0.0, 0.1, 0.1]
    assert (config.optimizer, config.schedule, config.warmup_steps) == ("SkipStepAdamWConfig", "cosine", 2000)
    assert config.total_steps == pytest.approx(5e12 / 2**22)
    assert (config.global_batch, config.per_device_batch_size) == (1024, 2)


def test_reads_a_saved_config() -> None:
    """config.json of a run, from the real classes; it leaves out what is None."""
    override = optim.OptimGroupOverride(params=["embeddings.weight"], opts={"weight_decay": 0.0})
    adamw = optim.AdamWConfig(lr=3e-4, weight_decay=0.2, group_overrides=[override])
    wsd = optim.WSD(warmup=100, decay=50, decay_fraction=None, decay_min_lr=3e-5)
    config = read(
        FRAMEWORKS["olmo-core"](),
        json.dumps(
            {
                "train_module": {"optim": adamw.as_config_dict(), "scheduler": wsd.as_config_dict()},
                "trainer": {"max_duration": {"value": 1000, "unit": "steps"}},
                "data_loader": {"global_batch_size": 262144},
                "dataset": {"sequence_length": 2048},
            }
        ),
    )
    assert [group.weight_decay for group in config.groups] == [0.2, 0.0, 0.2, 0.2]
    assert (config.schedule, config.decay_steps, config.final_lr_fraction) == ("wsd", 50, pytest.approx(0.1))
    assert (config.total_steps, config.global_batch) == (1000, 128)
    assert config.findings == ()


def test_other_schedules_are_said_to_be_unread() -> None:
    """No guess at shapes that are not known here; and durations in tokens need the batch."""
    part = FRAMEWORKS["olmo-core"]()
    assert [finding.code for finding in read(part, "AdamWConfig(); WSDS(warmup=1)").findings] == ["schedule-unread"]
    assert [finding.code for finding in read(part, "AdamWConfig(); InvSqrtWithWarmup(warmup=1)").findings] == [
        "floor-ignored"
    ]
    tokens = "GLOBAL_BATCH_SIZE = 1000\nAdamWConfig(); WSD(units=SchedulerUnits.tokens, warmup=5000)"
    assert read(part, tokens).warmup_steps == 5
    assert read(part, "AdamWConfig(lr=0.1)").schedule == "constant"
    typed = read(part, '{"optim": {"type": "adamw", "lr": 0.1}, "scheduler": {"type": "wsd", "warmup_fraction": 0.1}}')
    assert (typed.schedule, typed.warmup_fraction, typed.findings) == ("wsd", 0.1, ())
    with pytest.raises(SpecError, match="no warm-up from 0"):
        read(part, "AdamWConfig(); ComposableScheduler(stages=[ComposableSchedulerStage(duration=1, end_lr=0.0)])")
    with pytest.raises(SpecError, match="AdamWConfig"):
        read(part, "LionConfig(lr=1e-4)")


@pytest.mark.parametrize("floor", ["ALPHA", "floor()", "0.5", "None"])
def test_a_floor_that_is_code_is_no_number(floor: str) -> None:
    """The note on what the square root falls towards names a number only where there is one."""
    text = f"optim = AdamWConfig(lr=1e-3)\nscheduler = InvSqrtWithWarmup(warmup=10, alpha_f={floor})\n"
    codes = [finding.code for finding in read(FRAMEWORKS["olmo-core"](), text).findings]
    assert ("floor-ignored" in codes) == (floor == "0.5")
