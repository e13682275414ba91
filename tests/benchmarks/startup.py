"""How long does `recommend` take, as a whole process, against a bare typer program with one option?

    python tests/benchmarks/startup.py [RUNS]

Runs both in turn (A B A B ...) and prints the median of each and of the paired ratios. The bar is 1.25.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BARE = """
import typer
app = typer.Typer()
@app.command()
def main(name: str = typer.Option("world", help="whom to greet")):
    print(name)
app()
"""
RECOMMEND = [
    "recommend",
    "--params",
    "1.3B",
    "--tokens",
    "26B",
    "--batch-size",
    "0.5M",
    "--lr",
    "3e-4",
    "--schedule",
    "linear",
]


def seconds(command: list[str]) -> float:
    """Wall-clock time of one whole process."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main(runs: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "bare.py"
        bare.write_text(BARE)
        commands = {
            "bare typer program": [sys.executable, str(bare)],
            "recommend": [sys.executable, "-m", "adamw_scale", *RECOMMEND],
            "recommend --json": [sys.executable, "-m", "adamw_scale", *RECOMMEND, "--json"],
        }
        for command in commands.values():
            seconds(command)
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(runs):
            for name, command in commands.items():
                times[name].append(seconds(command))
    base = times["bare typer program"]
    for name, measured in times.items():
        ratios = [a / b for a, b in zip(measured, base, strict=True)]
        ms, ratio = 1e3 * statistics.median(measured), statistics.median(ratios)
        print(f"{name:20} {ms:7.1f} ms   ratio {ratio:.3f}   ({runs} runs)")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 30)
