"""Snippets of families that are tables, in the code that builds optimizer and schedule in the installed release.

Defaults that the key tables declare are compared with the releases' own. Each test is skipped where its library is not
installed; `pieces` says how one is run without what it wants.
"""

import argparse
import ast
import collections
import logging
import warnings
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from pieces import arguments, assigned, definitions, run, source, text_of
from torch import nn
from walking import STEPS, TinyLM, assert_walks_as_recommended, config_of, read, short

from adamw_scale.frameworks import FRAMEWORKS
from adamw_scale.frameworks.emission import emit
from adamw_scale.spec.advice import Recommendation

STYLED = ("optimizer", "weight_decay_incr_style", "lr_decay_style", "lr_wsd_decay_style")
RUNS: dict[str, dict[str, Any]] = {
    "linear": {},
    "cosine-to-10-percent": {},
    "wsd": {},
    "wsd-1-sqrt": {},
    "constant": {},
    "cosine": {"schedule": "cosine"},
    "inverse-sqrt": {"schedule": "inverse-sqrt"},
    "no warm-up": {"schedule": "cosine", "warmup_steps": 0},
}


def recommended(name: str) -> Recommendation:
    """A run of 400 steps."""
    return short("linear" if RUNS[name] else name, **RUNS[name])


def trainer_of(given: dict[str, Any] | list[str], folder: Path, model: nn.Module) -> Any:
    """A Trainer with arguments as transformers parses them, of which a framework's own are left out."""
    from transformers import HfArgumentParser, Trainer, TrainingArguments

    here = {"output_dir": str(folder), "use_cpu": True, "report_to": "none"}
    parser = HfArgumentParser(TrainingArguments)
    if isinstance(given, dict):
        (parsed,) = parser.parse_dict({**given, **here}, allow_extra_keys=True)
    else:
        texts = [part for name, each in here.items() for part in (f"--{name}", str(each))]
        (parsed, _) = parser.parse_args_into_dataclasses([*given, *texts], return_remaining_strings=True)
    return Trainer(model, parsed)


class TestNanotron:
    """nanotron 0.4; its keys of Adam are under `optimizer_factory` in the main branch only."""

    @pytest.mark.parametrize("name", ["linear", "cosine-to-10-percent", "wsd", "constant", "no warm-up"])
    def test_every_step_is_as_recommended(self, name: str) -> None:
        """init_optimizer_and_grad_accumulator and lr_scheduler_builder; its fall by a root is of main only."""
        recommendation = recommended(name)
        made = yaml.safe_load(emit("nanotron", recommendation).text)["optimizer"]
        own = definitions("nanotron", "config/config.py", "LRSchedulerArgs", "OptimizerArgs")
        factory = {key: each for key, each in made["optimizer_factory"].items() if key != "name"}
        rates = own.LRSchedulerArgs(**made["learning_rate_scheduler"])
        unused = {"zero_stage": 0, "clip_grad": None, "accumulate_grad_in_fp32": False, "torch_adam_is_fused": False}
        given = own.OptimizerArgs(weight_decay=made["weight_decay"], learning_rate_scheduler=rates, **factory, **unused)
        builders = definitions(
            "nanotron",
            "helpers.py",
            *("init_optimizer_and_grad_accumulator", "lr_scheduler_builder"),
            DistributedDataParallel=torch.nn.parallel.DistributedDataParallel,
            NamedOptimizer=lambda named_params_or_groups, optimizer_builder: optimizer_builder(
                [parameter for _, parameter in named_params_or_groups]
            ),
            log_rank=lambda *_, **__: None,
            logging=logging,
            logger=None,
        )
        model = TinyLM()
        model.get_named_params_with_correct_tied = model.named_parameters  # type: ignore[assignment]
        optimizer, _ = builders.init_optimizer_and_grad_accumulator(model, given, None)
        wrapped = SimpleNamespace(get_base_optimizer=lambda: optimizer)
        scheduler = builders.lr_scheduler_builder(wrapped, rates, STEPS)
        assert_walks_as_recommended(model, optimizer, scheduler.step, config_of(recommendation, "nanotron"))

    def test_defaults(self) -> None:
        """A straight line to the peak itself, without a warm-up."""
        own = definitions("nanotron", "config/config.py", "LRSchedulerArgs")
        real = own.LRSchedulerArgs(learning_rate=1e-3, lr_warmup_style="linear")
        keys = FRAMEWORKS["nanotron"].keys  # type: ignore[attr-defined]
        assert (keys["schedule"].default, keys["warmup_steps"].default) == (real.lr_decay_style, real.lr_warmup_steps)
        assert real.min_decay_lr == real.learning_rate


