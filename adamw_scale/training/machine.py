"""What this machine has of cores and GPUs that this process may use."""

import os
from importlib.util import find_spec


def usable_cores() -> int:
    """Cores this process may run on; a container or batch system may grant fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usable_gpus() -> list[str]:
    """GPUs this process may use, as CUDA_VISIBLE_DEVICES names them."""
    granted = os.environ.get("CUDA_VISIBLE_DEVICES")
    if granted is not None:
        return [name for name in granted.split(",") if name]
    import torch

    return [str(i) for i in range(torch.cuda.device_count())]


def best_device() -> str:
    """A GPU where torch finds one, else the CPU."""
    if find_spec("torch") is None:
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def name_of(device: str) -> str:
    """A device that was chosen for the user, for people, and how to choose another."""
    if device == "cpu":
        return "device: cpu, since torch finds no GPU here (--device cuda for one elsewhere)"
    import torch

    return f"device: {device}, {torch.cuda.get_device_name()} (--device cpu for the CPU)"
