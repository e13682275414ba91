"""Tasks as a user would write them: a plain torch module, its data and its loss."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adamw_scale.spec.run import TrainingRun


class Mixture:
    """Four noisy classes in 16 dimensions, few enough examples to be learnt by heart."""

    defaults: Mapping[str, Any] = {
        "unit": "samples",
        "dataset_size": 128,
        "epochs": 60,
        "batch_size": 16,
        "peak_lr": 1e-2,
        "warmup_fraction": 0.1,
        "betas": (0.9, 0.95),
    }

    def data(self, path: str | None) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """256 examples to train on, 512 held out."""
        generator = torch.Generator().manual_seed(0)
        inputs = torch.randn(768, 16, generator=generator)
        scores = inputs @ torch.randn(16, 4, generator=generator) + 3 * torch.randn(768, 4, generator=generator)
        targets = scores.argmax(1)
        return (inputs[:256], targets[:256]), (inputs[256:], targets[256:])

    def model(self, run: TrainingRun) -> nn.Module:
        """One hidden layer."""
        width = int(run.width or 32)
        return nn.Sequential(nn.Linear(16, width), nn.ReLU(), nn.Linear(width, 4))

    def loss(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy."""
        return F.cross_entropy(model(inputs), targets)


class WithBatchNorm(Mixture):
    """Its running averages are not weights, so that probes of it cannot be batched."""

    def model(self, run: TrainingRun) -> nn.Module:
        """One hidden layer, normalised over the batch, with dropout."""
        return nn.Sequential(nn.Linear(16, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 4))

    def metric(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """Share of wrong answers; refuses a model that still trains."""
        assert not model.training
        return (model(inputs).argmax(1) != targets).double().mean()


class Grouped(Mixture):
    """Says which parameter is what, as muP must know."""

    def group(self, name: str, parameter: Tensor) -> str:
        """The first matrix reads the inputs, the last writes the classes."""
        if parameter.ndim < 2:
            return "norm-and-bias"
        return {"0.weight": "embedding", "2.weight": "output"}[name]


class Broken(Mixture):
    """A bug in the loss."""

    def loss(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """Raises."""
        raise ValueError("shapes do not\nmatch")


class NoLoss:
    """Forgot half of it."""

    defaults: Mapping[str, Any] = {}


instance = Mixture()
number = 3
