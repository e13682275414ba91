"""A calibration by hand: its next stage as a plan of which any machine trains a part (see `probe.job_arrays`)."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from adamw_scale.calibration.design import Ask, chosen_device, designs
from adamw_scale.calibration.files import folder_of
from adamw_scale.errors import CalibrationError
from adamw_scale.files import write_atomically
from adamw_scale.noun import Noun
from adamw_scale.probe.job_arrays import PLAN_FILE, ProbePlan, load_plan, slurm_line
from adamw_scale.probe.store import PROBES_FILE, ProbeStore, folder_lock
from adamw_scale.training.tasks import load_task
from adamw_scale.training.tasks.task import TaskSource


class Stage(Noun):
    """The probes that come next, and the indices of `plan` that train them; complete where nothing is left to train."""

    schema_: Literal["adamw-scale/probe-plan-report/1"] = Field("adamw-scale/probe-plan-report/1", alias="schema")
    complete: bool
    probes: int
    indices: tuple[int, ...]
    plan: str
    sbatch: str | None = Field(None, description="the line that hands the indices to Slurm")


def plan_stage(
    out: str | Path,
    task: str = "char-lm",
    data: str | None = None,
    *,
    task_options: Mapping[str, str] | None = None,
    jobs: int | None = None,
    retry_failed: bool = False,
    notice: Callable[[str], None] = lambda text: None,
    **asked: Any,
) -> Stage:
    """Write the next stage of what `calibrate` would train as DIR/plan.json; most arguments are as there.

    There are at least `jobs` indices, if there are as many probes, and they are numbered anew. Without it there are as
    few as train well together, and a plan that has every missing probe keeps its numbers, which a scheduler may have.

    Raises:
        CalibrationError: the folder cannot be used, or is being calibrated.

    Example:
        >>> import tempfile
        >>> run = {"unit": "samples", "dataset_size": 1e5, "batch_size": 100, "epochs": 4, "peak_lr": 1e-3}
        >>> with tempfile.TemporaryDirectory() as out:
        ...     stage = plan_stage(out, "command", task_options={"command": "true {weight_decay}"}, run=run)
        >>> stage.probes, stage.indices
        (5, (0, 1, 2, 3, 4))
    """
    folder = folder_of(out)
    file = folder.absolute() / PLAN_FILE
    source = TaskSource(task, data, dict(task_options or {}), str(file.parent))
    trained, wanted = load_task(source), Ask(**asked)
    ask = wanted.on_device(trained)
    sweeps = designs(trained, ask)
    folder.mkdir(parents=True, exist_ok=True)
    with folder_lock(folder), ProbeStore(folder / PROBES_FILE, retry_failed=retry_failed) as store:
        for line in (*chosen_device(trained, wanted, ask), *store.notices):
            notice(line)
        missing = [config for sweep in sweeps for config in sweep.missing(store.results)]
        if not missing:
            return Stage(complete=True, probes=0, indices=(), plan=str(file))
        plan = ProbePlan.of(missing, source, lambda run: trained.cohort_limit(run, ask.device), jobs or 1)
        plan = _written(plan, file, keep=jobs is None)
    indices = plan.waiting(store.results)
    start = slurm_line(file, indices, ask.device)
    return Stage(complete=False, probes=len(missing), indices=tuple(indices), plan=str(file), sbatch=start)


def _written(new: ProbePlan, file: Path, *, keep: bool) -> ProbePlan:
    """The plan of a stage, in its file; the one that is there, if it may be kept and has all of it."""
    try:
        old = load_plan(file) if keep else None
    except CalibrationError:
        old = None
    if old is not None and old.covers(new):
        return old
    write_atomically(file, new.to_json(), may_hold_secrets=True)  # the command is in it
    return new
