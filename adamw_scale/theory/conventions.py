"""What a weight-decay number means: how libraries apply it, and what that is in PyTorch's unit.

Each step multiplies a decayed weight by 1 - f_t. With s_t = lr_t / peak_lr the schedule, T the steps
of the run and w_t the weight decay's own schedule (1 throughout where there is none), f_t of a value v
is lr_t·v in PyTorch and something else elsewhere: `KINDS` holds every meaning, `CONVENTIONS` which
library has which, read in the libraries' sources. A new convention is one entry here.

Two things can be kept when a value is carried to a kind that follows another shape over the run:
the decay at peak learning rate ("peak"), or its sum over the run ("mass"). Where both kinds follow
the schedule alike the two agree, and the conversion is exact at every step.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from adamw_scale.errors import MissingInputError, SpecError, UnknownNameError

MATCHES = ("peak", "mass")


class Setting(NamedTuple):
    """What a conversion may depend on; None where it was not given."""

    peak_lr: float | None = None
    total_steps: float | None = None
    mean: float | None = None  # of s_t over the run, in (0, 1]
    mean_square: float | None = None  # of s_t squared
    mean_with_own: float | None = None  # of s_t * w_t
    aligned: float = 0.5  # share of weights whose update has their own sign, which cautious decay acts on

    def needed(self, name: str) -> float:
        """A value that a conversion cannot do without.

        Raises:
            MissingInputError: it was not given.
        """
        value = getattr(self, name)
        if value is None:
            raise MissingInputError(f"this weight decay's unit depends on {FLAGS[name]} ({name}): pass {FLAGS[name]}")
        return float(value)


FLAGS = {
    "peak_lr": "--lr",
    "total_steps": "--steps",
    "mean": "--schedule",
    "mean_square": "--schedule",
    "mean_with_own": "--weight-decay-schedule",
}


class Shape(NamedTuple):
    """How a decay moves over the run: its multiplier at (s_t, w_t), and the mean of that over the run."""

    at: Callable[[float, float], float]
    mean: Callable[[Setting], float]


FOLLOWS_LR = Shape(lambda s, w: s, lambda setting: setting.needed("mean"))
FOLLOWS_SQUARE = Shape(lambda s, w: s * s, lambda setting: setting.needed("mean_square"))
FOLLOWS_LR_AND_OWN = Shape(lambda s, w: s * w, lambda setting: setting.needed("mean_with_own"))
LEVEL = Shape(lambda s, w: 1.0, lambda setting: 1.0)


class Kind(NamedTuple):
    """One meaning of a value: f_t = value * per_unit * peak_lr * shape, so value * per_unit is PyTorch's λ at peak."""

    formula: str
    per_unit: Callable[[Setting], float]
    shape: Shape
    summary: str
    source: str
    caution: str = ""


CORRECTED = "this decay falls with the square of the learning rate, so one value matches it at peak lr or in sum"
KINDS: dict[str, Kind] = {
    "pytorch": Kind(
        "lr_t * value",
        lambda setting: 1.0,
        FOLLOWS_LR,
        "the value is multiplied by the learning rate of the step, so it is λ itself",
        "code of torch.optim.AdamW",
    ),
    "independent": Kind(
        "lr_t / peak_lr * value",
        lambda setting: 1 / setting.needed("peak_lr"),
        FOLLOWS_LR,
        "the value follows the schedule and not the size of the learning rate, so it is peak lr times λ",
        "Loshchilov & Hutter 2019, arXiv:1711.05101; Wortsman et al. 2023, arXiv:2309.14322",
    ),
    "fixed": Kind(
        "value",
        lambda setting: 1 / setting.needed("peak_lr"),
        LEVEL,
        "each step takes off the same share, whatever the learning rate is",
        "code of the libraries that do it",
        "this decay follows no schedule: it acts fully while the learning rate warms up and after it has fallen, so "
        "one value can match either the decay at peak lr or its sum over the run",
    ),
    "normalized": Kind(
        "lr_t / peak_lr * value / sqrt(steps)",
        lambda setting: 1 / (setting.needed("peak_lr") * math.sqrt(setting.needed("total_steps"))),
        FOLLOWS_LR,
        "the value is divided by the square root of the steps of the run, or of the cycle between two restarts",
        "Loshchilov & Hutter 2019, arXiv:1711.05101",
    ),
    "corrected": Kind(
        "lr_t^2 / peak_lr * value",
        lambda setting: 1.0,
        FOLLOWS_SQUARE,
        "as PyTorch's at the peak, and falling with the square of the learning rate",
        "arXiv:2506.02285",
        CORRECTED,
    ),
    "squared": Kind(
        "lr_t^2 * value",
        lambda setting: setting.needed("peak_lr"),
        FOLLOWS_SQUARE,
        "the value is multiplied by the learning rate twice",
        "code of modded-nanogpt",
        CORRECTED,
    ),
    "scheduled": Kind(
        "lr_t * value_t",
        lambda setting: 1.0,
        FOLLOWS_LR_AND_OWN,
        "as PyTorch's, with a value that moves over the run; it is the value where it is highest",
        "code of Megatron-LM",
        "the value has a schedule of its own, so one number matches it where it is highest or in sum",
    ),
    "cautious": Kind(
        "lr_t * value where update and weight have the same sign, else 0",
        lambda setting: setting.aligned,
        FOLLOWS_LR,
        "as PyTorch's, on those weights only that the update makes smaller anyway",
        "arXiv:2510.12402",
        "this decay skips weights whose update has the other sign; the share it acts on is assumed, not known "
        "(--aligned)",
    ),
    "cautious-scheduled": Kind(
        "lr_t * value_t where update and weight have the same sign, else 0",
        lambda setting: setting.aligned,
        FOLLOWS_LR_AND_OWN,
        "cautious, with a value that moves over the run",
        "code of nanochat; arXiv:2510.12402",
        "this decay skips weights whose update has the other sign, and has a schedule of its own",
    ),
}
L2 = "l2"
L2_FORMULA = "gradient + value * weight"
L2_REASON = (
    "it is added to the gradient, which Adam then divides by the gradient's own size: how much it shrinks a weight "
    "depends on that weight's gradients, so no decoupled weight decay does the same"
)


