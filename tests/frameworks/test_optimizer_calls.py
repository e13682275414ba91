"""Python text: whose optimizer it is, its defaults as its library has them, what is asked about."""

import importlib
import inspect
from typing import Any

import pytest

from adamw_scale import audit
from adamw_scale.auditing import Audit
from adamw_scale.errors import SpecError
from adamw_scale.frameworks.optimizer_calls import CONSTRUCTORS, Constructor

PLACES = {
    "torch": "torch.optim",
    "bitsandbytes": "bitsandbytes.optim",
    "lion_pytorch": "lion_pytorch",
    "torchao": "torchao.optim",
    "optimi": "optimi",
    "keras": "keras.optimizers",
    "optax": "optax",
    "deepspeed": "deepspeed.ops.adam",
}
SPELLED = {"peak_lr": ("lr", "learning_rate"), "weight_decay": ("weight_decay",), "eps": ("eps", "epsilon")}


@pytest.mark.parametrize(("library", "name"), [key for key in CONSTRUCTORS if key[0] in PLACES])
def test_defaults_are_the_librarys(monkeypatch: pytest.MonkeyPatch, library: str, name: str) -> None:
    """By the signature of the class itself, and the order of its arguments."""
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    module = pytest.importorskip(PLACES[library])
    real = getattr(module, name, None)
    if real is None:
        pytest.skip(f"{library} of this release has no {name}")
    made = CONSTRUCTORS[library, name]
    signature = inspect.signature(real).parameters
    for field, spellings in SPELLED.items():
        spelled = next((each for each in spellings if each in signature), None)
        if spelled is None or (field == "eps" and not set(spellings) & set(made.order)):
            continue
        default = signature[spelled].default
        ours = getattr(made, field)
        assert ours == (None if default is inspect.Parameter.empty else 0.0 if default is None else default), field
    placed = [each for each in signature if each != "self"]
    assert [each for each in made.order if each in placed] == [each for each in placed if each in made.order]


def found(text: str, **said: Any) -> Audit:
    """The audit of Python text."""
    return audit(text, suffix=".py", **said)


def told(text: str, field: str) -> tuple[Any, str]:
    """A value of Python text, and where it comes from."""
    (value,) = [each for each in found(text).values if each.field == field]
    return value.value, value.origin


MODEL = "model.parameters()"
BY_IMPORT = {
    f"from transformers import AdamW\nAdamW({MODEL}, lr=1e-4)": 0.0,
    f"from transformers.optimization import AdamW as A\nA({MODEL}, lr=1e-4)": 0.0,
    f"from torch import optim\noptim.AdamW({MODEL}, lr=1e-4)": 0.01,
    f"import torch.optim as o\no.AdamW({MODEL}, lr=1e-4)": 0.01,
    f"import torch\ncls = torch.optim.AdamW\ncls({MODEL}, lr=1e-4)": 0.01,
    "import torch\nfrom functools import partial\nopt = partial(torch.optim.AdamW, lr=1e-4)": 0.01,
    f"import bitsandbytes as bnb\nbnb.optim.AdamW8bit({MODEL}, lr=1e-4)": 0.01,
    f"from lion_pytorch import Lion\nLion({MODEL}, lr=1e-4)": 0.0,
    "import keras\nkeras.optimizers.AdamW(learning_rate=1e-4)": 0.004,
    "import tensorflow as tf\ntf.keras.optimizers.AdamW(1e-4)": 0.004,
    "import optax\noptax.adamw(1e-4)": 1e-4,
    "import optax\noptax.adamw(learning_rate=1e-4)": 1e-4,
    "import paddle\npaddle.optimizer.AdamW(1e-4, parameters=m.parameters())": 0.01,
}


@pytest.mark.parametrize("text", BY_IMPORT)
def test_the_import_says_whose_default_acts(text: str) -> None:
    """The same name has many."""
    assert told(text, "weight_decay") == (BY_IMPORT[text], "default")
    assert told(text, "peak_lr") == (1e-4, "read")


