"""Nouns -> matplotlib figures. Each picture of the project is drawn here and nowhere else.

Colours are those of Okabe & Ito (2008), told apart by the colour-blind; every series also differs in its mark.
A mark's gid is what it says when pointed at: `files.svg` turns it into a title.
"""

import math
import textwrap
from collections.abc import Sequence
from functools import partial
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from adamw_scale.advisor import recommend
from adamw_scale.calibration.fitting import basin_of, paired
from adamw_scale.calibration.remedies import outcome
from adamw_scale.errors import MissingInputError
from adamw_scale.law.features import NAMES, SAMPLES, SCARCE, USUAL, features_of
from adamw_scale.law.fitted import EVIDENCE, MEAN
from adamw_scale.law.posterior import Posterior, Prediction
from adamw_scale.rules.fixed import Fixed
from adamw_scale.spec.advice import Memory, Recommendation
from adamw_scale.spec.ladder import Ladder, Rung
from adamw_scale.spec.measurement import Calibration, Optimum, ProbeResult, value_of
from adamw_scale.spec.run import TrainingRun
from adamw_scale.theory.basin import NEGLIGIBLE, Basin, Curve
from adamw_scale.units import format_count, format_percent, format_significant

INK, FAINT, GRID = "#1b1e23", "#5b616b", "#d5d8dd"
BLUE, ORANGE, GREEN, PURPLE, OLIVE = "#0065a8", "#b84e00", "#00795b", "#a0508a", "#6b5d00"
MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, OLIVE)
WIDTH, HEIGHT = 4.8, 4.6  # inches; narrow, so that letters are not too small on a telephone
TITLE = 50  # characters of a title that fit into WIDTH
USUAL_DECAY = Fixed.pretraining_weight_decay
STYLE: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": "medium",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 11,
    "grid.color": GRID,
    "legend.fontsize": "small",
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "svg.fonttype": "none",
    "text.color": INK,
    "text.parse_math": False,  # names are data
    "xtick.color": FAINT,
    "ytick.color": FAINT,
}
SCALES = {
    "dataset_size": "data set",
    "width": "width",
    "batch_size": "batch",
    "epochs": "epochs",
    "peak_lr": "learning rate",
}
ROW = 0.38  # inches of a rule in the picture of an answer
BAND_POINTS = 33
OUTWARD = 4.0  # factor beyond the measured runs that the scaling picture goes on for


def memory_figure(memory: Memory) -> Figure:
    """What the final weights remember over the run, above the learning rate."""
    with mpl.rc_context(STYLE):
        figure = Figure((WIDTH, 4.6), layout="constrained")
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
        top.plot(memory.progress, memory.density, color=BLUE)
        top.fill_between(memory.progress, memory.density, color=BLUE, alpha=0.15, lw=0)
        top.set_ylim(0)
        top.set_ylabel("weight in the final weights")
        _title(
            top,
            f"What the final weights remember: λ {format_significant(memory.weight_decay)}, timescale "
            f"{format_percent(memory.timescale.run)} of the run",
        )
        bottom.plot(memory.progress, memory.lr_multiplier, color=ORANGE)
        bottom.set_ylim(0, 1.05)
        bottom.set_ylabel("lr / peak")
        bottom.set_xlabel("share of the run")
        bottom.set_xlim(0, 1)
        for axes in (top, bottom):
            axes.grid(axis="x")
    return figure


def answer_figure(advice: Recommendation) -> Figure:
    """The recommended λ with its range, and what other rules say, on one logarithmic axis."""
    rows = _answer_rows(advice)
    with mpl.rc_context(STYLE):
        figure = Figure((WIDTH, 1.3 + ROW * len(rows)), layout="constrained")
        _draw_answer(figure.subplots(), advice, rows)
    return figure


