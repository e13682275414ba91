"""Lightning: torch.optim.AdamW as configure_optimizers builds it; decays every parameter it is given.

A scheduler is stepped once an epoch unless its "interval" says "step" (pytorch/core/optimizer.py), and LightningCLI's
`lr_scheduler` always once an epoch (pytorch/cli.py). Steps are the optimizer's, whatever is accumulated.
"""

from adamw_scale.frameworks.config import Config
from adamw_scale.frameworks.framework import Framework
from adamw_scale.frameworks.pytorch import adamw_source, multiplier_source, param_groups_source
from adamw_scale.frameworks.spelling import one_for_all, whole
from adamw_scale.theory.schedules import SCHEDULES


class Lightning(Framework):
    """A LightningModule that has configure_optimizers and leaves the rest to your own."""

    name = "lightning"
    title = "Lightning (PyTorch Lightning 2.x)"
    language = "python"
    convention = "pytorch"
    undecayed_by_default = "nothing: every parameter of a group decays"
    grouping = "all"
    schedules = tuple(SCHEDULES)
    proven = "lightning 2.6"

    def write(self, config: Config) -> str:
        """Python with the class that a module derives from; LightningCLI's YAML cannot step a scheduler by steps."""
        by_group = not one_for_all(config)
        return f'''import math

import lightning
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

TOTAL_STEPS = {whole(config.total_steps)}  # Trainer(max_steps=TOTAL_STEPS)


{multiplier_source(config.lr_schedule)}

{param_groups_source(config)}

class WithAdamW(lightning.LightningModule):
    """Derive your module from this, or copy its method."""

{_OUTPUT if by_group else ""}    def configure_optimizers(self) -> dict:
        optimizer = {adamw_source(config, "self, self.output_layer()" if by_group else "self", " " * 8)}
        scheduler = {{"scheduler": LambdaLR(optimizer, lr_multiplier), "interval": "step"}}  # the default is "epoch"
        return {{"optimizer": optimizer, "lr_scheduler": scheduler}}
'''


_OUTPUT = '''    def output_layer(self) -> nn.Module:
        """The unembedding, or classifier head."""
        return self.lm_head

'''