ASKED = {
    f"AdamW({MODEL}, lr=1e-4)": "import that is not known",
    f"from mylib.optim import AdamW\nAdamW({MODEL}, lr=1e-4)": "import that is not known",
    f"from .optimizers import AdamW\nAdamW({MODEL}, lr=1e-4)": "import that is not known",
    f"try:\n    from apex import AdamW\nexcept ImportError:\n    from torch.optim import AdamW\nAdamW({MODEL}, lr=1)": (
        "import that is not known"
    ),
    f"import torch\na = torch.optim.AdamW({MODEL}, lr=1e-4)\nb = torch.optim.AdamW(d.parameters(), lr=2e-4)": (
        "2 different optimizers"
    ),
    f"import torch\nif x:\n    o = torch.optim.AdamW({MODEL}, lr=1e-4)\nelse:\n    o = torch.optim.SGD({MODEL})": (
        "2 different optimizers"
    ),
    f"import torch\ntorch.optim.RMSprop({MODEL}, lr=1e-4)": "not known here",
}


CONFIGS = (
    "def small():\n    return Trainer.Config(optimizer=default_adamw(lr=3e-4), training=TrainingConfig(steps=10))\n"
    "def large():\n    return Trainer.Config(optimizer=default_adamw(lr=1e-4), training=TrainingConfig(steps=10))\n"
)
ASKED[CONFIGS] = "2 configs are in this file, small"


@pytest.mark.parametrize("text", ASKED)
def test_what_cannot_be_told_is_asked(text: str) -> None:
    """Never torch's by default; several are listed with their lines."""
    with pytest.raises(SpecError, match=ASKED[text]):
        found(text)


ONE_HOP = {
    "import torch\ndef train(lr=3e-4):\n    torch.optim.AdamW(m.parameters(), lr=lr)\n": (3e-4, "overridable"),
    "import torch\ndef train(lr):\n    torch.optim.AdamW(m.parameters(), lr=lr)\ntrain(3e-4)\n": (3e-4, "read"),
    "import torch\ndef train(lr):\n    torch.optim.AdamW(m.parameters(), lr=lr)\n": (None, "unknown"),
    "import torch\nlr = 3e-4\nif big:\n    lr = 1e-4\ntorch.optim.AdamW(m.parameters(), lr=lr)\n": (None, "unknown"),
    "import torch\nc = {'lr': 3e-4, 'm': f()}\ntorch.optim.AdamW(m.parameters(), lr=c['lr'])\n": (3e-4, "read"),
    "import os, torch\ntorch.optim.AdamW(m.parameters(), lr=float(os.environ.get('LR', '3e-4')))\n": (
        3e-4,
        "overridable",
    ),
    "import torch\nclass M:\n    def __init__(self, lr=3e-4):\n        self.lr = lr\n"
    "    def configure_optimizers(self):\n        return torch.optim.AdamW(self.parameters(), lr=self.lr)\n": (
        3e-4,
        "overridable",
    ),
    "import torch\nclass C:\n    lr = 3e-4\ntorch.optim.AdamW(m.parameters(), lr=C.lr)\n": (3e-4, "overridable"),
    "import torch\nfrom dataclasses import dataclass, field\n@dataclass\nclass C:\n"
    "    lr: float = field(default=3e-4)\ndef main(cfg: C):\n    torch.optim.AdamW(m.parameters(), lr=cfg.lr)\n": (
        3e-4,
        "overridable",
    ),
    "import torch\nfrom dataclasses import dataclass\n@dataclass\nclass C:\n    lr: float = 1\n"
    "cfg = C(lr=3e-4)\ntorch.optim.AdamW(m.parameters(), lr=cfg.lr)\n": (3e-4, "read"),
    "import torch, click\n@click.command()\n@click.option('--lr', default=3e-4)\n"
    "def main(lr):\n    torch.optim.AdamW(m.parameters(), lr=lr)\n": (3e-4, "overridable"),
    "import torch\nargs = p.parse_args()\np.add_argument('--lr', default=1)\nargs.lr = args.lr * 8\n"
    "torch.optim.AdamW(m.parameters(), lr=args.lr)\n": (8.0, "overridable"),
    "import torch\ntorch.optim.AdamW(m.parameters(), **settings)\n": (None, "unknown"),
    "import torch\no = torch.optim.AdamW(m.parameters(), lr=1e-5)\n"
    "s = torch.optim.lr_scheduler.OneCycleLR(o, max_lr=3e-4, total_steps=1000)\n": (3e-4, "read"),
    "import torch\no = torch.optim.AdamW([{'params': a, 'lr': 1e-5}, {'params': b}], lr=1e-4)\n": (None, "unknown"),
}


@pytest.mark.parametrize("text", ONE_HOP)
def test_a_learning_rate_is_followed_one_hop_or_unknown(text: str) -> None:
    """A default is marked, and what may be anything is never filled in."""
    assert told(text, "peak_lr") == ONE_HOP[text]


