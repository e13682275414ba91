"""What a weight-decay number means: how libraries apply it, and what that is in PyTorch's unit.

Each step multiplies a decayed weight by 1 - f_t. With lr_t the scheduled learning rate:

    pytorch      f_t = lr_t * value              torch, optax, Keras 3, Megatron, DeepSpeed, ...
    independent  f_t = (lr_t / peak_lr) * value  Composer DecoupledAdamW, optimi decouple_lr, big_vision

Both follow the schedule, so the conversion is exact at every step. Read in the libraries' sources.
A new convention is one entry in `CONVENTIONS`.
"""

from collections.abc import Callable
from typing import NamedTuple


class Convention(NamedTuple):
    """One meaning of a weight-decay value, and the way to PyTorch's and back at a peak lr."""

    formula: str
    to_pytorch: Callable[[float, float], float]
    from_pytorch: Callable[[float, float], float]


CONVENTIONS: dict[str, Convention] = {
    "pytorch": Convention(
        formula="w <- w * (1 - lr_t * value)",
        to_pytorch=lambda value, peak_lr: value,
        from_pytorch=lambda weight_decay, peak_lr: weight_decay,
    ),
    "independent": Convention(
        formula="w <- w * (1 - lr_t / peak_lr * value)",
        to_pytorch=lambda value, peak_lr: value / peak_lr,
        from_pytorch=lambda weight_decay, peak_lr: weight_decay * peak_lr,
    ),
}
