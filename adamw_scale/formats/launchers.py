"""Which program a command line runs, behind torchrun, srun, python and their like."""

import re
from typing import NamedTuple

from adamw_scale.formats.bash.values import is_known, plain

# Programs that start another one, whose name follows their own options.
_LAUNCHERS = re.compile(
    "accelerate|accelerate-launch|apptainer|aprun|bash|colossalai|command|composer|conda|coverage|dash"
    "|debugpy-run|deepspeed|docker|env|exec|flux|gdb|hatch|horovodrun|ionice|jsrun|mamba|micromamba|mpiexec"
    "|mpirun|msrun|ncu|nice|nohup|nsys|numactl|pdm|pipenv|podman|poetry|ray|setsid|sh|singularity|srun|stdbuf"
    "|strace|sudo|taskset|time|timeout|torchrun|torchx|uv|uvx|xvfb-run|zsh"
)
_SUBCOMMANDS = re.compile("run|launch|exec|profile|job|submit")
_CONTAINERS = re.compile("singularity|apptainer|docker|podman")
_PYTHON = re.compile(r"(?:i?python|pypy)[\d.]*")
_TAKES_MODULE = re.compile("torchrun|launch|deepspeed|composer|run|coverage|accelerate-launch")
_LAUNCHING_MODULES = re.compile(
    r"torch\.distributed\.(launch|run)|torch\.distributed\.elastic\S*|accelerate\.commands\.launch|deepspeed"
    r"|deepspeed\.launcher\.(launch|runner)|paddle\.distributed\.launch|oneflow\.distributed\.launch|coverage|pdb|kernprof"
    r"|torch\.utils\.bottleneck|composer\.cli\.launcher|mindspore\S*launch|mpi4py|scalene|cProfile|viztracer"
)
_WITHOUT_VALUE = re.compile(
    "--allow-run-as-root|-B|--cleanenv|--contain|--containall|--cpu|-d|--debug|--detach|-E|--exclusive"
    "|--force_multi|--foreground|--frozen|-I|-i|--isolated|-it|-K|-l|--label|--live-stream|--locked"
    "|--main_training_function|--module|--multi-gpu|--multi_gpu|--no-capture-output|--no-python|--no-sync"
    "|--no_local_rank|--no_python|--no_ssh_check|--nv|-O|--overlap|--oversubscribe|-oversubscribe|-P"
    "|--preserve-env|--preserve-status|--privileged|--pty|-q|--quiet|--rm|--rocm|-s|--same_network|--standalone"
    "|-t|--tpu|-u|--unbuffered|--use-env|--use_deepspeed|--use_env|--use_fsdp|--use_megatron_lm|-v|--verbose"
)
DEVICES = frozenset(  # of launchers, that readers know
    {"nproc_per_node", "nnodes", "num_processes", "num_machines", "num_gpus", "num_nodes"}
)


class Launched(NamedTuple):
    """A program, its arguments, and what its launchers say of the number of processes."""

    program: str
    arguments: tuple[str, ...]
    devices: dict[str, str]


def launched(words: tuple[str, ...]) -> Launched:
    """The program that a command line runs, with launchers and their options taken off."""
    at = _program(words)
    program = plain(words[at]) if at < len(words) else ""
    return Launched(program, words[at + 1 :], _devices(words[:at]))


def _program(words: tuple[str, ...]) -> int:
    """Where the program is.

    A word that is not known is a launcher, or options of one, where a script follows; else it is the program.
    """
    option, python, container = "", False, False
    unknown: int | None = None
    for place, word in enumerate(words):
        text = plain(word)
        base = text.rpartition("/")[2]
        if option in ("-m", "--module") and python:
            if not _LAUNCHING_MODULES.fullmatch(text):
                return place
            option = ""
        elif re.search(r"\.(py|pyz|sh)$", text) and not re.search("conf|cfg", option):
            return place
        elif text.startswith("-") and place:
            attached = "=" in text or _WITHOUT_VALUE.fullmatch(text) or re.fullmatch(r"-[a-zA-Z]\d+", text)
            option = "" if attached or text == "--" else text
        elif not is_known(word):
            unknown = place if unknown is None and not option else unknown
            option, python = "", True
        elif _LAUNCHERS.fullmatch(base) or _PYTHON.fullmatch(base) or (place and _SUBCOMMANDS.fullmatch(base)):
            option = base if base == "timeout" else ""
            python = python or bool(_TAKES_MODULE.fullmatch(base) or _PYTHON.fullmatch(base))
            container = container or _CONTAINERS.fullmatch(base) is not None
        elif option or (place and re.fullmatch(r"[A-Za-z_]\w*=.*", text, re.DOTALL)):
            option = ""
        elif container:
            container = False  # its image
        elif unknown is None:
            return place
    return len(words) if unknown is None else unknown


def _devices(words: tuple[str, ...]) -> dict[str, str]:
    """Numbers of processes and machines of launchers' options."""
    found = {}
    for place, word in enumerate(words):
        name, equals, value = word.lstrip("-").partition("=")
        name = plain(name).replace("-", "_")
        if plain(word).startswith("-") and name in DEVICES:
            found[name] = value if equals else words[place + 1] if place + 1 < len(words) else ""
    return found