def test_groups_that_code_makes_are_not_known() -> None:
    """Their own weight decay goes before the optimizer's, so the default is not said to act."""
    text = "import torch\ntorch.optim.AdamW(param_groups(model), lr=1e-4"
    assert told(f"{text})", "weight_decay") == (None, "unknown")
    rows = {group.group: group.written for group in found(f"{text}, weight_decay=0.1)").groups}
    assert (rows["hidden"], rows["norm-and-bias"]) == (0.1, None)


def test_masks_and_exclusions_leave_only_the_matrices_known() -> None:
    """What code spares is not told to decay."""
    for text in (
        "import optax\noptax.adamw(1e-4, weight_decay=0.1, mask=decays)\n",
        "import keras\no = keras.optimizers.AdamW(1e-4, 0.1)\no.exclude_from_weight_decay(var_names=['b'])\n",
    ):
        rows = {group.group: group.written for group in found(text).groups}
        assert (rows["hidden"], rows["norm-and-bias"]) == (0.1, None)


def test_a_subclass_of_training_arguments() -> None:
    """Its fields are defaults of the script."""
    text = (
        "from dataclasses import dataclass, field\nfrom transformers import HfArgumentParser, TrainingArguments\n"
        "@dataclass\nclass Mine(TrainingArguments):\n    learning_rate: float = field(default=3e-4)\n"
        "    weight_decay: float = 0.1\nparser = HfArgumentParser(Mine)\n"
    )
    assert found(text).framework == "huggingface"
    assert told(text, "peak_lr") == (3e-4, "overridable")
    assert told(text, "weight_decay") == (0.1, "overridable")


FRIENDS = {
    "yolo.yaml": "lr0: 0.01\nlrf: 0.01\nmomentum: 0.937\nweight_decay: 0.0005\nwarmup_epochs: 3.0\nmixup: 0.0\n"
    "cutmix: 0.0\n",
    "mingpt.py": "from mingpt.trainer import TrainerConfig\ntconf = TrainerConfig(max_epochs=2, batch_size=128, "
    "learning_rate=6e-4, lr_decay=True, warmup_tokens=512*20, final_tokens=2*10)\nblock_size = 128\nmax_iters = 5\n",
    "lightning.yaml": "seed_everything: 1\ntrainer:\n  max_epochs: 10\n  accelerator: gpu\nmodel:\n  class_path: m.M\n"
    "optimizer:\n  class_path: torch.optim.AdamW\n  init_args:\n    lr: 1e-3\n    weight_decay: 0.1\n",
    "glue.yaml": "base_run_name: x\ndefault_seed: 1\nmax_seq_len: 256\nscheduler:\n  name: linear_decay_with_warmup\n"
    "  t_warmup: 0.06dur\ntasks:\n  mnli: {seeds: [1]}\n",
    "diffusion.yaml": "optimizer:\n  _target_: torch.optim.AdamW\n  lr: 1.0e-4\n  weight_decay: 0.01\ntrainer:\n"
    "  _target_: composer.Trainer\n  max_duration: 850000ba\nscheduler:\n  _target_: composer.optim.MultiStep\n"
    "  t_warmup: 10000ba\n",
    "hydra.yaml": "optimizer:\n  _target_: torch.optim.AdamW\n  lr: 1e-3\n",
    "few.yaml": "learning_rate: 1e-3\nweight_decay: 0.1\noutput_dir: out\n",
}


@pytest.mark.parametrize("name", FRIENDS)
def test_a_look_alike_is_asked_about(name: str) -> None:
    """It shares a key or two with a framework, and is not taken for its."""
    with pytest.raises(SpecError, match=r"--framework|audit -- COMMAND"):
        audit(FRIENDS[name], suffix=f".{name.rpartition('.')[2]}")


def test_constructors_are_told_by_library() -> None:
    """The table's own kinds are known conventions."""
    from adamw_scale.theory.conventions import CONVENTIONS

    assert {made.convention for made in CONSTRUCTORS.values()} <= CONVENTIONS.keys()
    assert all(isinstance(made, Constructor) for made in CONSTRUCTORS.values())
    assert importlib.import_module("adamw_scale.frameworks.optimizer_calls").WATCH.startswith("adamw-scale audit --")


ARGUMENTS = (
    "from transformers import TrainingArguments\nargs = TrainingArguments('o', learning_rate=1e-4, weight_decay=.1)\n"
)


