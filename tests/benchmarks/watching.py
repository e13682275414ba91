"""What `audit -- COMMAND` costs the command: training steps with its hook over those without, in turns, in one process.

    python tests/benchmarks/watching.py [--width 128] [--depth 2] [--device cuda] [--repeats 21]

The GPT and AdamW of `monitor.py`, with torch's cosine schedule, on one thread. Two copies take blocks of `every` steps
in turns; printed is the median of the blocks' ratios. They scatter by more than what is looked for, so the hook's own
calls are timed too, over a plain step's time: of the first 20 steps, which hold the search among all objects for
modules and schedulers, once a process, of those up to 100, and of those after, where less is measured. On a CPU time is
that of this process, whatever else the machine does. The bar is 1 % of a step of 20 ms, for the last.
"""

import argparse
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

import torch
from monitor import Loop, compared
from torch.optim import optimizer as hooked

from adamw_scale.hook.folder import HOOK

CLOCK = time.perf_counter if "cuda" in sys.argv else time.process_time
STAGES = (("steps 1 to 20", 20), ("21 to 100", 100), ("101 to 400", 400))


class Timed:
    """One of the hook's two calls, with the seconds that it took."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self.call, self.seconds = call, 0.0

    def __call__(self, *arguments: Any) -> None:
        """As torch calls it."""
        start = CLOCK()
        self.call(*arguments)
        self.seconds += CLOCK() - start


class Hook:
    """The hook as a watched process has it, which can be taken out and put back."""

    def __init__(self, folder: str) -> None:
        spec = spec_from_file_location("recorder", HOOK / "recorder.py")
        assert spec is not None
        assert spec.loader is not None
        recorder = module_from_spec(spec)
        spec.loader.exec_module(recorder)
        recorder.install(json.dumps({"folder": folder, "steps": None, "total": None}))
        self.places = (hooked._global_optimizer_pre_hooks, hooked._global_optimizer_post_hooks)
        self.calls = [{number: Timed(call) for number, call in place.items()} for place in self.places]
        self.set(on=False)

    def set(self, *, on: bool) -> None:
        """Put it in or take it out."""
        for place, calls in zip(self.places, self.calls, strict=True):
            place.clear()
            place.update(calls if on else {})

    @property
    def seconds(self) -> float:
        """What its calls took so far."""
        return sum(call.seconds for calls in self.calls for call in calls.values())


class Scheduled(Loop):
    """With two groups and a cosine."""

    def made(self, options: argparse.Namespace) -> torch.optim.Optimizer:
        """AdamW whose learning rate falls."""
        matrices = [p for p in self.model.parameters() if p.ndim > 1]
        spared = {"params": [p for p in self.model.parameters() if p.ndim < 2], "weight_decay": 0.0}
        groups = [{"params": matrices}, spared]
        optimizer = torch.optim.AdamW(groups, lr=3e-4, weight_decay=0.1, fused=options.device == "cuda")
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10_000)
        return optimizer

    def after_step(self) -> None:
        """The learning rate falls."""
        self.scheduler.step()


def main() -> None:
    """Take turns, print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--depth", type=int, default=2)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--every", type=int, default=20, help="steps of a block")
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        hook = Hook(folder)
        plain, watched = Scheduled(options, CLOCK), Scheduled(options, CLOCK)
        plain.block(options.every)
        ratios, seconds, spent = [], [], [(0, 0.0)]
        for number in range(options.repeats):
            taken = {}
            for loop in (plain, watched) if number % 2 else (watched, plain):
                hook.set(on=loop is watched)
                taken[loop] = loop.block(options.every)
            ratios.append(taken[watched] / taken[plain])
            seconds.append(taken[plain] / options.every)
            spent.append(((number + 1) * options.every, hook.seconds))
        hook.set(on=False)
    step = statistics.median(seconds)
    name = torch.cuda.get_device_name() if options.device == "cuda" else "CPU"
    parameters = sum(p.numel() for p in plain.model.parameters())
    print(f"{name}: {parameters / 1e6:.1f}M parameters, {step * 1e3:.1f} ms a step")
    known = dict(spent)
    for (_, first), (stage, last) in itertools.pairwise((("", 0), *STAGES)):
        if first in known and last in known:
            own = (known[last] - known[first]) / (last - first)
            print(f"  the hook's own calls, {stage}: {own * 1e6:.0f} us a step, {own / step:.2%} of it")
    print(compared(ratios, options.every))


if __name__ == "__main__":
    main()
