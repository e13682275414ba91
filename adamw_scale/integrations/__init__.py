"""For training loops: what a recommendation asks for, and whether the real optimizer does it.

    groups.py        a model and a recommendation -> parameter groups for torch.optim.AdamW
    measuring.py     a real optimizer -> how much each step really removes from one tensor of each group
    advised.py       what a recommendation advises for a group, step by step
    checks.py        measured and advised -> cautions: what may be wrong
    monitor.py       all of it at every step: decay, timescale, retention, size of the weights, and what may be wrong
    huggingface.py   the monitor as a callback of transformers' Trainer
    lightning.py     the monitor as a Lightning callback

`huggingface` and `lightning` are imported by name, so that neither library is needed for the rest:

    from adamw_scale.integrations import TimescaleMonitor, param_groups
    from adamw_scale.integrations.huggingface import TimescaleCallback
"""

from adamw_scale.errors import MissingExtraError

try:
    from adamw_scale.integrations.groups import group_names, param_groups
    from adamw_scale.integrations.monitor import GroupReading, TimescaleMonitor
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise MissingExtraError("torch", "calibrate", "adamw_scale.integrations") from None

__all__ = ["GroupReading", "TimescaleMonitor", "group_names", "param_groups"]