def law_figure(advice: Recommendation) -> Figure:
    """The answer, and under it the law against its evidence, along unique data per parameter and along epochs.

    Every optimum is drawn where it would lie if all else were as in the run: at what the law says of the run there,
    plus what the optimum misses the law by. The band holds 80 % of what the law believes.
    """
    rows = _answer_rows(advice)
    with mpl.rc_context(STYLE):
        figure = Figure((WIDTH, 8.6 + ROW * len(rows)), layout="constrained")
        top, data, epochs = figure.subplots(3, 1, height_ratios=(1.0 + ROW * len(rows), 3.6, 3.6))
        _draw_answer(top, advice, rows)
        _draw_law(data, advice, "data")
        _draw_law(epochs, advice, "epochs")
        handles, labels = data.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def ladder_figure(ladder: Ladder) -> Figure:
    """λ against the parameters: of hidden matrices with its range, and of other groups where theirs differs.

    Raises:
        MissingInputError: a rung does not say its parameters.
    """
    rungs = sorted(ladder.rungs, key=_params_of)
    sizes = [_params_of(rung) for rung in rungs]
    lows, highs = zip(*(rung.recommendation.weight_decay_range for rung in rungs), strict=True)
    with mpl.rc_context(STYLE):
        figure = Figure((WIDTH, HEIGHT), layout="constrained")
        axes = figure.subplots()
        axes.set_xscale("log")
        axes.set_yscale("log")
        least = min(rung.hidden.weight_decay for rung in rungs) / 4  # a range may go down to no decay at all
        shown = [low or least for low in lows]
        axes.fill_between(sizes, shown, highs, color=BLUE, alpha=0.15, lw=0)
        axes.vlines(sizes, shown, highs, color=BLUE, alpha=0.3, lw=5, label="range on hidden matrices")
        for i, names in enumerate(ladder.alike_groups):
            look: dict[str, Any] = {"color": COLOURS[i % len(COLOURS)], "marker": MARKS[i % len(MARKS)]}
            decays = [rung.group(names[0]).weight_decay for rung in rungs]
            axes.plot(sizes, decays, label=", ".join(names), **look)
            for rung, size, decay in zip(rungs, sizes, decays, strict=True):
                axes.plot(size, decay, gid=f"{rung.name}, {names[0]}: λ {format_significant(decay)}", **look)
        axes.xaxis.minorticks_off()
        axes.set_xticks(sorted(set(sizes)), [format_count(size) for size in sorted(set(sizes))])
        axes.set_xlabel("parameters")
        axes.set_ylabel("weight decay λ")
        axes.set_title("λ along the ladder")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(FuncFormatter(_two_and_five))
        axes.grid()
        figure.legend(loc="outside lower center", ncols=2)
    return figure


def _params_of(rung: Rung) -> float:
    params = rung.recommendation.run.num_params
    if params is None:
        raise MissingInputError(f"--plot draws against the parameters, which {rung.name} does not say: pass --params")
    return params


def _draw_law(axes: Axes, advice: Recommendation, along: str) -> None:
    """One panel: the law along a feature, what it was fitted to, and the run."""
    run, k = advice.run, NAMES.index(along)
    here = features_of(run).values
    of_data = along == "data"

    def quantity(octaves: float) -> float:
        """What a value of the feature means: unique units per parameter, or epochs."""
        return float((USUAL + SCARCE) * 2.0**octaves - SCARCE if of_data else 2.0**octaves)

    def at(octaves: float) -> Prediction:
        """What the law says where the run had that much of the quantity."""
        factor = quantity(octaves) / quantity(here[k])
        return law.predict(run.model_copy(update={name: factor * getattr(run, name)}))

    def law_of(values: Sequence[float]) -> float:
        return math.fsum(c * x for c, x in zip(MEAN, values, strict=True))

    law, name = Posterior(), "dataset_size" if of_data else "epochs"
    alike = [(source, tau, values) for source, tau, values in EVIDENCE if values[SAMPLES] == here[SAMPLES]]
    ends = [values[k] for *_, values in alike] + [here[k]]
    grid = np.linspace(min(ends), max(ends), BAND_POINTS)
    predicted = [at(x) for x in grid]
    axes.set_xscale("log")
    axes.set_yscale("log", base=2)
    xs = [quantity(x) for x in grid]
    low, high = (np.exp2([each.interval[side] for each in predicted]) for side in (0, 1))
    axes.fill_between(xs, low, high, color=BLUE, alpha=0.15, lw=0, label="law, 80 %")
    axes.plot(xs, [2.0**each.log2_tau for each in predicted], color=BLUE, label="law")
    for i, source in enumerate(dict.fromkeys(source for source, *_ in alike)):
        points = [
            (quantity(values[k]), 2.0 ** (at(values[k]).log2_tau + tau - law_of(values)))
            for whose, tau, values in alike
            if whose == source
        ]
        mark, colour = MARKS[i % len(MARKS)], COLOURS[i % len(COLOURS)]
        axes.plot(*zip(*points, strict=True), mark, color=colour, ms=5, alpha=0.8, label=source, gid=source)
    says = f"this run: {format_percent(advice.tau.run)} of the run"
    axes.plot(quantity(here[k]), advice.tau.run, "*", color=INK, ms=14, label="this run", gid=says)
    axes.set_xlabel(f"unique {run.unit} per parameter" if of_data else "epochs")
    axes.set_ylabel("best timescale, share of the run")
    axes.grid()
    _plain_numbers(axes)
    axes.yaxis.set_major_formatter(lambda value, _: format_percent(value))


