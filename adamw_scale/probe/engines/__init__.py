"""Where probes run, one file per engine, plus a line here."""

from adamw_scale.probe.engines.engine import Engine
from adamw_scale.registry import Registry

ENGINES: Registry[type[Engine]] = Registry(
    "engine",
    "adamw_scale.engines",
    {
        "serial": "adamw_scale.probe.engines.serial:SerialEngine",
        "processes": "adamw_scale.probe.engines.processes:ProcessesEngine",
        "ray": "adamw_scale.probe.engines.ray_cluster:RayEngine",
        "slurm": "adamw_scale.probe.engines.slurm:SlurmEngine",
    },
)
SUMMARIES = {  # for `list`, since engines import their libraries
    "serial": "one cohort of probes after another in this process; the reference",
    "processes": "worker processes, one per core or GPU",
    "ray": "a Ray cluster, or a Ray of this machine's: pip install 'adamw-scale[ray]'",
    "slurm": "Slurm jobs, through submitit: pip install 'adamw-scale[slurm]'",
}
