"""What this machine has for probes: cores and GPUs that this process may use, and so how many run at a time."""

import os

from adamw_scale.probe.tasks.task import TaskSource


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


def default_jobs(source: TaskSource, device: str) -> int:
    """Batches at a time: one for a command, which may use every core; else one per GPU or usable core."""
    if source.name == "command":
        return 1
    return max(1, len(usable_gpus())) if device == "cuda" else usable_cores()
