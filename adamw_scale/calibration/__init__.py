"""calibrate(): probes on the user's machine and data -> measured optima.

    design.py     what is asked for -> sweeps: one for each scale, and what they may cost
    stages.py     sweeps -> the plan of their next stage, for who trains it elsewhere
    run.py        sweeps -> probes that are missing -> store -> ..., until nothing is missing
    aim.py        which scale gets the next seed: what tells most about the target for its cost
    fitting.py    results -> optima, how they move across scales and with the learning rate
    remedies.py   why nothing was located, and what to do
    validate.py   what the calibration predicts for a larger run, trained there
    files.py      the folder

The folder is the state: `probes.jsonl` holds every probe that was ever finished there,
`calibration.json` the result. Killed anywhere and started again, the same call gives the same file.
"""

from adamw_scale.calibration.design import Plan, plan
from adamw_scale.calibration.files import CALIBRATION_FILE, COMMAND_FILE, folder_of, load_calibration
from adamw_scale.calibration.fitting import fit_stored, load_results, paired, probes_of
from adamw_scale.calibration.remedies import outcome, remedy
from adamw_scale.calibration.run import Watcher, calibrate
from adamw_scale.calibration.stages import Stage, plan_stage
from adamw_scale.probe.store import PROBES_FILE

__all__ = [
    "CALIBRATION_FILE",
    "COMMAND_FILE",
    "PROBES_FILE",
    "Plan",
    "Stage",
    "Watcher",
    "calibrate",
    "fit_stored",
    "folder_of",
    "load_calibration",
    "load_results",
    "outcome",
    "paired",
    "plan",
    "plan_stage",
    "probes_of",
    "remedy",
]
