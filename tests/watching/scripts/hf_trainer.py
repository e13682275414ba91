"""A Hugging Face Trainer as its examples have it."""

import sys
import tempfile

import torch
from torch import nn
from transformers import Trainer, TrainerCallback, TrainingArguments, set_seed
from truth import note

what = sys.argv[2] if len(sys.argv) > 2 else ""
set_seed(0)


class Net(nn.Module):
    """A classifier that computes its own loss."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm, self.dense, self.head = (
            nn.Embedding(40, 16),
            nn.LayerNorm(64),
            nn.Linear(64, 32),
            nn.Linear(32, 3),
        )

    def forward(self, input_ids: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Loss and logits."""
        logits = self.head(self.dense(self.norm(self.embed(input_ids).flatten(1))).relu())
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


class Notes(TrainerCallback):
    """Writes down every step, and in one case shrinks the weights once more."""

    def on_pre_optimizer_step(self, args, state, control, optimizer=None, model=None, **kwargs):  # type: ignore[no-untyped-def]
        """Before a step, when the learning rate is that of the step."""
        note(optimizer)
        if what == "doubled":
            with torch.no_grad():
                for parameter in optimizer.param_groups[0]["params"]:
                    parameter.mul_(1 - optimizer.param_groups[0]["lr"] * 0.05)


class OwnTrainer(Trainer):
    """One that makes its own optimizer: a head that learns faster."""

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Three groups, in names of their own."""
        named = dict(self.model.named_parameters())
        head = [named.pop("head.weight")]
        rest = {"weight_decay": self.args.weight_decay, "params": [p for p in named.values() if p.ndim > 1]}
        spared = {"weight_decay": 0.0, "params": [p for p in named.values() if p.ndim < 2]}
        faster = {"weight_decay": 0.0, "params": head, "lr": 10 * self.args.learning_rate}
        self.optimizer = torch.optim.AdamW([rest, spared, faster], lr=self.args.learning_rate)
        return self.optimizer


data = [{"input_ids": torch.randint(0, 40, (4,)), "labels": torch.randint(0, 3, ())} for _ in range(64)]
net = Net()
with tempfile.TemporaryDirectory() as folder:
    arguments = TrainingArguments(
        folder,
        learning_rate=1e-3,
        weight_decay=0.05,
        per_device_train_batch_size=4,
        num_train_epochs=2,
        warmup_steps=4,
        lr_scheduler_type="cosine",
        logging_strategy="no",
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        max_grad_norm=0.0,
    )
    own = (
        (torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.01), None)
        if what == "optimizers"
        else (None, None)
    )
    kind = OwnTrainer if what == "subclassed" else Trainer
    kind(net, arguments, train_dataset=data, callbacks=[Notes()], optimizers=own).train()