class TestPaddleNLP:
    """paddlenlp 2.8.1, in which every schedule is a function of the step; its optimizer wants paddlepaddle."""

    @pytest.mark.parametrize("name", ["linear", "cosine-to-10-percent", "constant", "no warm-up"])
    def test_every_learning_rate_is_as_recommended(self, name: str) -> None:
        """The schedulers of run_pretrain.py, and the trainer's own."""
        recommendation = recommended(name)
        given = arguments(emit("paddlenlp", recommendation).text)
        made = {key.strip("-"): value for key, value in zip(given[::2], given[1::2], strict=True)}
        peak, warmup = float(made["learning_rate"]), int(made["warmup_steps"])
        if made["lr_scheduler_type"] == "constant_with_warmup":
            name = "get_constant_schedule_with_warmup"
            own = definitions("paddlenlp", "trainer/trainer_utils.py", name, LambdaDecay=lambda _, rate, **__: rate)
            rates = [peak * own.get_constant_schedule_with_warmup(peak, warmup)(step) for step in range(STEPS)]
        else:
            names = ("CosineAnnealingWithWarmupDecay", "LinearAnnealingWithWarmupDecay")
            own = definitions("paddlenlp", "transformers/optimization.py", *names, LRScheduler=_PaddleScheduler)
            kind = getattr(own, names[made["lr_scheduler_type"] == "linear"])
            rate = kind(peak, float(made["min_learning_rate"]), warmup, int(made["max_steps"]))
            rates = [rate.at(step) for step in range(STEPS)]
        config = config_of(recommendation, "paddlenlp")
        expected = [peak * config.lr_schedule.multiplier(step / STEPS) for step in range(STEPS)]
        assert rates == pytest.approx(expected, rel=1e-6, abs=1e-12)

    def test_defaults(self) -> None:
        """Fields of TrainingArguments."""
        tree = source("paddlenlp", "trainer/training_args.py")
        real = {
            node.target.id: {each.arg: each.value for each in node.value.keywords}.get("default")
            for node in ast.walk(tree)
            if isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and isinstance(node.value, ast.Call)
        }
        for field, (names, default) in FRAMEWORKS["paddlenlp"].keys.items():  # type: ignore[attr-defined]
            if field != "final_lr" and default is not None:
                node = real[names[0]]
                assert node is not None
                assert default == ast.literal_eval(node), field


class _PaddleScheduler:
    """What Paddle's schedulers are made of, as far as they are asked for a step."""

    def __init__(self, *_: Any) -> None:
        self.last_epoch = 0

    def at(self, step: int) -> float:
        """The learning rate of a step."""
        self.last_epoch = step
        return float(self.get_lr())  # type: ignore[attr-defined]


