"""A LightningModule with a scheduler that is stepped with the optimizer."""

import logging
import sys
import warnings

import lightning
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from truth import note

warnings.simplefilter("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Net(lightning.LightningModule):
    """A regression."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.Linear(32, 1))

    def training_step(self, batch, index):  # type: ignore[no-untyped-def]
        """Loss."""
        return (self.net(batch[0]) - batch[1]).square().mean()

    def on_before_zero_grad(self, optimizer) -> None:  # type: ignore[no-untyped-def]
        """After a step, with its learning rate."""

    def on_before_optimizer_step(self, optimizer) -> None:  # type: ignore[no-untyped-def]
        """Write down what the step has."""
        note(optimizer)

    def configure_optimizers(self):  # type: ignore[no-untyped-def]
        """AdamW over everything, one cycle over the run."""
        optimizer = torch.optim.AdamW(self.parameters(), lr=4e-3, weight_decay=0.02)
        steps = int(self.trainer.estimated_stepping_batches)
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


torch.manual_seed(0)
x = torch.randn(128, 8)
lightning.Trainer(
    accelerator="cpu",
    max_epochs=3,
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
).fit(Net(), DataLoader(TensorDataset(x, x[:, :1]), batch_size=8))
sys.exit(0)
