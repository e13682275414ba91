"""sbatch, srun, squeue and scancel of a cluster that is this machine: enough of them for submitit, with real processes.

`install` puts them into a folder that is to be on PATH. Every job keeps a file of its own there, `ID.state`.
"""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = ("sbatch", "srun", "squeue", "scancel", "job")
HOME = Path(sys.argv[0]).parent


def install(folder: Path) -> None:
    """Make the commands."""
    for command in COMMANDS:
        file = folder / command
        file.write_text(f"#!{sys.executable}\n" + Path(__file__).read_text())
        file.chmod(0o755)


def become(name: str, state: str) -> None:
    """Write a job's state at once, so that squeue never reads half of it."""
    new = HOME / f"{name}.new"
    new.write_text(state)
    new.replace(HOME / f"{name}.state")


def sbatch(script: str) -> None:
    """Start every element of a job or job array at once."""
    text = Path(script).read_text()
    if "--partition=nowhere" in text:
        sys.exit("sbatch: error: invalid partition specified: nowhere")
    number = str(1000 + len(list(HOME.glob("*.sbatch"))))
    (HOME / f"{number}.sbatch").write_text(text)
    array = re.search(r"--array=0-(\d+)", text)
    for element in range(int(array[1]) + 1) if array else [None]:
        name = number if element is None else f"{number}_{element}"
        become(name, "PENDING")
        subprocess.Popen(
            [str(HOME / "job"), name, script],
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    print(f"Submitted batch job {number}")


def job(name: str, script: str) -> None:
    """Run one job's script to its end."""
    number, _, element = name.partition("_")
    array = {"SLURM_ARRAY_JOB_ID": number, "SLURM_ARRAY_TASK_ID": element} if element else {}
    process = subprocess.Popen(["bash", script], env={**os.environ, "SLURM_JOB_ID": number, **array})
    become(name, f"RUNNING {os.getpid()}")
    status = process.wait()
    become(name, "FAILED" if status else "COMPLETED")


def srun(*arguments: str) -> None:
    """Run a command with its output in the files that are asked for."""
    options = dict(zip(arguments[1:5:2], arguments[2:6:2], strict=True))
    element = os.environ.get("SLURM_ARRAY_TASK_ID", "")
    names = {"%A": os.environ["SLURM_JOB_ID"], "%a": element, "%j": os.environ["SLURM_JOB_ID"], "%t": "0"}
    for descriptor, option in ((1, "--output"), (2, "--error")):
        path = re.sub("%.", lambda name: names[name[0]], options[option])
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    os.execvp(arguments[5], arguments[5:])  # noqa: S606  # as srun does


def squeue(*_: str) -> None:
    """All jobs and their states."""
    for file in sorted(HOME.glob("*.state")):
        print(file.stem, file.read_text().partition(" ")[0])


def scancel(_: str, *names: str) -> None:
    """Kill jobs."""
    for name in names:
        file = HOME / f"{name}.state"
        while file.read_text() == "PENDING":
            time.sleep(0.01)
        state, _, process = file.read_text().partition(" ")
        if state == "RUNNING":
            os.killpg(int(process), signal.SIGKILL)
            become(name, "CANCELLED")


if __name__ == "__main__":
    globals()[Path(sys.argv[0]).name](*sys.argv[1:])
