"""What this machine has of cores and GPUs that this process may use."""

import os


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