def _answer_rows(advice: Recommendation) -> list[tuple[str, float]]:
    """What λ is said by whom, the answer first."""
    rows = [(advice.rule, advice.weight_decay)]
    rows += [
        (f"{other.rule} (alone)" if other.rule == advice.rule else other.rule, other.weight_decay)
        for other in advice.alternatives
        if other.weight_decay
    ]
    if (current := advice.companions.current) is not None and current.weight_decay:
        rows.append(("yours", current.weight_decay))
    return rows


def _draw_answer(axes: Axes, advice: Recommendation, rows: Sequence[tuple[str, float]]) -> None:
    axes.set_xscale("log")
    low, high = advice.weight_decay_range
    if low == 0:
        axes.set_xlim(min(decay for _, decay in rows) / 4, high * 2)
        low = axes.get_xlim()[0]
    ends = " to ".join(map(format_significant, advice.weight_decay_range))
    axes.plot([low, high], [0, 0], color=BLUE, lw=5, alpha=0.3, solid_capstyle="butt", gid=f"range: λ {ends}")
    for i, (name, decay) in enumerate(rows):
        says = f"{name}: λ {format_significant(decay)}"
        axes.plot(decay, i, MARKS[0], color=BLUE if i == 0 else FAINT, ms=9 if i == 0 else 6, gid=says)
    axes.set_yticks(range(len(rows)), [name for name, _ in rows], color=INK)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(axis="x")
    where = "at" if advice.one_for_all else "of hidden matrices, at their"
    axes.set_xlabel(f"weight decay λ {where} peak lr {advice.peak_lr:g}")
    _title(axes, f"λ {format_significant(rows[0][1])}, range {ends}")
    _plain_numbers(axes)


def basin_figure(
    optimum: Optimum,
    results: Sequence[ProbeResult],
    metric: str = "loss",
    *,
    maximize: bool = False,
    basin: Basin | None = None,
) -> Figure:
    """The probes of one run against their timescale, seeds at one level, with the basin fitted to them and its optimum.

    Args:
        optimum: Of the run; its intervals are shaded unless the basin is flat.
        results: The run's probes; those without a value are left out.
        metric: What was optimised.
        maximize: The metric is better the higher it is.
        basin: What `basin_of` says of the results, where that is known.
    """
    sign, value = -1.0 if maximize else 1.0, partial(value_of, metric=metric, maximize=maximize)
    points = paired(results, value)
    seeds = sorted({result.config.seed for result, _ in points})
    with mpl.rc_context(STYLE):
        figure = Figure((WIDTH, HEIGHT), layout="constrained")
        axes = figure.subplots()
        for i, seed in enumerate(seeds):
            look: dict[str, Any] = {"color": COLOURS[i % len(COLOURS)], "ms": 6}
            axes.plot([], [], MARKS[i % len(MARKS)], label=f"seed {seed}", **look)
            for result, level in points:
                if result.config.seed == seed:
                    x = result.config.log2_tau + optimum.shift
                    says = f"seed {seed}, {_says_tau(optimum.run, x)}: {metric} {sign * value(result):.4f}"
                    axes.plot(x, sign * level, MARKS[i % len(MARKS)], gid=says, **look)
        if points and (curve := (basin or basin_of(results, value)).curve) is not None:
            _draw_fit(axes, curve, optimum, sign, metric)
        _draw_usual(axes, optimum.run)
        if seeds:
            figure.legend(loc="outside lower center", ncols=2)
        axes.set_ylabel(f"held-out {metric}, seeds at one level")
        _tau_axis(axes, optimum.run)
        _title(axes, f"{name_of(optimum.run)}: {outcome(optimum)}")
        axes.grid(axis="y")
    return figure