class TestOpenCLIP:
    """open_clip_torch 3.3.0, whose wheel has the scripts."""

    @pytest.mark.parametrize("name", ["cosine", "constant", "no warm-up"])
    def test_every_step_is_as_recommended(self, name: str) -> None:
        """The groups as main() makes them, and the scheduler that is called before each step."""
        params = pytest.importorskip("open_clip_train.params", reason="open_clip is not installed")
        schedulers = pytest.importorskip("open_clip_train.scheduler")
        recommendation = recommended(name)
        given = arguments(emit("open-clip", recommendation).text)
        given = given[: given.index("--nproc_per_node")]
        spelled = [part.replace("_", "-") if part.startswith("--") else part for part in given]
        args = params.parse_args(spelled)
        model, names = TinyLM(), ("exclude", "include", "named_parameters", "gain_or_bias_params", "rest_params")
        made = assigned("open_clip_train", "main.py", *names, model=model)
        tree = source("open_clip_train", "main.py")
        calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
        build = next(node for node in calls if ast.unparse(node.func) == "optim.AdamW")
        made = run(
            [ast.Assign([ast.Name("optimizer", ast.Store())], build, lineno=1)],
            **{**vars(made), "optim": torch.optim, "args": args},
        )
        kind = {"cosine": schedulers.cosine_lr, "const": schedulers.const_lr}[args.lr_scheduler]
        scheduler, steps = kind(made.optimizer, args.lr, args.warmup, STEPS), iter(range(1, STEPS + 1))
        scheduler(0)
        config = config_of(recommendation, "open-clip")
        warm = config.warmup_steps or 0  # whose first step is not at 0
        assert_walks_as_recommended(
            model, made.optimizer, lambda: scheduler(next(steps)), config, lambda step: (step + (step < warm)) / STEPS
        )

    @pytest.mark.parametrize("model", ["ViT-B-32", "RN50"])
    def test_defaults(self, model: str) -> None:
        """By the model's name."""
        params = pytest.importorskip("open_clip_train.params", reason="open_clip is not installed")
        real = params.parse_args(["--model", model])
        launch = f"torchrun --nproc_per_node 2 -m open_clip_train.main --model {model} --batch-size 8\n"
        config = read(FRAMEWORKS["open-clip"](), launch)
        assert (config.peak_lr, config.weight_decay, config.eps) == (real.lr, real.wd, real.eps)
        assert config.betas == (real.beta1, real.beta2)
        assert (config.warmup_steps, config.epochs, config.accumulation) == (real.warmup, real.epochs, real.accum_freq)
        assert (config.optimizer, config.schedule) == (real.opt, real.lr_scheduler)


class TestMSSwift:
    """ms-swift 4.6.0 on the installed transformers."""

    @pytest.mark.parametrize("name", RUNS)
    def test_every_step_is_as_recommended(self, name: str, tmp_path: Path) -> None:
        """The Trainer's arguments, with ms-swift's defaults for what is not among them."""
        source("swift", "trainers/arguments.py")
        recommendation, model = recommended(name), TinyLM()
        given = arguments(emit("ms-swift", recommendation).text)
        trainer = trainer_of(given, tmp_path, model)
        trainer.create_optimizer_and_scheduler(num_training_steps=STEPS)
        config = config_of(recommendation, "ms-swift")
        assert_walks_as_recommended(model, trainer.optimizer, trainer.lr_scheduler.step, config)

    @pytest.mark.parametrize("tuner", ["full", "lora"])
    @pytest.mark.parametrize("processes", [1, 2, 64])
    def test_defaults(self, tuner: str, processes: int) -> None:
        """Of the dataclass, of the passes that make 16 sequences, and of the learning rate by tuner."""
        own = definitions(
            "swift",
            "trainers/arguments.py",
            "TrainArgumentsMixin",
            loss_map={},
            os=None,
            is_mp=lambda: False,
            logger=logging.getLogger(),
            is_torch_musa_available=lambda: False,
            get_dist_setting=lambda: (0, 0, processes, processes),
        )
        own.TrainArgumentsMixin._init_callbacks = lambda _: None
        real = own.TrainArgumentsMixin(report_to=[], dataloader_num_workers=0)
        rates = definitions("swift", "arguments/sft_args.py", "_init_override")
        nothing = dict.fromkeys(("_init_output_dir", "_init_metric", "_init_eval_strategy"), lambda: None)
        args = SimpleNamespace(learning_rate=None, tuner_type=tuner, **nothing)
        rates._init_override(args)
        launch = f"NPROC_PER_NODE={processes} \\\nswift sft --model m --dataset d --tuner_type {tuner}\n"
        config = read(FRAMEWORKS["ms-swift"](), launch)
        assert (config.weight_decay, config.schedule) == (real.weight_decay, real.lr_scheduler_type)
        assert config.betas == (0.9, real.adam_beta2)
        assert config.per_device_batch_size == real.per_device_train_batch_size
        assert (config.accumulation, config.devices) == (real.gradient_accumulation_steps, processes)
        assert config.peak_lr == args.learning_rate


