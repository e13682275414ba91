"""How many batches of probes run at a time: what this machine has of cores and GPUs that this process may use."""

import os

from adamw_scale.probe.tasks.task import TaskSource

CLUSTER_JOBS = 8  # what a queue or a few nodes take; a cluster that has more is told with --jobs


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


def default_jobs(source: TaskSource, device: str, *, elsewhere: bool) -> int:
    """Batches at a time: one per GPU or usable core, `CLUSTER_JOBS` elsewhere; one of a command, which may use every core."""
    if elsewhere:
        return CLUSTER_JOBS
    if source.name == "command":
        return 1
    return max(1, len(usable_gpus())) if device == "cuda" else usable_cores()
