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
        "trl": f"{_HERE}.trl:TRL",
        "llama-factory": f"{_HERE}.llama_factory:LLaMAFactory",
        "ms-swift": f"{_HERE}.ms_swift:MSSwift",
        "megatron-swift": f"{_HERE}.megatron_swift:MegatronSwift",
        "deepspeed-chat": f"{_HERE}.deepspeed_chat:DeepSpeedChat",
        "verl": f"{_HERE}.verl:Verl",
        "big-vision": f"{_HERE}.big_vision:BigVision",
        "openrlhf": f"{_HERE}.openrlhf:OpenRLHF",
        "gpt-neox": f"{_HERE}.gpt_neox:GPTNeoX",
        "nanotron": f"{_HERE}.nanotron:Nanotron",
        "diffusers": f"{_HERE}.diffusers:Diffusers",
        "open-clip": f"{_HERE}.open_clip:OpenCLIP",
        "torchvision": f"{_HERE}.torchvision:TorchVision",
        "axolotl": f"{_HERE}.axolotl:Axolotl",
        "deepspeed": f"{_HERE}.deepspeed:DeepSpeed",
        "lightning": f"{_HERE}.lightning:Lightning",
        "litgpt": f"{_HERE}.litgpt:LitGPT",
        "megatron": f"{_HERE}.megatron:Megatron",
        "megatron-bridge": f"{_HERE}.megatron_bridge:MegatronBridge",
        "nemo-automodel": f"{_HERE}.nemo_automodel:NemoAutomodel",
        "torchtitan": f"{_HERE}.torchtitan:TorchTitan",
        "olmo-core": f"{_HERE}.olmo_core:OLMoCore",
        "nanogpt": f"{_HERE}.nanogpt:NanoGPT",
        "nanochat": f"{_HERE}.nanochat:NanoChat",
        "levanter": f"{_HERE}.levanter:Levanter",
        "maxtext": f"{_HERE}.maxtext:MaxText",
        "optax": f"{_HERE}.optax:Optax",
        "keras": f"{_HERE}.keras:Keras",
        "timm": f"{_HERE}.timm:Timm",
        "composer": f"{_HERE}.composer:Composer",
        "llm-foundry": f"{_HERE}.llm_foundry:LLMFoundry",
        "torchtune": f"{_HERE}.torchtune:TorchTune",
        "fairseq": f"{_HERE}.fairseq:Fairseq",
        "paddle": f"{_HERE}.paddle:Paddle",
        "paddlenlp": f"{_HERE}.paddlenlp:PaddleNLP",
    },
)

__all__ = ["FRAMEWORKS", "Config", "Finding", "Framework", "Snippet"]