@pytest.mark.parametrize(
    ("later", "weight_decay"),
    [
        ("args.weight_decay = 0.3", 0.3),
        ("args.weight_decay = 3 * 0.1\nargs.lr_scheduler_type = 'constant'", 0.3),
        ("if big:\n    args.weight_decay = 0.3", None),
        ("args.weight_decay *= 2", None),
        ("args.weight_decay = chosen()", None),
        ("def late():\n    args.weight_decay = 0.3", None),
        ("other.weight_decay = 0.3", 0.1),
    ],
)
def test_what_is_assigned_after_a_call_goes_before_its_arguments(later: str, weight_decay: float | None) -> None:
    """And is not known where code or a branch assigns it."""
    values = {each.field: each for each in found(ARGUMENTS + later).values}
    assert values["weight_decay"].value == (None if weight_decay is None else pytest.approx(weight_decay))
    assert values["weight_decay"].origin == ("unknown" if weight_decay is None else values["weight_decay"].origin)
    assert values["peak_lr"].value == 1e-4


OPTIMIZER = "import torch\nopt = torch.optim.AdamW(m.parameters(), lr=1e-3, weight_decay=0.1)\n"


@pytest.mark.parametrize(
    ("later", "unknown"),
    [
        ("for g in opt.param_groups:\n    g['weight_decay'] = 0.02", {"weight_decay"}),
        ("for i, g in enumerate(opt.param_groups):\n    g['lr'] = warmed(i)", {"peak_lr"}),
        ("opt.param_groups[0]['lr'] *= 0.5", {"peak_lr"}),
        ("for g in other.parts:\n    g['lr'] = 1", set()),
        ("for g in opt.param_groups:\n    print(g['lr'])", set()),
    ],
)
def test_what_code_writes_into_groups_is_not_known(later: str, unknown: set[str]) -> None:
    """It may be another value at every step."""
    values = {each.field: each for each in found(OPTIMIZER + later).values}
    assert {field for field in ("peak_lr", "weight_decay") if values[field].origin == "unknown"} == unknown


def test_every_argument_that_a_command_line_may_change_says_so() -> None:
    """Of groups, schedulers and data loaders too."""
    text = """
import argparse, torch
from torch.utils.data import DataLoader
from transformers import get_scheduler
p = argparse.ArgumentParser()
for name in ():
    pass
p.add_argument("--weight_decay", type=float, default=0.05)
p.add_argument("--lr", type=float, default=5e-5)
p.add_argument("--eps", type=float, default=1e-6)
p.add_argument("--batch", type=int, default=8)
p.add_argument("--warmup", type=int, default=7)
p.add_argument("--steps", type=int, default=900)
args = p.parse_args()
groups = [{"params": a, "weight_decay": args.weight_decay}, {"params": b, "weight_decay": 0.0}]
opt = torch.optim.AdamW(groups, lr=args.lr, eps=args.eps)
sched = get_scheduler("linear", optimizer=opt, num_warmup_steps=args.warmup, num_training_steps=args.steps)
loader = DataLoader(data, shuffle=True, batch_size=args.batch)
"""
    origins = {each.field: each.origin for each in found(text).values}
    fields = ("weight_decay", "peak_lr", "eps", "warmup_steps", "total_steps", "batch_size")
    assert {origins[field] for field in fields} == {"overridable"}


@pytest.mark.parametrize(
    ("one", "other", "known"),
    [
        ("backbone", "head", False),
        ("decay", "no_decay", True),
        (
            "[p for n, p in m.named_parameters() if p.ndim > 1]",
            "[p for n, p in m.named_parameters() if p.ndim < 2]",
            True,
        ),
        ("m.layers.parameters()", "m.embeddings.parameters()", False),
    ],
)
def test_what_is_in_a_group_is_not_guessed(one: str, other: str, known: bool) -> None:
    """Norms are in the group that does not decay where it says so, and else nobody knows."""
    groups = f'[{{"params": {one}}}, {{"params": {other}, "weight_decay": 0.0}}]'
    judged = found(f"import torch\nopt = torch.optim.AdamW({groups}, lr=1e-3, weight_decay=0.1)")
    written = {each.group: each.written for each in judged.groups}
    assert written["hidden"] == 0.1
    assert written["norm-and-bias"] == (0.0 if known else None)


