"""Train a small GPT on bytes, with the command line and the habits of nanoGPT's train.py.

python nanogpt_train.py --learning_rate=1e-3 --weight_decay=0.1 --max_iters=200 --device=cpu --compile=False
"""

import json
import math
import sys
import sysconfig
import time
from ast import literal_eval
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import nn
from torch.nn import functional as F

DEFAULTS = {
    "out_dir": "",
    "data": "",
    "data_bytes": 8192,
    "eval_interval": 50,
    "log_interval": 20,
    "batch_size": 8,
    "block_size": 32,
    "n_layer": 2,
    "n_head": 2,
    "n_embd": 32,
    "dropout": 0.0,
    "learning_rate": 2e-3,
    "max_iters": 200,
    "weight_decay": 1e-1,
    "beta1": 0.9,
    "beta2": 0.95,
    "grad_clip": 1.0,
    "decay_lr": True,
    "warmup_iters": 20,
    "min_lr": 0.0,
    "device": "cpu",
    "dtype": "float32",
    "compile": True,
    "seed": 1337,
}


def configure(arguments):
    """nanoGPT's configurator: --key=value, of the type of the default."""
    config = dict(DEFAULTS)
    for argument in arguments:
        key, value = argument.removeprefix("--").split("=", 1)
        if key not in config:
            raise ValueError(f"Unknown config key: {key}")
        try:
            attempt = literal_eval(value)
        except (SyntaxError, ValueError):
            attempt = value
        if type(attempt) is not type(config[key]):
            raise TypeError(f"{key} = {value} is not of the type of {config[key]!r}")
        print(f"Overriding: {key} = {attempt}")
        config[key] = attempt
    return SimpleNamespace(**config)


class Block(nn.Module):
    """Pre-norm attention and MLP."""

    def __init__(self, config):
        super().__init__()
        width = config.n_embd
        self.heads = config.n_head
        self.ln_1, self.ln_2 = nn.LayerNorm(width, bias=False), nn.LayerNorm(width, bias=False)
        self.c_attn, self.c_proj = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):
        """(batch, length, width) to the same."""
        batch, length, width = x.shape
        q, k, v = (
            part.view(batch, length, self.heads, -1).transpose(1, 2)
            for part in self.c_attn(self.ln_1(x)).split(width, dim=2)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.c_proj(y.transpose(1, 2).reshape(batch, length, width))
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    """A byte-level GPT with tied embeddings."""

    def __init__(self, config):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(256, config.n_embd), nn.Embedding(config.block_size, config.n_embd)
        self.blocks = nn.Sequential(*(Block(config) for _ in range(config.n_layer)))
        self.ln_f = nn.LayerNorm(config.n_embd, bias=False)
        self.lm_head = nn.Linear(config.n_embd, 256, bias=False)
        self.lm_head.weight = self.wte.weight
        for parameter in self.parameters():
            if parameter.dim() >= 2:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, index, targets):
        """Mean cross-entropy."""
        x = self.wte(index) + self.wpe(torch.arange(index.shape[1], device=index.device))
        logits = self.lm_head(self.ln_f(self.blocks(x)))
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def configure_optimizers(self, config):
        """Matrices decay, the rest does not."""
        parameters = [p for p in self.parameters() if p.requires_grad]
        decay, rest = [p for p in parameters if p.dim() >= 2], [p for p in parameters if p.dim() < 2]
        print(f"num decayed parameter tensors: {len(decay)}, with {sum(p.numel() for p in decay):,} parameters")
        return torch.optim.AdamW(
            [{"params": decay, "weight_decay": config.weight_decay}, {"params": rest, "weight_decay": 0.0}],
            lr=config.learning_rate,
            betas=(config.beta1, config.beta2),
        )


def load(config):
    """Bytes to train on, and bytes held out."""
    if config.data:
        text = Path(config.data).read_bytes()
        train, held_out = text[: int(0.9 * len(text))], text[int(0.9 * len(text)) :]
    else:
        library = Path(sysconfig.get_path("stdlib"))
        train = b"".join((library / name).read_bytes() for name in ("argparse.py", "ast.py", "shutil.py"))
        held_out = (library / "inspect.py").read_bytes()
    return (
        torch.frombuffer(bytearray(part), dtype=torch.uint8).long()
        for part in (train[: config.data_bytes], held_out[:8192])
    )


def get_lr(it, config):
    """Linear warm-up, then a cosine to min_lr."""
    if not config.decay_lr:
        return config.learning_rate
    if it < config.warmup_iters:
        return config.learning_rate * (it + 1) / (config.warmup_iters + 1)
    ratio = (it - config.warmup_iters) / max(1, config.max_iters - config.warmup_iters)
    return config.min_lr + 0.5 * (1 + math.cos(math.pi * ratio)) * (config.learning_rate - config.min_lr)


@torch.no_grad()
def estimate_loss(model, data, config):
    """Mean loss over consecutive windows."""
    model.eval()
    count = (len(data) - 1) // config.block_size
    x, y = (part[: count * config.block_size].view(count, -1) for part in (data[:-1], data[1:]))
    loss = model(x.to(config.device), y.to(config.device)).item()
    model.train()
    return loss


def main():
    """Train, evaluate, and leave the result as the last line."""
    config = configure(sys.argv[1:])
    torch.manual_seed(config.seed)
    autocast = (
        nullcontext() if config.dtype == "float32" else torch.autocast(config.device, getattr(torch, config.dtype))
    )
    train, held_out = load(config)
    model = GPT(config).to(config.device)
    optimizer = model.configure_optimizers(config)
    forward = torch.compile(model) if config.compile else model
    before = time.time()
    for it in range(config.max_iters):
        lr = get_lr(it, config)
        for group in optimizer.param_groups:
            group["lr"] = lr
        if it % config.eval_interval == 0:
            print(
                f"step {it}: train loss {estimate_loss(model, train, config):.4f}, "
                f"val loss {estimate_loss(model, held_out, config):.4f}"
            )
        start = torch.randint(len(train) - config.block_size - 1, (config.batch_size,))
        x = torch.stack([train[i : i + config.block_size] for i in start]).to(config.device)
        y = torch.stack([train[i + 1 : i + 1 + config.block_size] for i in start]).to(config.device)
        with autocast:
            loss = forward(x, y)
        loss.backward()
        if config.grad_clip:
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.grad_clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if it % config.log_interval == 0:
            now = time.time()
            print(f"iter {it}: loss {loss.item():.4f}, time {(now - before) * 1000:.2f}ms, mfu -100.00%")
            before = now
    result = {
        "iter": config.max_iters,
        "train_loss": estimate_loss(model, train, config),
        "val_loss": estimate_loss(model, held_out, config),
    }
    if config.out_dir:
        Path(config.out_dir).mkdir(parents=True, exist_ok=True)
        torch.save(model.state_dict(), Path(config.out_dir) / "ckpt.pt")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