class Convention(NamedTuple):
    """A library (or a mode of one) and the kind of decay it applies; `default` is its weight decay if none is given."""

    kind: str
    library: str
    default: str = ""

    @property
    def formula(self) -> str:
        """f_t as text."""
        return L2_FORMULA if self.kind == L2 else KINDS[self.kind].formula


CONVENTIONS: dict[str, Convention] = {
    "pytorch": Convention("pytorch", "torch.optim.AdamW", "0.01"),
    "torch-adam": Convention(L2, "torch.optim.Adam", "0"),
    "torch-adam-decoupled": Convention("pytorch", "torch.optim.Adam(decoupled_weight_decay=True)", "0"),
    "torch-muon": Convention("pytorch", "torch.optim.Muon (the lr before its adjustment)", "0.1"),
    "torch-adafactor": Convention("pytorch", "torch.optim.Adafactor (the raw lr)", "0"),
    "transformers-adafactor": Convention("pytorch", "transformers Adafactor (lr after relative step and scaling)", "0"),
    "independent": Convention("independent", "any fully decoupled AdamW: mu_transformer, Wortsman et al., AFM"),
    "composer": Convention("independent", "Composer and llm-foundry DecoupledAdamW", "1e-5"),
    "optimi": Convention("pytorch", "optimi AdamW", "0.01"),
    "optimi-decoupled": Convention("independent", "optimi AdamW(decouple_lr=True)", "0.01"),
    "unit-scaling": Convention("independent", "unit_scaling AdamW, per group of its own lr", "0"),
    "big-vision": Convention("independent", "big_vision"),
    "axlearn": Convention("pytorch", "axlearn adamw_optimizer"),
    "axlearn-decoupled": Convention("independent", "axlearn adamw_decoupled_optimizer", "0"),
    "lion-pytorch": Convention("pytorch", "lion_pytorch Lion", "0"),
    "lion-pytorch-decoupled": Convention("independent", "lion_pytorch Lion(decoupled_weight_decay=True)", "0"),
    "bitsandbytes": Convention("pytorch", "bitsandbytes AdamW, and Adam too", "0.01; Adam 0"),
    "bitsandbytes-1-state": Convention(L2, "bitsandbytes RMSprop, Adagrad"),
    "apex": Convention("pytorch", "apex FusedAdam", "0"),
    "apex-l2": Convention(L2, "apex FusedAdam(adam_w_mode=False)", "0"),
    "deepspeed": Convention("pytorch", 'DeepSpeed FusedAdam and CPUAdam, JSON types "Adam" and "AdamW"', "0"),
    "deepspeed-l2": Convention(L2, "DeepSpeed Adam with adam_w_mode false", "0"),
    "megatron": Convention("pytorch", "Megatron-LM, Megatron-Bridge, NeMo", "0.01"),
    "megatron-scheduled": Convention("scheduled", "Megatron-LM with --start- and --end-weight-decay"),
    "fairseq": Convention("pytorch", "fairseq adam", "0"),
    "timm": Convention("pytorch", "timm adamw, nadamw, lion, laprop, adoptw; not lamb", "0.01; lion, laprop 0"),
    "timm-corrected": Convention(
        "corrected", "timm adamc, and nadamw, lion, laprop, adamwlegacy with corrected_weight_decay=True", "0.01"
    ),
    "timm-unscaled": Convention("fixed", "timm adafactor_bv(unscaled_wd=True)", "0"),
    "timm-unscaled-corrected": Convention(
        "independent", "timm adafactor_bv(unscaled_wd=True, corrected_weight_decay=True)", "0"
    ),
    "torchtitan": Convention("pytorch", "torchtitan", "0.1"),
    "olmo-core": Convention("pytorch", "OLMo-core AdamW and SkipStepAdamW", "0.01"),
    "levanter": Convention("pytorch", "levanter Adam", "0.1"),
    "levanter-adamc": Convention("corrected", "levanter Adam(adamc_weight_decay=True)", "0.1"),
    "maxtext": Convention("pytorch", "MaxText adamw and adam_pax", "0.1"),
    "optax": Convention("pytorch", "optax adamw, nadamw, lion, contrib.muon; not lamb", "1e-4; lion 1e-3"),
    "optax-adafactor": Convention("fixed", "optax adafactor(weight_decay_rate=...)", "none"),
    "keras": Convention("pytorch", "Keras 3, every optimizer", "0.004 in AdamW"),
    "tfa": Convention("fixed", "TensorFlow Addons AdamW, unless you schedule it yourself"),
    "tf-adam-weight-decay": Convention("pytorch", "transformers AdamWeightDecay (TensorFlow, removed)", "0"),
    "schedulefree": Convention("pytorch", "schedulefree AdamWScheduleFree, decay at y, nearly constant lr", "0"),
    "paddle": Convention("pytorch", "PaddlePaddle AdamW", "0.01"),
    "mindspore": Convention("pytorch", "MindSpore AdamWeightDecay", "0"),
    "mlx": Convention("pytorch", "MLX AdamW, Lion, Adafactor (lr after scaling)", "0.01"),
    "tinygrad": Convention("pytorch", "tinygrad AdamW", "0.01"),
    "candle": Convention("pytorch", "candle AdamW", "0.01"),
    "torchao": Convention("pytorch", "torchao AdamW8bit, AdamW4bit, AdamWFp8", "0.01"),
    "torchao-adam": Convention(L2, "torchao Adam8bit, Adam4bit, AdamFp8", "0"),
    "nanogpt": Convention("pytorch", "nanoGPT", "0.1"),
    "nanochat": Convention("pytorch", "nanochat, AdamW groups"),
    "nanochat-muon": Convention(
        "cautious-scheduled", "nanochat, Muon group: cautious, falling to 0 as a cosine", "0.28"
    ),
    "modded-nanogpt": Convention("squared", "modded-nanogpt, Adam groups", "0.005"),
    "cautious": Convention("cautious", "cautious weight decay (arXiv:2510.12402)"),
    "adamc": Convention("corrected", "AdamC (arXiv:2506.02285)"),
    "loshchilov": Convention("normalized", "the AdamW paper's code, ADAMW (arXiv:1711.05101)", "0.025"),
    "adamwr": Convention("normalized", "mpyrozhok adamwr with CyclicLRWithRestarts; steps of the current cycle"),
    "adamwr-plain": Convention("fixed", "mpyrozhok adamwr without its scheduler"),
    "keras-adamw": Convention("normalized", "OverLordGoldDragon keras-adamw"),
}


