"""Training frameworks, one file each: how it applies decay, what it leaves out, how it spells a config.

A new framework is one file here plus one line below.
"""

from adamw_scale.frameworks.config import Config, Finding
from adamw_scale.frameworks.framework import Framework, Snippet
from adamw_scale.registry import Registry

_HERE = "adamw_scale.frameworks"
FRAMEWORKS: Registry[type[Framework]] = Registry(
    "framework",
    _HERE,
    {
        "pytorch": f"{_HERE}.pytorch:PyTorch",
        "huggingface": f"{_HERE}.huggingface:HuggingFace",
        "megatron": f"{_HERE}.megatron:Megatron",
    },
)

__all__ = ["FRAMEWORKS", "Config", "Finding", "Framework", "Snippet"]
