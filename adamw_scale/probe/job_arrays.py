"""Job arrays: the probes of one stage as a plan file, of which any machine trains one cohort by its index.

    plan.json  ->  index 0, 1, 2, ...  ->  probes.jsonl beside it  ->  the plan of the next stage

A cluster's scheduler starts the indices; nothing talks to anything but the file system.
"""

import os
import shlex
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, Self

from pydantic import Field

from adamw_scale.errors import CalibrationError, SpecError
from adamw_scale.noun import Noun
from adamw_scale.probe.engines.engine import in_cohorts
from adamw_scale.probe.store import ProbeStore
from adamw_scale.spec.measurement import ProbeConfig, ProbeResult
from adamw_scale.spec.run import TrainingRun
from adamw_scale.training.tasks import load_task
from adamw_scale.training.tasks.task import Listener, TaskSource

PLAN_FILE = "plan.json"
MAX_PLAN_BYTES = 1 << 26


class ProbePlan(Noun):
    """The probes of one stage, cut into cohorts that are trained anywhere, each by its index."""

    schema_: Literal["adamw-scale/probe-plan/1"] = Field("adamw-scale/probe-plan/1", alias="schema")
    source: TaskSource
    cohorts: tuple[tuple[ProbeConfig, ...], ...] = Field(alias="batches")

    @classmethod
    def of(
        cls, missing: Sequence[ProbeConfig], source: TaskSource, limit: Callable[[TrainingRun], int], jobs: int
    ) -> Self:
        """A plan of at least `jobs` cohorts, if there are as many probes, of at most as many as `limit` says of a run.

        Paths are absolute in it, whatever folder an index is started in.
        """
        cohorts = tuple(tuple(cohort) for cohort in in_cohorts(missing, limit, jobs))
        return cls(
            source=replace(source, data=_absolute(source.data), folder=_absolute(source.folder)), cohorts=cohorts
        )

    def cohort(self, index: int) -> tuple[ProbeConfig, ...]:
        """The probes of an index, from 0; SpecError where there is none of that number."""
        if not 0 <= index < len(self.cohorts):
            raise SpecError(f"index {index} is not in the plan: pass --index 0 to {len(self.cohorts) - 1}")
        return self.cohorts[index]

    def waiting(self, results: Collection[str]) -> list[int]:
        """Indices of which not every probe is among the keys of what is stored."""
        return [i for i, cohort in enumerate(self.cohorts) if any(config.key not in results for config in cohort)]

    def covers(self, other: Self) -> bool:
        """Whether another's probes, of the same source, are all in this plan."""
        own, others = ({config.key for cohort in plan.cohorts for config in cohort} for plan in (self, other))
        return self.source == other.source and others <= own


def _absolute(path: str | None) -> str | None:
    """A path that is there, from the root; anything else as it is."""
    return os.path.abspath(path) if path and os.path.exists(path) else path


def load_plan(path: Path) -> ProbePlan:
    """Read a plan file.

    Raises:
        CalibrationError: missing, not a plan, or written by another version.
    """
    try:
        if not path.is_file() or path.stat().st_size > MAX_PLAN_BYTES:
            raise CalibrationError(f"no plan at {str(path)!r}: pass the {PLAN_FILE} that adamw-scale probe plan wrote")
        return ProbePlan.from_json(path.read_bytes())
    except OSError as error:
        raise CalibrationError(f"{path}: {error.strerror or error}. Pass a readable {PLAN_FILE}") from None
    except SpecError as error:
        raise CalibrationError(
            f"{path} is no plan of this version ({str(error)[:160]}): write it again with adamw-scale probe plan"
        ) from None


def train_index(plan: ProbePlan, index: int, store: ProbeStore, listener: Listener) -> list[ProbeResult]:
    """Train those probes of a cohort that are not stored, and store them at once.

    Args:
        plan: What to train.
        index: Which cohort of it.
        store: An open store; what failed is stored, but trained again where it was opened with retry_failed.
        listener: Told how far the probes are.

    Returns:
        The new results; none where all of them were stored.

    Raises:
        SpecError: no such index.
        ProbeError: a probe cannot be run at all, or not on this machine.
        OSError: the results cannot be written.
    """
    missing = [config for config in plan.cohort(index) if config.key not in store.results]
    if not missing:
        return []
    task = load_task(plan.source)
    task.require_device(missing[0].device)
    results = task.train(missing, listener)
    store.append(*results)
    return results


def command_of(plan_file: Path, index: str) -> str:
    """The command that trains an index, a number or a shell variable that holds one."""
    return f"adamw-scale probe run --plan {shlex.quote(str(plan_file))} --index {index}"


def slurm_line(plan_file: Path, indices: Sequence[int], device: str) -> str:
    """The line that hands the indices to Slurm."""
    gpu = " --gpus=1" if device == "cuda" else ""
    return f"sbatch --array={ranges(indices)}{gpu} --wrap {shlex.quote(command_of(plan_file, '$SLURM_ARRAY_TASK_ID'))}"


def ranges(indices: Sequence[int]) -> str:
    """Rising indices as schedulers write them.

    Example:
        >>> ranges([0, 1, 2, 5, 7, 8])
        '0-2,5,7-8'
    """
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)