def kind_of(name: str) -> Kind:
    """How a convention decays.

    Raises:
        UnknownNameError: no such convention.
        SpecError: L2 in an adaptive optimizer, which has no weight decay that does the same.
    """
    if name not in CONVENTIONS:
        raise UnknownNameError("convention", name, CONVENTIONS)
    if CONVENTIONS[name].kind == L2:
        raise SpecError(
            f"convention {name!r} ({CONVENTIONS[name].library}) is L2 and cannot be converted: {L2_REASON}. "
            "Use a decoupled optimizer such as AdamW, and adamw-scale recommend for its value"
        )
    return KINDS[CONVENTIONS[name].kind]


def decay_per_step(name: str, value: float, setting: Setting, s: float, w: float = 1.0) -> float:
    """f_t: the share of a weight that one step removes, at lr multiplier `s` and own multiplier `w`.

    Example:
        >>> decay_per_step("composer", 1e-4, Setting(peak_lr=1e-3), s=0.5)
        5e-05
    """
    kind = kind_of(name)
    return value * kind.per_unit(setting) * setting.needed("peak_lr") * kind.shape.at(s, w)


def to_pytorch(name: str, value: float, setting: Setting, match: str = "peak") -> float:
    """PyTorch's λ for a value in a convention, the same at peak lr ("peak") or in sum over the run ("mass").

    Example:
        >>> to_pytorch("big-vision", 1e-4, Setting(peak_lr=1e-3))
        0.1
    """
    return value * _pytorch_per_unit(kind_of(name), setting, match)


def from_pytorch(name: str, weight_decay: float, setting: Setting, match: str = "peak") -> float:
    """The value in a convention for PyTorch's λ; the inverse of `to_pytorch`."""
    return weight_decay / _pytorch_per_unit(kind_of(name), setting, match)


def follows_lr(name: str) -> bool:
    """Whether the decay is proportional to the scheduled lr, so that "peak" and "mass" agree."""
    return kind_of(name).shape is FOLLOWS_LR


def _pytorch_per_unit(kind: Kind, setting: Setting, match: str) -> float:
    if match not in MATCHES:
        raise UnknownNameError("match", match, MATCHES)
    if match == "peak" or kind.shape is FOLLOWS_LR:
        return kind.per_unit(setting)
    return kind.per_unit(setting) * (kind.shape.mean(setting) / FOLLOWS_LR.mean(setting))
