"""Everything that trains: short runs ("probes") that differ in weight decay, learning rate and seed.

    plan       which probes are missing        tasks/     what a probe trains, one file per kind of task
    store      what has been measured          data/      what it trains on, one file per kind of source
    array      plan files for array jobs       models/    networks, with a leading probe axis
    exchange   to and from CSV and Optuna      engines/   where probes run, one file per engine
    trainer    K probes at once                trackers/  where results are also logged
    optimizer  AdamW on flat buffers           commands/  the user's own command: template, process, output
    checkpoint what an interrupted batch goes on from

torch is imported inside this package only, and only by what trains; planning and storing do not
need it. A new task, engine or tracker is one file in its folder plus one line in its registry.
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING

from adamw_scale.errors import MissingExtraError
from adamw_scale.probe.tasks.task import TaskSource
from adamw_scale.registry import Registry

if TYPE_CHECKING:
    from adamw_scale.probe.engines.engine import Engine
    from adamw_scale.probe.tasks.task import Task

TASKS: "Registry[type[Task]]" = Registry(
    "task",
    "adamw_scale.tasks",
    {
        "char-lm": "adamw_scale.probe.tasks.language:CharLM",
        "byte-mlp": "adamw_scale.probe.tasks.language:NgramLM",
        "mlp": "adamw_scale.probe.tasks.examples:MLPTask",
        "vit": "adamw_scale.probe.tasks.examples:ViTTask",
        "resnet": "adamw_scale.probe.tasks.examples:ResNetTask",
        "module": "adamw_scale.probe.tasks.module:ModuleTask",
        "command": "adamw_scale.probe.tasks.command:CommandTask",
    },
)
ENGINES: "Registry[type[Engine]]" = Registry(
    "engine",
    "adamw_scale.engines",
    {
        "serial": "adamw_scale.probe.engines.serial:SerialEngine",
        "processes": "adamw_scale.probe.engines.processes:ProcessesEngine",
        "ray": "adamw_scale.probe.engines.ray_cluster:RayEngine",
        "slurm": "adamw_scale.probe.engines.slurm:SlurmEngine",
    },
)


def load_task(source: TaskSource) -> "Task":
    """The task that a source names: one of `TASKS`, or the user's own at package.module:attribute.

    Raises:
        UnknownNameError: no such task.
        MissingExtraError: torch is not installed, which all but a command needs.
        SpecError: the data or options are not what the task takes, or the user's task cannot be imported.
    """
    if source.name != "command" and find_spec("torch") is None:
        raise MissingExtraError("torch", "calibrate", "calibrating")
    return TASKS["module" if ":" in source.name else source.name](source)
