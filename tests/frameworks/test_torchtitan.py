"""torchtitan's real optimizer and scheduler containers, built from what is emitted."""

import dataclasses
import inspect
import warnings
from typing import Any

import pytest
import torch
from torch import nn
from walking import STEPS, assert_walks_as_recommended, config_of, read, short

from adamw_scale.errors import SpecError
from adamw_scale.frameworks import FRAMEWORKS
from adamw_scale.frameworks.emission import emit
from adamw_scale.frameworks.group_names import kinds_named

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    optim = pytest.importorskip("torchtitan.components.optimizer", reason="torchtitan is not installed")
    TrainingConfig = pytest.importorskip("torchtitan.config").TrainingConfig

RUNS: dict[str, dict[str, Any]] = {
    "linear": {},
    "linear-to-20-percent": {},
    "cosine-to-10-percent": {},
    "constant": {},
    "wsd": {"final_lr_fraction": 0.1},
    "wsd-1-sqrt": {},
    "wsd-cosine": {"schedule": "wsd-cosine", "decay_fraction": 0.3},
    "no warm-up": {"schedule": "cosine", "warmup_steps": 0},
    "mup": {},
    "samples": {},
}
KINDS = {
    "tok_embeddings.weight": "embedding",
    "attention_norm.weight": "norm-and-bias",
    "feed_forward.weight": "hidden",
    "feed_forward.bias": "norm-and-bias",
    "lm_head.weight": "output",
}


class TitanLM(nn.Module):
    """A tensor of each kind under the names that torchtitan's decoders give them, in double precision."""

    def __init__(self) -> None:
        super().__init__()
        self.tok_embeddings = nn.Embedding(8, 4)
        self.attention_norm = nn.RMSNorm(4)
        self.feed_forward = nn.Linear(4, 4)
        self.lm_head = nn.Linear(4, 8, bias=False)
        self.double()


def built(text: str) -> dict[str, Any]:
    """What an emitted module defines."""
    namespace: dict[str, Any] = {}
    exec(compile(text, "config_registry.py", "exec"), namespace)
    return namespace


@pytest.mark.parametrize("run", RUNS)
def test_every_step_is_as_recommended(run: str) -> None:
    """Warm-up is taken at the end of each step and the fall at its start, so the peak is there for two steps."""
    recommendation = short(run if run in KNOWN else "linear", **RUNS[run])
    given, config = built(emit("torchtitan", recommendation).text), config_of(recommendation, "torchtitan")
    assert given["training"].steps == STEPS
    model = TitanLM()
    optimizers = given["optimizer"].build(model_parts=[model])
    schedulers = given["lr_scheduler"].build(optimizers=optimizers, training_steps=STEPS)
    (optimizer,) = optimizers
    warmup = config.warmup_steps or 0
    assert_walks_as_recommended(
        model,
        optimizer,
        schedulers.step,
        config,
        lambda step: (step + (step < warmup)) / STEPS,
        KINDS,
    )


KNOWN = ("linear", "linear-to-20-percent", "cosine-to-10-percent", "constant", "wsd", "wsd-1-sqrt", "mup", "samples")


def test_batch_and_sequence_are_fields_of_the_real_config() -> None:
    """The dataclass takes them, in sequences."""
    training = built(emit("torchtitan", short()).text)["training"]
    assert isinstance(training, TrainingConfig)
    assert (training.global_batch_size, training.seq_len) == (256, 2048)


def test_defaults_are_torchtitans() -> None:
    """What a config leaves out is what default_adamw, the scheduler's and the training's dataclasses have."""
    config = read(FRAMEWORKS["torchtitan"](), "optimizer = default_adamw()")
    real = optim.default_adamw().param_groups[0].optimizer_kwargs
    assert inspect.signature(optim.default_adamw).parameters["lr"].default == config.peak_lr == real["lr"]
    assert [group.weight_decay for group in config.groups] == [real["weight_decay"]] * 4
    assert (config.betas, config.eps) == (real["betas"], real["eps"])
    scheduler, training = optim.LRSchedulersContainer.Config(), TrainingConfig()
    assert (scheduler.decay_ratio, scheduler.decay_type, scheduler.min_lr_factor) == (None, "linear", 0.0)
    assert (config.schedule, config.final_lr_fraction) == ("linear", 0.0)
    assert (config.warmup_steps, config.total_steps) == (scheduler.warmup_steps, training.steps)
    assert (config.per_device_batch_size, config.sequence_length) == (training.local_batch_size, training.seq_len)
    assert set(config.defaults) == {
        *("final_lr_fraction", "schedule"),
        *("peak_lr", "weight_decay", "betas", "eps"),
        *("warmup_steps", "total_steps", "sequence_length", "per_device_batch_size"),
    }


def test_a_group_that_says_nothing_gets_torchs_values() -> None:
    """Nothing is inherited, and a key that torch does not know is kept and does nothing."""
    source = (
        'c = OptimizersContainer.Config(param_groups=[ParamGroupConfig(pattern="norm|bias$", optimizer_name="AdamW", '
        'optimizer_kwargs={"lr": 1e-3, "weight_decay": 0.0}), ParamGroupConfig(pattern=".*", optimizer_name="AdamW", '
        'optimizer_kwargs={"lr": 1e-3, "wd": 0.3})])'
    )
    config = read(FRAMEWORKS["torchtitan"](), source)
    names = {name: getattr(optim, name) for name in ("OptimizersContainer", "ParamGroupConfig")}
    exec(source, names)
    real = next(iter(names["c"].build(model_parts=[TitanLM()]))).param_groups[1]  # type: ignore[attr-defined]
    assert (config.weight_decay, config.betas, config.eps) == (real["weight_decay"], real["betas"], real["eps"])
    assert real["wd"] == 0.3
    assert config.group("norm-and-bias").weight_decay == 0.0
    assert [(each.code, each.severity, each.key) for each in config.findings] == [
        ("ignored-key", "error", "wd"),
        ("torch-default", "warning", "weight_decay"),
    ]


