"""A calibration's folder -> one HTML file that shows all of it, without a network."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from adamw_scale import __version__
from adamw_scale.advisor import recommend
from adamw_scale.calibration.files import command_of, folder_of, load_calibration
from adamw_scale.calibration.fitting import basin_of, load_results, probes_of, thinned
from adamw_scale.calibration.remedies import outcome, remedy
from adamw_scale.files import write_atomically
from adamw_scale.report import figures
from adamw_scale.report.costs import cost_of, free_decays
from adamw_scale.report.files import svg
from adamw_scale.report.targets import targets_of
from adamw_scale.spec.advice import Recommendation
from adamw_scale.spec.measurement import Calibration, Optimum, ProbeResult, flops_of, value_of
from adamw_scale.theory.basin import NEGLIGIBLE
from adamw_scale.units import format_count, format_percent, format_significant

REPORT_FILE = "report.html"
MOST_ROWS = 1000  # of the table of probes


class Picture(NamedTuple):
    """A figure with what it says in words, for its caption and for who cannot see it."""

    image: Markup
    says: str

    @classmethod
    def of(cls, figure: Figure, name: str, says: str) -> "Picture":
        """Drawn under a name that no other figure of the page has."""
        return cls(svg(figure, name, says), says)


def write_report(folder: str | Path, notice: Callable[[str], None] = lambda text: None) -> Path:
    """Write report.html into a calibration's folder, from calibration.json and probes.jsonl.

    Args:
        folder: Of a calibration.
        notice: Told what was skipped, and what is waited for.

    Returns:
        The file.

    Raises:
        CalibrationError: there is no calibration in it.

    Example:
        >>> import adamw_scale, tempfile
        >>> loss = "2 + math.log(1000 * {lr} * {weight_decay}) ** 2 / 100"
        >>> command = f"python -c 'import json, math; print(json.dumps(dict(loss={loss})))'"
        >>> run = {"unit": "samples", "dataset_size": 1e5, "batch_size": 100, "epochs": 4, "peak_lr": 1e-3}
        >>> with tempfile.TemporaryDirectory() as out:
        ...     measured = adamw_scale.calibrate(out, "command", task_options={"command": command}, run=run)
        ...     page = adamw_scale.write_report(out).read_text()
        >>> "located at 25 % of the run, λ 1" in page
        True
    """
    home = folder_of(folder)
    calibration = load_calibration(home)
    results = load_results(home, notice)
    page = render(calibration, results, command_of(home))
    write_atomically(home / REPORT_FILE, page)
    return home / REPORT_FILE


def render(calibration: Calibration, results: Sequence[ProbeResult], command: str | None) -> str:
    """The page."""
    here = files("adamw_scale.report")
    html, css, js = (here.joinpath(f"page.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js"))
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"percent": format_percent, "digits": format_significant, "count": format_count}
    environment.globals |= {"shares": _shares, "name_of": figures.name_of, "remedy": remedy, "outcome": outcome}
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":"), "ensure_ascii": False}
    advice = recommend(calibration.optima[0].run, calibration=calibration) if calibration.located else None
    return environment.from_string(
        html
    ).render(
        style=Markup(css),  # noqa: S704  # our own file
        script=Markup(js),  # noqa: S704  # the same
        calibration=calibration,
        base=calibration.optima[0],
        advice=advice,
        answer=_answer(advice) if advice else None,
        measured=[_measured(i, optimum, results, calibration) for i, optimum in enumerate(calibration.optima)],
        scaling=_scaling(calibration) if advice else [],
        curves=_curves(calibration, results),
        probes=sorted(results, key=lambda r: (figures.name_of(r.config.run), r.config.log2_tau, r.config.seed))[
            :MOST_ROWS
        ],
        unlisted=max(0, len(results) - MOST_ROWS),
        targets=targets_of(calibration)._asdict() if advice else None,
        cost=_cost(results),
        task="; ".join(f"{name} {value}" for name, value in calibration.task.items()),
        machines=sorted({", ".join(map(" ".join, sorted(r.machine.items()))) for r in results if r.machine}),
        seeds=sorted({r.config.seed for r in results}),
        command=command,
        version=__version__,
    )


def _answer(advice: Recommendation) -> Picture:
    others = ", ".join(f"{o.rule} {format_significant(o.weight_decay)}" for o in advice.alternatives if o.weight_decay)
    decay, low, high = map(format_significant, (advice.weight_decay, *advice.weight_decay_range))
    says = f"{advice.rule}: λ {decay}, range {low} to {high}. Other rules: {others or 'none'}"
    return Picture.of(figures.answer_figure(advice), "answer", says)


class Measured(NamedTuple):
    """A probed run: its picture, and what weight decays cost on it."""

    picture: Picture
    costs: tuple[str, str]


def _measured(number: int, optimum: Optimum, results: Sequence[ProbeResult], calibration: Calibration) -> Measured:
    about, own = calibration.probes, thinned(probes_of(calibration, optimum, results))
    metric, maximize = about.get("metric", "loss"), bool(about.get("maximize"))
    value = partial(value_of, metric=metric, maximize=maximize)
    basin = basin_of(own, value) if own else None
    figure = figures.basin_figure(optimum, own, metric, maximize=maximize, basin=basin)
    costs = (free_decays(optimum, metric), cost_of(figures.USUAL_DECAY, optimum, own, value, basin, metric))
    return Measured(Picture.of(figure, f"basin{number}", _says_optimum(optimum)), costs)


def _says_optimum(optimum: Optimum) -> str:
    says = f"{figures.name_of(optimum.run)}: {outcome(optimum)}"
    if optimum.status == "located":
        says += (
            f" at {format_percent(optimum.timescale_run)} of the run, λ {format_significant(optimum.weight_decay)}; "
            f"80 % interval {_shares(*optimum.log2_interval)}"
        )
    if optimum.asked is not None:
        steps, asked = (format_count(round(run.total_steps)) for run in (optimum.run, optimum.asked))
        says += f"; shares are of the {steps} steps that were trained, not of {asked} as described"
    if optimum.log2_band is not None and optimum.noise is not None:  # else nothing was fitted
        says += f"; within {format_percent(NEGLIGIBLE)} of the best from {_shares(*optimum.log2_band)}"
    return says


def _shares(*log2_taus: float) -> str:
    """Timescales as percentages of the run: one, or from one to another."""
    return " to ".join(format_percent(2.0**each) for each in log2_taus)


def _scaling(calibration: Calibration) -> list[Picture]:
    """One picture for each quantity that was varied."""
    measured = "; ".join(
        f"{figures.name_of(o.run)}: {format_percent(o.timescale_run)} of the run ({outcome(o)})"
        for o in calibration.optima
    )
    return [
        Picture.of(
            figures.scaling_figure(calibration, axis),
            f"scaling-{axis}",
            f"Optimum against the {figures.SCALES[axis]}. Measured: {measured}",
        )
        for axis in figures.axes_of(calibration)
    ]


def _curves(calibration: Calibration, results: Sequence[ProbeResult]) -> dict[str, Picture]:
    """Training losses of the base run's probes, on linear and on logarithmic axes; empty where none were kept."""
    own = thinned(probes_of(calibration, calibration.optima[0], results))
    if not any(len(result.curve) > 1 for result in own):
        return {}
    positive = all(loss > 0 for result in own for _, loss in result.curve if math.isfinite(loss))
    ends = [result.curve[-1][1] for result in own if result.curve]
    says = f"Training loss of {len(own)} probes of the base run; it ends between {min(ends):.4g} and {max(ends):.4g}"
    if calibration.task.get("name") != "command":
        says += ". A point is the mean over the steps since the one before"
    odd = Counter(figures.last_point(result) for result in own if len(result.curve) > 1)
    says += "".join(f". Open circles, of {count} probes, are {what}" for what, count in odd.items() if what)
    return {
        kind: Picture.of(
            figures.curves_figure(own, calibration.optima[0], log=kind == "logarithmic"), f"curves-{kind}", says
        )
        for kind in (["linear", "logarithmic"] if positive else ["linear"])
    }


def _cost(results: Sequence[ProbeResult]) -> dict[str, str]:
    """What the probes took, all together."""
    flops = sum(flops_of(result.config.run) for result in results)
    seconds = float(f"{sum(result.seconds for result in results):.3g}")
    cost = {"probes": f"{len(results)}", "time": f"{format_count(seconds)} s of training"}
    return {**cost, "operations": f"{flops:.2g} (6·N·D)"} if flops else cost
