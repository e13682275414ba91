"""Training frameworks, one file each: how it applies decay, what it leaves out, how it spells a config.

A new framework is one file here plus one line below.
"""

from adamw_scale.frameworks.framework import Framework, Snippet
from adamw_scale.registry import Registry

FRAMEWORKS: Registry[type[Framework]] = Registry(
    "framework",
    "adamw_scale.frameworks",
    {
        "pytorch": "adamw_scale.frameworks.pytorch:PyTorch",
        "huggingface": "adamw_scale.frameworks.huggingface:HuggingFace",
        "megatron": "adamw_scale.frameworks.megatron:Megatron",
    },
)

__all__ = ["FRAMEWORKS", "Framework", "Snippet"]