def _draw_fit(axes: Axes, curve: Curve, optimum: Optimum, sign: float, metric: str) -> None:
    """The fitted basin under the probes, where its optimum is, and what costs next to nothing beside it."""
    run, bottom, at = optimum.run, axes.get_xaxis_transform(), curve.x + optimum.shift
    axes.plot(at, sign * curve.mean, color=INK, zorder=1.5, label="fitted mean")
    axes.fill_between(at, sign * curve.low, sign * curve.high, color=FAINT, alpha=0.3, lw=0, label="fit, 80 %")
    for x, mean, *ends in zip(at, curve.mean, curve.low, curve.high, strict=True):
        low, high = sorted(sign * end for end in ends)
        says = f"fit, {_says_tau(run, x)}: {metric} {sign * mean:.4f}, 80 % from {low:.4f} to {high:.4f}"
        _unseen(axes, x, sign * mean, says)
    if optimum.log2_band is not None:
        near = f"within {format_percent(NEGLIGIBLE)} of the best"
        says = f"{near}: {_says_taus(run, optimum.log2_band)}"
        axes.plot(optimum.log2_band, (0.02, 0.02), color=GREEN, lw=4, transform=bottom, label=near, gid=says)
    if optimum.status != "flat":
        says = f"optimum, 80 %: {_says_taus(run, optimum.log2_interval)}"
        axes.axvspan(*optimum.log2_interval, fc=(BLUE, 0.2), ec=BLUE, lw=0.8, label="optimum, 80 %", gid=says)
        if optimum.log2_interval_95 is not None:
            says = f"optimum, 95 %: {_says_taus(run, optimum.log2_interval_95)}"
            axes.axvspan(*optimum.log2_interval_95, color=BLUE, alpha=0.1, lw=0, label="optimum, 95 %", gid=says)
    if optimum.status == "located":
        best = math.log2(optimum.timescale_run)
        axes.axvline(best, color=BLUE, lw=1.5, gid=f"optimum: {_says_tau(run, best)}, {metric} {_of(optimum, sign)}")


def _draw_usual(axes: Axes, run: TrainingRun) -> None:
    """The usual weight decay, where it was probed."""
    x, (low, high) = math.log2(run.base_timescale_of(USUAL_DECAY).run), axes.dataLim.intervalx
    if low <= x <= high:
        label = f"λ {USUAL_DECAY:g}, the usual"
        axes.axvline(x, color=FAINT, lw=1.5, ls=":", label=label, gid=f"the usual weight decay: {_says_tau(run, x)}")


def _of(optimum: Optimum, sign: float) -> str:
    """The fitted value at an optimum."""
    return "unknown" if optimum.loss is None else f"{sign * optimum.loss:.4f}"


def _says_tau(run: TrainingRun, log2_tau: float) -> str:
    """A timescale for people, and the λ that gives the run it."""
    return f"timescale {format_percent(2.0**log2_tau)} of the run, λ {format_significant(decay_at(run, log2_tau), 3)}"


def _says_taus(run: TrainingRun, ends: Sequence[float]) -> str:
    """From one timescale to another, and the λ that give the run them."""
    low, high = (format_percent(2.0**end) for end in ends)
    most, least = (format_significant(decay_at(run, end), 3) for end in ends)
    return f"timescale {low} to {high} of the run, λ {least} to {most}"


def decay_at(run: TrainingRun, log2_tau: float) -> float:
    """λ (PyTorch convention, hidden matrices) that gives a run a timescale, in octaves of the run."""
    return run.hidden_decay_of(run.timescale(run=2.0**log2_tau).iters)


def _unseen(axes: Axes, x: float, y: float, says: str) -> None:
    """A place on a line that says its numbers when pointed at."""
    axes.plot(x, y, "o", color=INK, ms=10, mew=0, alpha=0, gid=says)


