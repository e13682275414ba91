"""The step that a GPU records as a graph, as far as a CPU can prove that it can be recorded.

A graph replays kernels with the addresses and sizes that they were recorded with. So a step may read nothing back, have
no shape that depends on data, make or move no tensor on another device, and leave every buffer where it is.
"""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from adamw_scale.calibration import plan
from adamw_scale.training import trainer
from adamw_scale.training.optimizer import FlatAdamW
from adamw_scale.training.tasks import load_task
from adamw_scale.training.tasks.task import TaskSource

MODELS = ("char-lm", "byte-mlp", "mlp", "vit", "resnet")
READS_BACK = (
    *("_local_scalar_dense", "item", "equal", "is_nonzero", "nonzero", "masked_select", "bincount", "histc"),
    *("_unique2", "unique_dim", "unique_consecutive", "repeat_interleave", "_assert_async", "allclose"),
    *("record_stream", "is_pinned", "_pin_memory", "_to_cpu"),
)


class AsIfCaptured(TorchDispatchMode):
    """Refuses what a CUDA graph cannot record."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device = torch.device(device)
        self.seen: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        assert name.rstrip("_") not in READS_BACK, f"{func} reads from the device"
        if name in ("index", "index_put"):
            masks = [each for each in args[1] if each is not None and each.dtype in (torch.bool, torch.uint8)]
            assert not masks, f"{func} with a mask has as many rows as are true"
        out = func(*args, **(kwargs or {}))
        for tensor in _tensors([args, kwargs or {}, out]):
            assert tensor.device == self.device, f"{func} has a tensor on {tensor.device}"
        self.seen.add(name)
        return out


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [tensor for each in value for tensor in _tensors(each)] if isinstance(value, list | tuple) else []


def training_of(name: str, device: str, **asked: Any) -> trainer._Training:
    """Two probes of a built-in model on a device, with the optimizer that a GPU has."""
    task = load_task(TaskSource(name))
    (sweep,) = plan(name, seeds=2, **asked).sweeps
    configs = [sweep.config(0, x).model_copy(update={"device": device}) for x in (-1.0, 1.0)]
    return trainer._Training(task.problem(configs[0].run), configs)  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def _gpus_optimizer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU would update large models by a kernel that a GPU does not have."""
    monkeypatch.setattr(trainer, "optimizer_of", FlatAdamW)


@pytest.fixture
def _no_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch has none of the meta device, not even one that is switched off."""
    monkeypatch.setattr(trainer._Training, "_precision", lambda training: nullcontext())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", MODELS)
def test_a_step_can_be_captured(name: str, precision: str) -> None:
    """By what it asks of the device."""
    _refuse_what_cannot_be_captured(name, "cpu", precision)


@pytest.mark.usefixtures("_no_autocast")
@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("name", MODELS)
def test_a_step_needs_no_data(name: str, precision: str) -> None:
    """Meta tensors have none to read, and models take the ways there that they take on a GPU."""
    _refuse_what_cannot_be_captured(name, "meta", precision)


def _refuse_what_cannot_be_captured(name: str, device: str, precision: str) -> None:
    training = training_of(name, device, precision=precision)
    training._prepare(0, 2)
    kept = {key: (tensor.data_ptr(), tensor.shape) for key, tensor in training._tensors().items()}
    with AsIfCaptured(device) as watched:
        training._eager_step()
        training._eager_step()
    assert_whole(watched)
    assert {key: (tensor.data_ptr(), tensor.shape) for key, tensor in training._tensors().items()} == kept


@pytest.mark.usefixtures("_no_autocast")
@pytest.mark.parametrize("run", [{"parametrization": "mup", "base_width": 64, "width": 128}, {"width": 96}], ids=str)
def test_a_step_of_other_sizes_can_be_captured(run: dict[str, Any]) -> None:
    """Also where matrices are not aligned, and multipliers differ from group to group."""
    training = training_of("byte-mlp", "meta", run=run)
    training._prepare(0, 1)
    with AsIfCaptured("meta") as watched:
        training._eager_step()
    assert_whole(watched)


def assert_whole(watched: AsIfCaptured) -> None:
    """Forward and backward pass, update, and note of the loss were all watched."""
    assert {"nll_loss_forward", "addcmul_", "index_copy_"} <= watched.seen
    assert [name for name in watched.seen if name.endswith("_backward")]


REFUSED: tuple[Callable[[Tensor], Any], ...] = (
    lambda x: x.sum().item(),
    lambda x: float(x.mean()),
    lambda x: x if x.sum() > 0 else -x,
    lambda x: x.nonzero(),
    lambda x: x[x > 0],
    lambda x: x.unique(),
    lambda x: torch.bincount(x.long().flatten()),
    lambda x: x.to("meta"),
    lambda x: torch.zeros(3, device="meta"),
    lambda x: torch.equal(x, x),
    lambda x: torch.repeat_interleave(x.long().flatten()),
)


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_the_watch_refuses(number: int) -> None:
    """It does notice what a graph cannot hold."""
    with (
        pytest.raises(AssertionError, match=r"reads from the device|has a tensor on|as many rows"),
        AsIfCaptured("cpu"),
    ):
        REFUSED[number](torch.ones(2, 2))


@pytest.mark.parametrize("read", [Tensor.item, Tensor.tolist, Tensor.numpy, Tensor.cpu, bool], ids=lambda f: f.__name__)
def test_meta_tensors_refuse(read: Callable[[Tensor], Any]) -> None:
    """What a CPU reads without asking anybody, such as a list of its own memory, is not to be had of them."""
    with pytest.raises((RuntimeError, NotImplementedError, TypeError)):
        read(torch.ones(1, device="meta"))