def test_adam_is_coupled() -> None:
    """optimizer_name "Adam" is torch.optim.Adam, whose decay goes into the gradient."""
    config = read(
        FRAMEWORKS["torchtitan"](),
        'ParamGroupConfig(pattern=".*", optimizer_name="Adam", optimizer_kwargs={"lr": 1e-3})',
    )
    assert (config.convention, config.weight_decay) == (
        "torch-adam",
        torch.optim.Adam([torch.ones(1)]).defaults["weight_decay"],
    )
    with pytest.raises(SpecError, match="Lion"):
        read(FRAMEWORKS["torchtitan"](), 'ParamGroupConfig(pattern=".*", optimizer_name="Lion", optimizer_kwargs={})')


@pytest.mark.parametrize(
    ("scheduler", "code"),
    [
        ("warmup_steps=10, total_steps=100", "schedule-too-short"),
        ("warmup_steps=10, total_steps=300", "schedule-cut"),
        ("warmup_steps=300", "warmup-fills-run"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_lengths_that_do_not_fit_are_found(scheduler: str, code: str) -> None:
    """Too short a schedule really goes below zero; too long a warm-up really fills the run."""
    source = f"LRSchedulersContainer.Config({scheduler}); training = TrainingConfig(steps=200)"
    config = read(FRAMEWORKS["torchtitan"](), source)
    assert [finding.code for finding in config.findings] == [code]
    model = TitanLM()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizers = optim.default_adamw(lr=1.0).build(model_parts=[model])
    fields = eval(f"dict({scheduler})")
    schedulers = optim.LRSchedulersContainer.Config(**fields).build(optimizers=optimizers, training_steps=200)
    for _ in range(199):
        optimizers.step()
        schedulers.step()
    last = next(iter(optimizers)).param_groups[0]["lr"]
    assert last < 0 if code == "schedule-too-short" else last > 0.3
    if code == "schedule-cut":
        assert config.lr_schedule.multiplier(199 / 200) == pytest.approx(last, abs=0.01)
    if code == "warmup-fills-run":
        assert last == 1.0 == config.lr_schedule.multiplier(1.0)


def test_reads_a_function_of_a_registry() -> None:
    """As in torchtitan's own config_registry.py, with a later assignment."""
    config = read(
        FRAMEWORKS["torchtitan"](),
        "def llama3_8b() -> Trainer.Config:\n"
        "    config = Trainer.Config(optimizer=default_adamw(lr=3e-4, weight_decay=0.2),\n"
        "        lr_scheduler=LRSchedulersContainer.Config(warmup_steps=20, decay_ratio=0.8, decay_type='cosine', "
        "min_lr_factor=0.1),\n"
        "        training=TrainingConfig(local_batch_size=2, seq_len=8192, steps=1000),\n"
        "        parallelism=ParallelismConfig(data_parallel_replicate_degree=2, data_parallel_shard_degree=4))\n"
        "    config.training.steps = 2000\n"
        "    return config\n",
    )
    assert (config.peak_lr, config.weight_decay, config.schedule) == (3e-4, 0.2, "wsd-cosine")
    assert (config.total_steps, config.decay_steps, config.final_lr_fraction) == (2000, 1600, 0.1)
    assert (config.global_batch, config.sequence_length) == (16, 8192)


def test_reads_toml_and_arguments_of_older_releases() -> None:
    """The sections of a TOML file, and the same with dots on a command line; 0.3 refuses these fields."""
    toml = (
        '[model]\nname = "llama3"\nflavor = "8B"\n[optimizer]\nname = "AdamW"\nlr = 3e-4\nbeta2 = 0.99\n'
        '[lr_scheduler]\nwarmup_steps = 256\ndecay_ratio = 0.4\ndecay_type = "sqrt"\n'
        "[training]\nsteps = 20000\nbatch_size = 4\n"
    )
    config = read(FRAMEWORKS["torchtitan"](), toml)
    assert (config.peak_lr, config.weight_decay, config.betas) == (3e-4, 0.1, (0.9, 0.99))
    assert (config.schedule, config.decay_steps, config.per_device_batch_size) == ("wsd-1-sqrt", 8000, 4)
    arguments = read(
        FRAMEWORKS["torchtitan"](), "--optimizer.lr 3e-4 --training.steps 1000 --lr_scheduler.decay_ratio 0.0"
    )
    assert (arguments.peak_lr, arguments.total_steps, arguments.schedule) == (3e-4, 1000, "constant")
    between = read(FRAMEWORKS["torchtitan"](), "x = OptimizersContainer.Config(lr=3e-4, weight_decay=0.2)")
    assert (between.peak_lr, between.weight_decay) == (3e-4, 0.2)
    for each in (config, arguments, between):
        assert [finding.code for finding in each.findings] == ["old-format"]
    assert "lr" not in {field.name for field in dataclasses.fields(optim.OptimizersContainer.Config)}


def test_patterns_mean_kinds_by_their_words() -> None:
    """Patterns are never run: one from a stranger could take for ever."""
    assert kinds_named(r"(?:tok_embeddings|output)\.") == ("embedding", "output")
    assert kinds_named(r".*bias$|.*norm.*") == ("norm-and-bias",)
    assert kinds_named(r"\.router\.gate\.") == ()
    assert len(kinds_named(".*")) == 4
    with pytest.raises(SpecError, match="plain dict"):
        read(FRAMEWORKS["torchtitan"](), 'ParamGroupConfig(pattern=".*", optimizer_kwargs={**kw, "weight_decay": 0.1})')