def scaling_figure(calibration: Calibration, axis: str) -> Figure:
    """The optima against a quantity that was varied, and what the calibration says between them and beyond.

    Args:
        calibration: With an optimum that is located.
        axis: Field of `TrainingRun` in which some of its optima differ.
    """
    base, asked = calibration.optima[0].run, calibration.optima[0].probed
    along = [
        o
        for o in calibration.optima
        if o.probed.model_copy(update=_free(axis, asked)) == asked.model_copy(update=_free(axis, asked))
    ]
    values = [float(getattr(o.run, axis)) for o in along]
    grid = np.geomspace(min(values) / OUTWARD**0.5, max(values) * OUTWARD, BAND_POINTS)
    predicted = [recommend(_moved(base, axis, value), calibration=calibration) for value in grid]
    with mpl.rc_context(STYLE):
        figure = Figure((WIDTH, HEIGHT), layout="constrained")
        axes = figure.subplots()
        axes.set_xscale("log")
        axes.set_yscale("log", base=2)
        bounds = [advice.timescale_range for advice in predicted]
        axes.fill_between(
            grid, [low for low, _ in bounds], [high for _, high in bounds], color=BLUE, alpha=0.15, lw=0, label="80 %"
        )
        axes.plot(grid, [advice.tau.run for advice in predicted], color=BLUE, label="calibrated")
        for value, advice, (low, high) in zip(grid, predicted, bounds, strict=True):
            says = f"{name_of(advice.run)}: {_says_tau(advice.run, math.log2(advice.tau.run))}"
            _unseen(axes, value, advice.tau.run, f"{says}, 80 % from {format_percent(low)} to {format_percent(high)}")
        for optimum, value in zip(along, values, strict=True):
            low, high = (2.0**end for end in optimum.log2_interval)
            tau = optimum.timescale_run
            says = f"{name_of(optimum.run)}: {outcome(optimum)}, {_says_tau(optimum.run, math.log2(tau))}"
            if optimum.loss is not None:
                says += f", loss {optimum.loss:.4f}"
            interval = f"{name_of(optimum.run)}, 80 %: {_says_taus(optimum.run, optimum.log2_interval)}"
            axes.plot([value, value], [low, high], color=ORANGE, gid=interval)
            face = ORANGE if optimum.status == "located" else "none"
            axes.plot(value, tau, "o", color=ORANGE, mfc=face, ms=7, gid=says)
        axes.plot([], [], "o", color=ORANGE, label="measured")
        axes.set_xlabel(SCALES[axis] + (f" ({base.unit})" if axis in ("dataset_size", "batch_size") else ""))
        axes.set_ylabel("timescale, share of the run")
        axes.yaxis.set_major_formatter(lambda value, _: format_percent(value))
        axes.minorticks_off()
        ticks = sorted({*values, max(values) * OUTWARD})
        axes.set_xticks(ticks, [format_count(tick) if tick >= 1 else f"{tick:g}" for tick in ticks])
        axes.grid()
        axes.legend()
        _title(axes, f"The optimum against the {SCALES[axis]}")
    return figure


def curves_figure(results: Sequence[ProbeResult], optimum: Optimum, *, log: bool) -> Figure:
    """Training loss of every probe of one run over its steps; darker is more decay.

    An open circle is a last point that is no training loss as those before it: see `last_point`.
    """
    shown = sorted((r for r in results if len(r.curve) > 1), key=lambda r: -r.config.log2_tau)
    with mpl.rc_context(STYLE):
        figure = Figure((WIDTH, HEIGHT), layout="constrained")
        axes = figure.subplots()
        for i, result in enumerate(shown):
            config = result.config
            share = i / max(1, len(shown) - 1)
            look: dict[str, Any] = {"color": BLUE, "alpha": 0.25 + 0.7 * share, "lw": 1.2}
            step, loss = result.curve[-1]
            held_out = "diverged" if result.loss is None else f"held out {result.loss:.4f}"
            says = f"seed {config.seed}, {_says_tau(optimum.run, config.log2_tau + optimum.shift)}: {held_out}"
            ends = f"{says}; training loss {loss:.4f} at step {format_count(step)}"
            odd = last_point(result)
            axes.plot(*zip(*(result.curve[:-1] if odd else result.curve), strict=True), gid=ends, **look)
            if odd:
                axes.plot(*zip(*result.curve[-2:], strict=True), ls=":", gid=f"{ends}, {odd}", **look)
                axes.plot(step, loss, "o", mfc="none", ms=5, gid=f"{ends}, {odd}", **look)
        if log:
            axes.set_xscale("log")
            axes.set_yscale("log")
            _plain_numbers(axes)
        axes.xaxis.set_major_formatter(lambda value, _: format_count(value))
        axes.set_xlabel("step")
        axes.set_ylabel("training loss")
        axes.grid()
        _title(axes, "Training loss of the probes; darker is more decay")
    return figure