NESTED = """
from dataclasses import dataclass, field
import torch
@dataclass
class Opt:
    lr: float = 1e-3
@dataclass
class Train:
    opt: Opt = field(default_factory={factory})
def train(cfg: Train):
    torch.optim.AdamW(m.parameters(), lr=cfg.opt.lr)
train({made})
"""


@pytest.mark.parametrize(
    ("factory", "made", "lr"),
    [
        ("Opt", "Train()", (1e-3, "overridable")),
        ("Opt", "Train(opt=Opt(lr=5e-4))", (5e-4, "read")),
        ("lambda: Opt(lr=7e-4)", "Train()", (7e-4, "read")),
        ("lambda: Opt(lr=7e-4)", "Train(opt=Opt())", (1e-3, "overridable")),
    ],
)
def test_settings_within_settings(factory: str, made: str, lr: tuple[float, str]) -> None:
    """What a constructor is given goes before what its class makes."""
    assert told(NESTED.format(factory=factory, made=made), "peak_lr") == lr


def test_words_of_its_own_are_no_command_line() -> None:
    """parse_args with a list has other values than the defaults."""
    text = (
        "import argparse, torch\np = argparse.ArgumentParser()\np.add_argument('--lr', default=1e-3)\n"
        "args = p.parse_args({})\ntorch.optim.AdamW(m.parameters(), lr=args.lr)"
    )
    assert told(text.format("['--lr', '1']"), "peak_lr") == (1.0, "read")
    assert told(text.format("sys.argv[1:]"), "peak_lr") == (1e-3, "overridable")


@pytest.mark.parametrize(
    ("lines", "batch"),
    [
        ("batch_size = 16", {"batch_size": 16}),
        ("batch_size = 16\naccum_steps = 8", {"per_device_batch_size": 16, "accumulation": 8}),
        ("batch_size = 16\nif i % f(accumulate): pass", {"accumulation": None}),
        (
            "batch_size = 16\nimport lightning as L\nL.Trainer(devices=2, accumulate_grad_batches=4)",
            {"per_device_batch_size": 16, "accumulation": 4},
        ),
    ],
)
def test_passes_of_one_step(lines: str, batch: dict[str, float | None]) -> None:
    """A batch of several is not the loader's."""
    fields = ("batch_size", "per_device_batch_size", "accumulation")
    values = {each.field: each.value for each in found(OPTIMIZER + lines).values if each.field in fields}
    assert values == batch


TORCH = "import argparse, dataclasses, torch\n"
BUILT = "opt = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)\n"
SPREAD = "opt = torch.optim.AdamW(model.parameters(), **kw)\n"
KWARGS = "kw = dict(lr=1e-3, weight_decay=0.1)\n"
OPTIONS = "p = argparse.ArgumentParser()\np.add_argument('--wd', type=float, default=0.05)\n"
USED = "opt = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=args.wd)\n"
UNKNOWN = (None, "unknown")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (BUILT + "for g in opt.param_groups:\n    g.update(weight_decay=0.3)\n", UNKNOWN),
        (BUILT + "groups = opt.param_groups\ngroups[0]['weight_decay'] = 0.3\n", UNKNOWN),
        (BUILT + "opt.add_param_group({'params': head.parameters(), 'weight_decay': 0.0})\n", (0.1, "read")),
        (KWARGS + "kw.update(weight_decay=0.3)\n" + SPREAD, UNKNOWN),
        (KWARGS + "kw.pop('weight_decay')\n" + SPREAD, UNKNOWN),
        (KWARGS + "del kw['weight_decay']\n" + SPREAD, UNKNOWN),
        (KWARGS + "def change():\n    kw['weight_decay'] = 0.3\nchange()\n" + SPREAD, UNKNOWN),
        ("opt = torch.optim.AdamW(model.parameters(), *rest)\n", UNKNOWN),
        ("wd = 0.1\nfrom settings import *\n" + BUILT.replace("0.1", "wd"), UNKNOWN),
        ("wd = 0.1\ndef change():\n    global wd\n    wd = 0.3\nchange()\n" + BUILT.replace("0.1", "wd"), UNKNOWN),
        ("wd = 0.1\nexec(open('x').read())\n" + BUILT.replace("0.1", "wd"), (0.1, "overridable")),
        (
            (
                "make = functools.partial(torch.optim.AdamW, lr=1e-3, weight_decay=0.1)\n"
                "opt = make(model.parameters(), weight_decay=0.3)\n"
            ),
            (0.3, "read"),
        ),
        (OPTIONS + "args = p.parse_args(['--wd', '0.3'])\n" + USED, (0.3, "read")),
        (OPTIONS + "p.set_defaults(**{'wd': 0.3})\nargs = p.parse_args()\n" + USED, (0.3, "overridable")),
        (OPTIONS + "p.set_defaults(**more)\nargs = p.parse_args()\n" + USED, UNKNOWN),
        (OPTIONS + "args = p.parse_args()\nvars(args).update(wd=0.3)\n" + USED, (0.3, "read")),
        (OPTIONS + "args = p.parse_args()\nsetattr(args, 'wd', 0.3)\n" + USED, (0.3, "read")),
        (
            (
                "class M(Module):\n    def __init__(self, wd=0.1):\n        self.wd = wd\n    def made(self):\n"
                "        return torch.optim.AdamW(self.parameters(), lr=1e-3, weight_decay=self.wd)\n"
                "class N(M):\n    def __init__(self):\n        super().__init__(wd=0.3)\n"
            ),
            (0.3, "read"),
        ),
    ],
)
def test_what_is_changed_on_the_way_is_no_longer_what_was_written(text: str, value: tuple[float | None, str]) -> None:
    """Groups, mappings, names and options that code changes before or after the optimizer is built."""
    assert told(TORCH + text, "weight_decay") == value


