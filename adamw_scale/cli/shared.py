"""What several commands share: their inputs, the description of a run, a caution with its fix, a snippet."""

import sys
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from adamw_scale.cli.run_flags import Given, run_from, words_from
from adamw_scale.cli.text import labelled, say
from adamw_scale.errors import SpecError
from adamw_scale.units import format_count, format_percent, format_share

if TYPE_CHECKING:
    from adamw_scale.frameworks import Finding
    from adamw_scale.spec.advice import Caution, DecayPerStep, Recommendation
    from adamw_scale.spec.measurement import Calibration
    from adamw_scale.spec.run import Timescale, TrainingRun


JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, numbers unrounded.")]
RuleOption = Annotated[
    str | None,
    typer.Option("--rule", help="Use this published rule instead of the law (adamw-scale list rules).", metavar="NAME"),
]
CalibrationOption = Annotated[
    str | None,
    typer.Option(
        "--calibration",
        help="Take in what calibrate measured; what you do not say of the run is as it was probed.",
        metavar="FILE",
    ),
]
ReferenceOption = Annotated[
    str | None,
    typer.Option(
        "--reference",
        help="A tuned run (file with its fields, lr and weight_decay) to carry to this one; what you do not say is as "
        "there.",
        metavar="FILE",
    ),
]
PictureOption = Annotated[
    bool | None, typer.Option("--picture/--no-picture", help="Draw it as text; by default on a terminal only.")
]


def behind_dashes() -> list[str] | None:
    """The words behind --, a command of the user's; None where there is no --. Typer drops the -- itself."""
    return sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else None


class Inputs(NamedTuple):
    """What the options describe: a run, and the measurement to start from if there is one."""

    run: "TrainingRun"
    calibration: "Calibration | None" = None
    reference: "TrainingRun | None" = None

    def recommendation(self, rule: str | None) -> "Recommendation":
        """The recommendation for them."""
        from adamw_scale.advisor import recommend

        return recommend(self.run, rule, self.calibration, self.reference)

    def advice(self, rule: str | None) -> "Recommendation | DecayPerStep":
        """The recommendation, or the product lr*λ where no learning rate is known."""
        from adamw_scale.advisor import advise

        return advise(self.run, rule, self.calibration, self.reference)


def inputs_from(given: Given, calibration: str | None = None, reference: str | None = None) -> Inputs:
    """Read what options name, each file once; what they do not say of the run is as it was measured, if it was."""
    measured, tuned = measurement_from(calibration, reference)
    if tuned is not None:
        from adamw_scale.advisor.inputs import run_like

        return Inputs(run_like(tuned, words_from(given)), reference=tuned)
    if measured is not None:
        from adamw_scale.advisor.inputs import run_calibrated

        return Inputs(run_calibrated(measured, words_from(given)), measured)
    return Inputs(run_from(given))


def measurement_from(calibration: str | None, reference: str | None) -> "tuple[Calibration | None, TrainingRun | None]":
    """The calibration or the tuned run that options name; both is too much."""
    if reference is not None and calibration is not None:
        raise SpecError("--calibration and --reference are both measurements to start from: drop one of the two")
    tuned = None if reference is None else run_from({"run": reference})
    if calibration is None:
        return None, tuned
    from adamw_scale.calibration import load_calibration

    return load_calibration(calibration), None


def remark(about: "Caution | Finding", label: str = "caution", color: str = "yellow") -> str:
    """A caution or a finding with its fix."""
    return f"{labelled(label, f'{about.code}: {about.message}', color=color)}\n{labelled('  fix', about.fix)}"


def describe_run(run: "TrainingRun") -> str:
    """What was assumed where nothing was said: schedule, warm-up, betas."""
    betas = f"betas {run.betas[0]:g} and {run.betas[1]:g}"
    steps = f"{format_count(run.total_steps)} steps"
    warmup = "" if run.schedule == "table" else f" {describe_warmup(run)},"
    return f"{run.task}, {steps}, {describe_schedule(run)},{warmup} {betas}"


def describe_schedule(run: "TrainingRun") -> str:
    """The shape of the learning rate, and of weight decay where it has its own."""
    schedule = run.lr_schedule
    shape = run.schedule
    if schedule.has_stable_phase:
        shape += f" with the last {format_percent(schedule.falling_fraction)} falling"
    if schedule.falls:
        shape += f" to {format_percent(schedule.final) if schedule.final else 'zero'}"
    if run.schedule == "table":
        shape = f"learning rates from a table ending at {format_percent(schedule.final)} of the peak"
    return shape + ("" if run.weight_decay_schedule == "constant" else f", weight decay {run.weight_decay_schedule}")


def describe_warmup(run: "TrainingRun") -> str:
    """How much there is."""
    warmup = run.lr_schedule.warmup
    return f"{format_percent(warmup)} warm-up" if warmup else "no warm-up"


def describe_timescale(tau: "Timescale") -> str:
    """All three views."""
    steps, epochs = format_count(round(tau.iters)), format_count(tau.epochs)
    return f"{steps} steps = {epochs} epochs = {format_share(tau.run, 'the run')}"


def print_snippet(framework: str, recommendation: "Recommendation", *, json: bool) -> None:
    """The snippet on stdout, its cautions on stderr where stdout is a file or a pipe."""
    from adamw_scale.frameworks.emission import emit

    snippet = emit(framework, recommendation)
    if json:
        print(snippet.to_json())
        return
    print(snippet.text, end="")
    if sys.stdout.isatty():
        return  # the cautions stand in the snippet's comments, in sight
    for caution in (*recommendation.cautions, *snippet.cautions):
        say(f"caution {caution.code}: {caution.message}. {caution.fix}")