class TestMegatronSwift:
    """Megatron-SWIFT of ms-swift 4.6.0, on the installed megatron-core."""

    @pytest.mark.parametrize("name", ["linear", "cosine-to-10-percent", "wsd", "wsd-1-sqrt", "constant"])
    def test_every_step_is_as_recommended(self, name: str) -> None:
        """Every argument is one of its own, and its get_optimizer_param_scheduler sets lr and decay at a step's end."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            real = pytest.importorskip("megatron.core.optimizer_param_scheduler").OptimizerParamScheduler
        recommendation = recommended(name)
        given = arguments(emit("megatron-swift", recommendation).text)
        written = {
            row.removeprefix("--").replace("-", "_"): each for row, each in zip(given[::2], given[1::2], strict=True)
        }
        assert written.keys() <= self._defaults().keys() | {"max_length"}
        kept = {row: each if row in STYLED else float(each) for row, each in written.items()}
        args = SimpleNamespace(**{**self._defaults(), **kept})
        definitions("swift", "megatron/arguments/megatron_args.py", "_init_weigh_decay")._init_weigh_decay(args)
        make = definitions(
            "swift",
            "megatron/utils/megatron_lm_utils.py",
            "get_optimizer_param_scheduler",
            OptimizerParamScheduler=real,
        )
        optimizer = torch.optim.AdamW([nn.Parameter(torch.ones(2, 2))], lr=1.0)
        optimizer.param_groups[0]["default_config"] = True
        scheduler, config = (
            make.get_optimizer_param_scheduler(args, optimizer),
            config_of(recommendation, "megatron-swift"),
        )
        for step in range(1, STEPS + 1):
            scheduler.step(int(args.global_batch_size))
            lr = (config.peak_lr or 0) * config.lr_schedule.multiplier(step / STEPS)
            assert optimizer.param_groups[0]["lr"] == pytest.approx(lr, rel=1e-6, abs=1e-12)
            assert optimizer.param_groups[0]["weight_decay"] == pytest.approx(config.weight_decay, rel=1e-6)

    def test_defaults(self) -> None:
        """Of its dataclasses."""
        real = self._defaults()
        config = read(FRAMEWORKS["megatron-swift"](), "megatron sft --model m --train_iters 10\n")
        assert (config.weight_decay, config.eps) == (real["weight_decay"], real["adam_eps"])
        assert config.betas == (real["adam_beta1"], real["adam_beta2"])
        assert (config.optimizer, config.schedule) == (real["optimizer"], real["lr_decay_style"])
        assert (config.batch_size, config.per_device_batch_size) == (
            real["global_batch_size"],
            real["micro_batch_size"],
        )
        assert real["min_lr"] == config.final_lr_fraction == 0
        args = SimpleNamespace(lr=None, tuner_type=real["tuner_type"], local_rank=0, task_type="x", rlhf_type=None)
        args.calculate_per_token_loss = True
        definitions("swift", "megatron/arguments/megatron_args.py", "_set_default")._set_default(args)
        assert (config.peak_lr, config.task) == (args.lr, "finetuning")

    @staticmethod
    def _defaults() -> dict[str, Any]:
        """Fields of its arguments whose default is plain."""
        found = {}
        for node in ast.walk(source("swift", "megatron/arguments/megatron_args.py")):
            if (
                isinstance(node, ast.AnnAssign)
                and isinstance(node.target, ast.Name)
                and isinstance(node.value, ast.Constant)
            ):
                found.setdefault(node.target.id, node.value.value)
        return found


@pytest.mark.filterwarnings("ignore:Both num_training_steps and num_stable_steps")
class TestLLaMAFactory:
    """llamafactory 0.9.5 on the installed transformers."""

    @pytest.mark.parametrize("name", RUNS)
    def test_every_step_is_as_recommended(self, name: str, tmp_path: Path) -> None:
        """The Trainer's, once create_custom_scheduler has filled in its fall."""
        own = definitions("llamafactory", "train/trainer_utils.py", "create_custom_scheduler")
        recommendation, model = recommended(name), TinyLM()
        trainer = trainer_of(yaml.safe_load(emit("llama-factory", recommendation).text), tmp_path, model)
        own.create_custom_scheduler(trainer.args, STEPS)
        trainer.create_optimizer_and_scheduler(num_training_steps=STEPS)
        config = config_of(recommendation, "llama-factory")
        assert_walks_as_recommended(model, trainer.optimizer, trainer.lr_scheduler.step, config)

    def test_its_own_fall(self, tmp_path: Path) -> None:
        """What is filled in where the config says nothing is what is read."""
        own = definitions("llamafactory", "train/trainer_utils.py", "create_custom_scheduler")
        text = "lr_scheduler_type: warmup_stable_decay\nmax_steps: 400\nwarmup_steps: 37\nlearning_rate: 1.0e-5\n"
        trainer = trainer_of(yaml.safe_load(text), tmp_path, TinyLM())
        own.create_custom_scheduler(trainer.args, STEPS)
        config = read(FRAMEWORKS["llama-factory"](), text)
        assert config.decay_steps == trainer.args.lr_scheduler_kwargs["num_decay_steps"]

    def test_defaults(self) -> None:
        """LoRA, and packing of its pretraining stage alone."""
        fields = {
            node.target.id: ast.literal_eval(next(word.value for word in node.value.keywords if word.arg == "default"))
            for path in ("hparams/finetuning_args.py", "hparams/data_args.py")
            for node in ast.walk(source("llamafactory", path))
            if isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and isinstance(node.value, ast.Call)
            and node.target.id in ("finetuning_type", "stage", "packing", "cutoff_len")
        }
        assert fields == {"finetuning_type": "lora", "stage": "sft", "packing": None, "cutoff_len": 2048}