def test_an_option_list_without_words_says_nothing() -> None:
    """parse_args([]) leaves every default."""
    assert told(TORCH + OPTIONS + "args = p.parse_args([])\n" + USED, "weight_decay") == (0.05, "overridable")


TRAINER = "from transformers import TrainingArguments\n"
SAID = "args = TrainingArguments('x', learning_rate=1e-4, weight_decay=0.1)\n"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (SAID + "setattr(args, 'weight_decay', 0.3)\n", (0.3, "read")),
        (SAID + "args = dataclasses.replace(args, weight_decay=0.3)\n", UNKNOWN),
        ("def made():\n    return " + SAID[7:] + "args = made()\nargs.weight_decay = 0.3\n", UNKNOWN),
        (
            (
                "class Mine(TrainingArguments):\n    learning_rate: float = 1e-4\n    weight_decay: float = 0.1\n"
                "(args,) = HfArgumentParser(Mine).parse_args_into_dataclasses()\nargs.weight_decay = 0.3\n"
            ),
            (0.3, "read"),
        ),
        (
            "from torch.optim import AdamW\n" + SAID + "trainer = Trainer(args=args)\n"
            "trainer.optimizer = AdamW(model.parameters(), lr=1e-4, weight_decay=0.3)\n",
            (0.3, "read"),
        ),
    ],
)
def test_arguments_that_are_changed_later(text: str, value: tuple[float | None, str]) -> None:
    """What acts is what stands at the end, or nobody knows."""
    assert told(TRAINER + text, "weight_decay") == value


def test_setters_of_training_arguments_are_asked_about() -> None:
    """They replace what was passed, and no default may be said beside them."""
    with pytest.raises(SpecError, match="set_training"):
        found(TRAINER + SAID + "args.set_training(learning_rate=5e-4, weight_decay=0.05)\n")


def test_a_cyclic_schedule_has_a_peak_of_its_own() -> None:
    """CyclicLR writes its own learning rates over the optimizer's."""
    cyclic = "s = torch.optim.lr_scheduler.CyclicLR(opt, base_lr=1e-5, max_lr=5e-3)\n"
    assert told(TORCH + BUILT + cyclic, "peak_lr") == UNKNOWN


@pytest.mark.parametrize(("lr", "peak"), [("1.0", (None, "unknown")), ("1e-3", (1e-3, "read"))])
def test_a_rate_that_a_function_makes_is_not_known(lr: str, peak: tuple[float | None, str]) -> None:
    """An lr of 1 under a LambdaLR is none: its function has the rate."""
    text = OPTIMIZER.replace("1e-3", lr) + "s = torch.optim.lr_scheduler.LambdaLR(opt, noam)\n"
    assert told(text, "peak_lr") == peak


@pytest.mark.parametrize(("said", "told"), [("", True), (", cycle_momentum=False", False)])
def test_one_cycle_moves_the_momentum_too(said: str, told: bool) -> None:
    """By default, whatever betas are written."""
    text = OPTIMIZER + f"s = torch.optim.lr_scheduler.OneCycleLR(opt, max_lr=1e-3, total_steps=900{said})\n"
    assert ("betas-overridden" in {each.code for each in found(text).findings}) == told
