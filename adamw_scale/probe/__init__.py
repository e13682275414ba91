"""Everything that trains: short runs ("probes") that differ in weight decay and seed.

    corpus     bytes to train on            tasks/    data + model + loss, one file per task
    models     small networks               trainer   one probe, plain and serial: the reference
    plan       which probes are missing     engines/  where probes run, one file per engine
    store      what has been measured

torch is imported inside this package only, and only by what trains; planning and storing do not
need it. A new task or engine is one file in its folder plus one line below.
"""

from typing import TYPE_CHECKING

from adamw_scale.registry import Registry

if TYPE_CHECKING:
    from adamw_scale.probe.engines.engine import Engine
    from adamw_scale.probe.tasks.task import Task

TASKS: "Registry[type[Task]]" = Registry(
    "task", "adamw_scale.tasks", {"char-lm": "adamw_scale.probe.tasks.char_lm:CharLM"}
)
ENGINES: "Registry[type[Engine]]" = Registry(
    "engine",
    "adamw_scale.engines",
    {
        "serial": "adamw_scale.probe.engines.serial:SerialEngine",
        "processes": "adamw_scale.probe.engines.processes:ProcessesEngine",
    },
)