class TestVerl:
    """verl 0.9.1, which is read and not written."""

    @pytest.mark.parametrize(
        "more",
        [
            "lr_scheduler_type: cosine, lr_warmup_steps_ratio: 0.1, min_lr_ratio: 0.1",
            "lr_scheduler_type: constant, lr_warmup_steps: 40, betas: [0.9, 0.95]",
            "weight_decay: 0.3",
        ],
    )
    def test_what_is_read_is_what_runs(self, more: str) -> None:
        """FSDPOptimizerConfig, build_optimizer and the engine's _build_lr_scheduler."""
        text = f"trainer: {{total_training_steps: {STEPS}}}\noptim: {{lr: 1.0e-3, {more}}}\n"
        config = read(FRAMEWORKS["verl"](), text)
        real = self._config(**{**yaml.safe_load(text)["optim"], "total_training_steps": STEPS})
        schedules = definitions(
            "verl",
            "utils/torch_functional.py",
            *("get_constant_schedule_with_warmup", "get_cosine_schedule_with_warmup"),
        )
        model = TinyLM()
        optimizer = definitions("verl", "workers/config/optimizer.py", "build_optimizer").build_optimizer(
            model.parameters(), real
        )
        (method,) = [
            node
            for node in ast.walk(source("verl", "workers/engine/fsdp/transformer_impl.py"))
            if isinstance(node, ast.FunctionDef) and node.name == "_build_lr_scheduler"
        ]
        method.body = [node for node in method.body if not isinstance(node, ast.ImportFrom)]
        engine = run([method], **vars(schedules))
        scheduler = engine._build_lr_scheduler(SimpleNamespace(optimizer_config=real, rank=1), optimizer)
        assert_walks_as_recommended(model, optimizer, scheduler.step, config)

    def test_defaults(self) -> None:
        """Of the dataclass, and of the actor's YAML for its learning rate."""
        real = self._config()
        found = read(FRAMEWORKS["verl"](), "trainer: {total_epochs: 1}\noptim: {clip_grad: 1.0}\n")
        assert (found.peak_lr, found.weight_decay, found.betas) == (real.lr, real.weight_decay, real.betas)
        assert (found.optimizer, found.schedule) == (real.optimizer, real.lr_scheduler_type)
        assert found.warmup_fraction == real.lr_warmup_steps_ratio
        actor = yaml.safe_load(text_of("verl", "trainer/config/actor/actor.yaml"))["optim"]
        of_rl = read(FRAMEWORKS["verl"](), "algorithm: {adv_estimator: grpo}\nactor_rollout_ref: {actor: {}}\n")
        assert of_rl.peak_lr == float(actor["lr"])

    @staticmethod
    def _config(**given: Any) -> Any:
        base = definitions("verl", "base_config.py", "BaseConfig", collections=collections).BaseConfig
        own = definitions(
            "verl",
            "workers/config/optimizer.py",
            *("OptimizerConfig", "FSDPOptimizerConfig"),
            BaseConfig=base,
            MISSING="???",
        )
        return own.FSDPOptimizerConfig(**given)


