"""What watching costs: training steps with TimescaleMonitor over those without, in turns, in one process.

    python tests/benchmarks/monitor.py [--width 256] [--depth 4] [--device cuda] [--repeats 9]

A GPT of ordinary shape and AdamW's steps on random tokens. Two copies take blocks of `every` steps in turns, so that
whatever else the machine does falls on both; printed is the median of the blocks' ratios. On a machine that is not
quiet they scatter by more than what is looked for, so the monitor's own calls are timed too, over a plain step's time.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from adamw_scale import TrainingRun, recommend
from adamw_scale.integrations import TimescaleMonitor, param_groups

VOCABULARY, LENGTH = 256, 64


class Gpt(nn.Module):
    """Blocks of torch's own, pre-norm, causal."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, width)
        layer = nn.TransformerEncoderLayer(width, width // 64, 4 * width, 0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.head = nn.Linear(width, VOCABULARY, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits."""
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1], device=tokens.device)
        return self.head(self.blocks(self.embed(tokens), mask=mask, is_causal=True))


class Loop:
    """A training loop, by whichever clock; what follows a step is `after_step`."""

    def __init__(self, options: argparse.Namespace, clock: Callable[[], float] = time.perf_counter) -> None:
        torch.manual_seed(0)
        self.clock = clock
        self.model = Gpt(options.width, options.depth).to(options.device)
        self.optimizer = self.made(options)
        self.tokens = torch.randint(VOCABULARY, (options.batch, LENGTH + 1), device=options.device)

    def made(self, options: argparse.Namespace) -> torch.optim.Optimizer:
        """Its optimizer."""
        raise NotImplementedError

    def after_step(self) -> None:
        """Nothing."""

    def block(self, steps: int) -> float:
        """Seconds of so many steps."""
        self.wait()
        start = self.clock()
        for _ in range(steps):
            logits = self.model(self.tokens[:, :-1])
            loss = nn.functional.cross_entropy(logits.flatten(0, 1), self.tokens[:, 1:].flatten())
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.after_step()
        self.wait()
        return self.clock() - start

    def wait(self) -> None:
        """Until the device has done what it was told."""
        if self.tokens.is_cuda:
            torch.cuda.synchronize()


class Monitored(Loop):
    """With the recommended groups, watched or not."""

    def __init__(self, options: argparse.Namespace, *, watched: bool) -> None:
        super().__init__(options)
        self.monitor = TimescaleMonitor(self.optimizer, every=options.every) if watched else None

    def made(self, options: argparse.Namespace) -> torch.optim.Optimizer:
        """AdamW with them."""
        run = TrainingRun(dataset_size="1B", batch_size=options.batch * LENGTH, peak_lr=3e-4, num_params="10M")
        groups = param_groups(self.model, recommend(run), self.model.head)
        return torch.optim.AdamW(groups, fused=options.device == "cuda")

    def after_step(self) -> None:
        """The monitor looks."""
        if self.monitor is not None:
            self.monitor.step()

    def watching(self, steps: int) -> float:
        """Seconds of what the monitor does in so many steps, without the steps."""
        assert self.monitor is not None
        self.monitor.warn = lambda caution: None  # without steps between, what it measures is nonsense
        self.wait()
        start = self.clock()
        for _ in range(steps):
            self.monitor._before()
            self.monitor._after()
            self.monitor.step()
        self.wait()
        return self.clock() - start


def compared(ratios: list[float], every: int) -> str:
    """The line that says how watched blocks compare with others."""
    return (
        f"  watched over not: median {statistics.median(ratios):.4f}, from {min(ratios):.4f} to {max(ratios):.4f}, "
        f"{len(ratios)} pairs of {every} steps"
    )


def main() -> None:
    """Take turns, print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--every", type=int, default=50, help="steps between measurements, and of a block")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    options = parser.parse_args()
    plain, watched = Monitored(options, watched=False), Monitored(options, watched=True)
    for loop in (plain, watched):
        loop.block(options.every)
    ratios, seconds = [], []
    for number in range(options.repeats):
        order = (plain, watched) if number % 2 else (watched, plain)
        taken = {loop: loop.block(options.every) for loop in order}
        ratios.append(taken[watched] / taken[plain])
        seconds.append(taken[plain] / options.every)
    name = torch.cuda.get_device_name() if options.device == "cuda" else "CPU"
    many = 4 * options.every
    own = statistics.median(watched.watching(many) / many for _ in range(options.repeats))
    parameters = sum(p.numel() for p in plain.model.parameters())
    step = statistics.median(seconds)
    print(f"{name}: {parameters / 1e6:.1f}M parameters, {step * 1e3:.1f} ms a step")
    print(f"  the monitor's own calls: {own * 1e6:.0f} us a step, {own / step:.2%} of it")
    print(compared(ratios, options.every))


if __name__ == "__main__":
    main()
