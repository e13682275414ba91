"""What the weight decay of an optimizer means, by its class, as read in the libraries' sources.

A library is the first part of a class' module. Where a class is not here, what its steps take away tells.
"""

from collections.abc import Callable, Mapping

# (library, class, or function where a library has no classes) -> convention.
CLASSES: dict[tuple[str, str], str] = {
    **{("torch", name): "pytorch" for name in ("AdamW", "SGD")},
    **{
        ("torch", name): "torch-adam" for name in ("Adam", "NAdam", "RAdam", "Adamax", "RMSprop", "Adagrad", "Adadelta")
    },
    ("torch", "Muon"): "torch-muon",
    ("torch", "Adafactor"): "torch-adafactor",
    ("transformers", "Adafactor"): "transformers-adafactor",
    ("transformers", "AdamW"): "pytorch",
    ("composer", "DecoupledAdamW"): "composer",
    ("composer", "DecoupledLionW"): "composer",
    ("llmfoundry", "DecoupledAdaLRLion"): "composer",
    ("llmfoundry", "DecoupledClipLion"): "composer",
    ("llmfoundry", "DecoupledLionW"): "composer",
    **{
        ("bitsandbytes", prefix + name + suffix): convention
        for prefix in ("", "Paged")
        for name, convention in (
            *((name, "bitsandbytes") for name in ("Adam", "AdamW", "Lion", "AdEMAMix")),
            *((name, "bitsandbytes-1-state") for name in ("RMSprop", "Adagrad", "SGD")),
        )
        for suffix in ("", "8bit", "32bit")
    },
    ("lion_pytorch", "Lion"): "lion-pytorch",
    ("optimi", "AdamW"): "optimi",
    ("optimi", "Adam"): "optimi",
    ("unit_scaling", "AdamW"): "unit-scaling",
    ("timm", "AdamW"): "timm",
    ("timm", "AdamWLegacy"): "timm",
    ("timm", "NAdamW"): "timm",
    ("timm", "Lion"): "timm",
    ("timm", "LaProp"): "timm",
    ("apex", "FusedAdam"): "apex",
    ("deepspeed", "FusedAdam"): "deepspeed",
    ("deepspeed", "DeepSpeedCPUAdam"): "deepspeed",
    **{("torchao", f"AdamW{bits}"): "torchao" for bits in ("8bit", "4bit", "Fp8")},
    **{("torchao", f"Adam{bits}"): "torchao-adam" for bits in ("8bit", "4bit", "Fp8")},
    ("schedulefree", "AdamWScheduleFree"): "schedulefree",
    ("olmo_core", "AdamW"): "olmo-core",
    ("olmo_core", "SkipStepAdamW"): "olmo-core",
    ("keras", "AdamW"): "keras",
    ("keras", "Adam"): "keras",
    ("tensorflow_addons", "AdamW"): "tfa",
    ("optax", "adamw"): "optax",
    ("optax", "lion"): "optax",
    ("paddle", "AdamW"): "paddle",
}
# A setting that changes what a convention is: (convention, setting, its value) -> the other one.
TURNED: dict[tuple[str, str, bool], str] = {
    ("torch-adam", "decoupled_weight_decay", True): "torch-adam-decoupled",
    ("apex", "adam_w_mode", False): "apex-l2",
    ("deepspeed", "adam_w_mode", False): "deepspeed-l2",
    ("deepspeed", "adamw_mode", False): "deepspeed-l2",
    ("timm", "corrected_weight_decay", True): "timm-corrected",
    ("optimi", "decouple_lr", True): "optimi-decoupled",
    ("lion-pytorch", "decoupled_weight_decay", True): "lion-pytorch-decoupled",
}


def convention_of_class(module: str, name: str, flags: Mapping[str, bool]) -> str | None:
    """The convention of an optimizer's class with these settings; None where it is not known.

    Example:
        >>> convention_of_class("torch.optim.adam", "Adam", {"decoupled_weight_decay": True})
        'torch-adam-decoupled'
    """
    convention = CLASSES.get((module.partition(".")[0], name))
    return None if convention is None else turned(convention, flags.get)


def turned(convention: str, setting: Callable[[str], bool | None]) -> str:
    """What a convention is with an optimizer's settings, of which those that are not told are None."""
    for (before, flag, value), after in TURNED.items():
        if convention == before and setting(flag) is value:
            return after
    return convention