class TestOpenRLHF:
    """openrlhf 0.11.2; its Adam is torch's here, as DeepSpeed's has to be compiled first."""

    @pytest.mark.parametrize("name", ["cosine-to-10-percent", "linear", "constant", "inverse-sqrt"])
    def test_every_step_is_as_recommended(self, name: str) -> None:
        """The parser, the groups, and the schedule of the strategy."""
        from transformers.trainer import get_scheduler

        recommendation, model = recommended(name), TinyLM()
        args = vars(self._parser().parse_args(arguments(emit("openrlhf", recommendation).text)))
        groups = definitions("openrlhf", "utils/deepspeed/deepspeed_utils.py", "get_optimizer_grouped_parameters")
        optimizer = torch.optim.AdamW(
            groups.get_optimizer_grouped_parameters(model, args["adam.weight_decay"]),
            lr=args["adam.lr"],
            betas=args["adam.betas"],
            eps=args["adam.eps"],
        )
        made = assigned(
            "openrlhf",
            "utils/deepspeed/deepspeed.py",
            *("scheduler_steps", "scheduler_name", "scheduler_kwargs", "sched_factory"),
            cfg={**args, "scheduler_steps": STEPS},
            get_scheduler=get_scheduler,
        )
        scheduler, config = made.sched_factory(optimizer), config_of(recommendation, "openrlhf")
        assert_walks_as_recommended(model, optimizer, scheduler.step, config)

    def test_defaults(self) -> None:
        """Of train_sft."""
        real = vars(self._parser().parse_args(["--data.dataset", "d"]))
        config = read(FRAMEWORKS["openrlhf"](), "deepspeed --module openrlhf.cli.train_sft --adam.lr 1e-6\n")
        assert (config.weight_decay, config.betas) == (real["adam.weight_decay"], real["adam.betas"])
        assert (config.eps, config.final_lr_fraction) == (real["adam.eps"], real["min_lr_ratio"])
        assert (config.warmup_fraction, config.optimizer) == (real["lr_warmup_ratio"], real["optim"])
        words = FRAMEWORKS["openrlhf"].words  # type: ignore[attr-defined]
        assert config.schedule is not None
        assert real["lr_scheduler"] in words[config.schedule]

    @staticmethod
    def _parser() -> Any:
        main = next(node for node in source("openrlhf", "cli/train_sft.py").body if isinstance(node, ast.If))
        lines = [node for node in main.body if "parse" not in ast.unparse(node) or "parser" in ast.unparse(node)]
        end = next(number for number, node in enumerate(lines) if "parse_args" in ast.unparse(node))
        return run(lines[:end], argparse=argparse, datetime=datetime).parser


@pytest.mark.parametrize("name", ["linear", "cosine", "constant"])
def test_diffusers_schedules(name: str) -> None:
    """diffusers 0.42.1: its get_scheduler; the scripts that call it are not in the package."""
    optimization = pytest.importorskip("diffusers.optimization", reason="diffusers is not installed")
    recommendation, model = recommended(name), TinyLM()
    given = arguments(emit("diffusers", recommendation).text)
    args = dict(zip(given[::2], given[1::2], strict=True))
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=float(args["--learning_rate"]),
        betas=(float(args["--adam_beta1"]), float(args["--adam_beta2"])),
        weight_decay=float(args["--adam_weight_decay"]),
        eps=float(args["--adam_epsilon"]),
    )
    step: Callable[[], Any] = optimization.get_scheduler(
        args["--lr_scheduler"],
        optimizer=optimizer,
        num_warmup_steps=int(args["--lr_warmup_steps"]),
        num_training_steps=int(args["--max_train_steps"]),
    ).step
    assert_walks_as_recommended(model, optimizer, step, config_of(recommendation, "diffusers"))


def test_sentence_transformers_change_no_default() -> None:
    """sentence-transformers 6.2.0: fields of the Trainer's arguments that are read are the same."""
    theirs = pytest.importorskip("sentence_transformers.training_args", reason="sentence-transformers is not installed")
    from transformers import TrainingArguments

    own = theirs.SentenceTransformerTrainingArguments.__dataclass_fields__
    for names, _ in FRAMEWORKS["huggingface"].keys.values():  # type: ignore[attr-defined]
        for name in names:
            if name in TrainingArguments.__dataclass_fields__:
                assert own[name].default == TrainingArguments.__dataclass_fields__[name].default, name
