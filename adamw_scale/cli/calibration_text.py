"""A calibration as text, for people."""

from typing import TYPE_CHECKING

from adamw_scale.cli.text import say
from adamw_scale.units import format_percent, format_significant, printable

if TYPE_CHECKING:
    from adamw_scale.spec.measurement import Calibration, Optimum
    from adamw_scale.spec.run import TrainingRun


def render(calibration: "Calibration", out: str, *, picture: bool = False) -> None:
    """A calibration as text: what was located goes to stdout, what was not to stderr."""
    from adamw_scale.calibration import CALIBRATION_FILE

    probes = calibration.probes
    if failed := probes.get("failed"):
        say(f"{failed} probes failed and say nothing about their timescale; run the same command with --retry-failed")
    print(
        f"{probes.get('count')} probes, {probes.get('seeds')} seeds; metric: {printable(probes.get('metric', 'loss'))}"
    )
    for optimum in calibration.optima:
        _show_optimum(optimum, alone=len(calibration.optima) == 1)
        if picture:
            _show_basin(calibration, optimum, out)
    if calibration.located:
        _show_scales(calibration)
    print(f"\nUse it: adamw-scale recommend --calibration {printable(out)}/{CALIBRATION_FILE} [run options]")
    if calibration.located:
        print("It holds for runs like the probed one; the further away a run is, the wider its range.")
    else:
        print("Nothing was located, so the answer is the law's, within what the probes rule out.")


def _show_optimum(optimum: "Optimum", *, alone: bool) -> None:
    from adamw_scale.calibration import outcome, remedy

    tau, run = optimum.timescale, optimum.run
    size = f"{parameters(run)}{run.dataset_size:g} {run.unit} x {run.epochs:.4g} epochs, lr {run.peak_lr:g}"
    print(f"optimum {outcome(optimum)}: {size}" if optimum.loss is not None else f"every probe diverged: {size}")
    if optimum.asked is not None:
        print(f"  trained    {run.total_steps:,.0f} steps, not {optimum.asked.total_steps:,.0f} as described")
    if optimum.outliers:
        say(f"left out: {optimum.outliers} losses, far above the others of their seed: no basin is so")
    if optimum.loss is None or optimum.status != "located":
        why, fix = remedy(optimum)
        say(why)
        if alone:
            say(f"what to do: {fix}")
        return
    low, high = (format_percent(2.0**end) for end in optimum.log2_interval)
    of_run = f"{format_percent(tau.run)} of the run (80 % interval {low} to {high})"
    print(f"  timescale  {of_run} = {tau.epochs:.3g} epochs")
    if optimum.log2_band is not None:
        ends = [format_significant(_weight_decay(run, 2.0**end)) for end in reversed(optimum.log2_band)]
        print(
            f"  λ          {format_significant(optimum.weight_decay)}; from {ends[0]} to {ends[1]} costs no more than "
            "0.2 % of the loss"
        )
    print(f"  loss       {optimum.loss:.4f} held out")


def _show_basin(calibration: "Calibration", optimum: "Optimum", out: str) -> None:
    """The run's probes as dots, seeds at one level."""
    from adamw_scale.calibration import load_results, paired, probes_of
    from adamw_scale.cli.curve_chart import draw_basin
    from adamw_scale.spec.measurement import value_of

    metric, maximize = calibration.probes.get("metric", "loss"), calibration.probes.get("maximize", False)
    own = paired(probes_of(calibration, optimum, load_results(out)), lambda r: value_of(r, metric, maximize=maximize))
    if len(own) > 1:
        points = [(result.config.log2_tau + optimum.shift, -level if maximize else level) for result, level in own]
        print("\n" + draw_basin(points, metric) + "\n")


def _show_scales(calibration: "Calibration") -> None:
    """What several scales say together."""
    for axis, slope in calibration.slopes.items():
        print(
            f"  for 4 x the {axis.replace('_', ' ')} the timescale, as a share of the run, moves "
            f"{slope.octaves_per_factor_4:+.2f} ± {slope.deviation:.2f} octaves"
        )
    for check in calibration.left_out:
        low, high = (format_percent(2.0**end) for end in check.log2_interval)
        print(
            f"  left out, {_scale(check.run)}: predicted {format_percent(2.0**check.predicted)} "
            f"({low} to {high}), measured {format_percent(2.0**check.measured)}"
        )
    if (lr := calibration.lr) is not None:
        end = (
            "the lowest loss lies at the end of what was tried" if lr.status == "edge" else "at its own best timescale"
        )
        print(f"learning rate  {lr.peak_lr:.3g} is best, {end}")
        if lr.timescale_slope is not None and lr.steadier is not None:
            steady = "λ" if lr.steadier == "weight_decay" else "the timescale"
            print(
                f"  for twice the lr the timescale moves {lr.timescale_slope:+.2f} octaves: "
                f"{steady} is the steadier one"
            )
        if not 0.5 <= lr.peak_lr / calibration.optima[0].run.lr <= 2:
            say(
                f"lr {calibration.optima[0].run.lr:g} is far from the best, {lr.peak_lr:.3g}: "
                "tune it before its weight decay"
            )
    if (target := calibration.target) is not None:
        low, high = map(format_significant, target.weight_decay_range)
        print(
            f"target, {_scale(target.run)}, lr {target.run.lr:g}: "
            f"λ {format_significant(target.weight_decay)} ({low} to {high}), "
            f"timescale {format_percent(target.timescale.run)} of the run"
        )
    if (checked := calibration.validation) is not None:
        low, high = (format_percent(2.0**end) for end in checked.log2_interval)
        print(
            f"validated at {_scale(checked.run)}: predicted {format_percent(2.0**checked.predicted)} "
            f"({low} to {high}), measured {format_percent(checked.optimum.timescale_run)} ({checked.optimum.status}); "
            f"regret {checked.regret:.4f} ± {checked.regret_deviation:.4f}"
        )


def _weight_decay(run: "TrainingRun", tau_run: float) -> float:
    """λ (PyTorch convention, hidden matrices) of a timescale as a fraction of the run."""
    return run.hidden_decay_of(run.timescale(run=tau_run).iters)


def _scale(run: "TrainingRun") -> str:
    """What tells a run from one of another scale."""
    width = f", width {run.width:g}" if run.width else ""
    return f"{run.dataset_size:g} {run.unit} x {run.epochs:g} epochs{width}"


def parameters(run: "TrainingRun") -> str:
    """How many there are, where that is known."""
    return f"{run.num_params:,.0f} parameters, " if run.num_params else ""