def last_point(result: ProbeResult) -> str:
    """What the last point of a curve is where it is not as those before it; else nothing.

    A command that was asked for --metric loss may have printed its held-out loss as the loss of its last step. Probes
    of earlier versions reported the mean over whatever steps remained, which scatters the more the fewer they were.
    """
    (before, _), (start, _), (end, loss) = ((0, 0.0), *result.curve)[-3:]
    if result.config.task.get("name") == "command":
        return "the held-out result, printed as a step's loss" if loss == result.loss else ""
    if end - start >= (start - before) / 2:
        return ""
    return f"the mean of {format_count(end - start)} steps, where others are of {format_count(start - before)}"


def axes_of(calibration: Calibration) -> list[str]:
    """The quantities in which optima differ from the base run's, and nothing but them."""
    base = calibration.optima[0].probed
    return [axis for axis in SCALES if any(getattr(o.probed, axis) != getattr(base, axis) for o in calibration.optima)]


def name_of(run: TrainingRun) -> str:
    """What tells a run from another scale."""
    data = f"{format_count(run.dataset_size)} {run.unit} × {run.epochs:.4g} epochs"
    width = f", width {run.width:g}" if run.width else ""
    return f"{data}, batch {format_count(run.batch_size)}{width}, lr {run.lr:g}"


def _free(axis: str, base: TrainingRun) -> dict[str, Any]:
    """What must be overlooked where a quantity varies: itself, and the parameters that come with a width."""
    return {axis: getattr(base, axis), **({"num_params": base.num_params} if axis == "width" else {})}


def _moved(base: TrainingRun, axis: str, value: float) -> TrainingRun:
    """The base run elsewhere on an axis."""
    fields = {**base.model_dump(), axis: float(value)}
    if axis == "width" and base.width and base.num_params:
        fields["num_params"] = base.num_params * (value / base.width) ** 2
    return TrainingRun.model_validate(fields)


def _tau_axis(axes: Axes, run: TrainingRun) -> None:
    """Octaves as percentages of the run below, and as weight decays above."""
    low, high = axes.get_xlim()
    step = math.ceil((high - low) / 7)
    ticks = list(range(math.ceil(low), math.floor(high) + 1, step))
    axes.set_xticks(ticks, [format_percent(2.0**x) for x in ticks])
    axes.set_xlabel("timescale, share of the run")
    above = axes.secondary_xaxis("top")
    above.set_xticks(ticks, [format_significant(decay_at(run, x)) for x in ticks])
    above.set_xlabel(f"weight decay λ at peak lr {run.hidden_lr:g}")
    above.spines["top"].set_visible(True)


def _plain_numbers(axes: Axes) -> None:
    """1, 0.1 and 0.05 rather than powers of ten, with labels between where an axis spans less than two decades."""
    for axis in (axes.xaxis, axes.yaxis):
        if axis.get_scale() == "log":
            low, high = axis.get_view_interval()
            axis.set_major_formatter(lambda value, _: _plain(value))
            axis.set_minor_formatter(FuncFormatter(_two_and_five) if high / low < 100 else NullFormatter())


def _two_and_five(value: float, _: int | None) -> str:
    """A label for 2 and 5 of every decade."""
    return _plain(value) if f"{value:e}"[0] in "25" else ""


def _plain(value: float) -> str:
    """A tick: thousands as counts are written."""
    return format_count(value) if value >= 1000 else f"{value:g}"


def _title(axes: Axes, text: str) -> None:
    """A title on as many lines as it needs."""
    axes.set_title(textwrap.fill(text, TITLE))
