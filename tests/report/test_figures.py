"""Pictures as files: three kinds, the same bytes every time, refused before anything takes time."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Command, PlantedEngine
from matplotlib.figure import Figure

from adamw_scale import TrainingRun, calibrate, recommend
from adamw_scale.calibration import load_results, probes_of
from adamw_scale.report import answer_figure, basin_figure, scaling_figure
from adamw_scale.report.figures import BAND_POINTS, _plain_numbers, last_point
from adamw_scale.report.files import svg
from adamw_scale.spec.measurement import ProbeConfig, ProbeResult
from adamw_scale.units import format_significant

MAGIC = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}
LM = ("--params", "1.3B", "--tokens", "26B", "--batch-size", "0.5M", "--lr", "3e-4")


@pytest.mark.parametrize("suffix", MAGIC)
@pytest.mark.parametrize("command", ["recommend", "timescale"])
def test_plot_writes_the_kind_of_file_it_names(command: str, suffix: str, tmp_path: Path, adamw_scale: Command) -> None:
    """Beside the text, which stays the same; twice the same bytes."""
    file = tmp_path / f"picture{suffix}"
    outcome = adamw_scale(command, *LM, "--plot", str(file))
    assert outcome.code == 0, outcome.err
    assert outcome.out == adamw_scale(command, *LM).out
    first = file.read_bytes()
    assert first.startswith(MAGIC[suffix])
    adamw_scale(command, *LM, "--plot", str(file))
    assert file.read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


@pytest.mark.parametrize(
    ("file", "says"),
    [("a.jpg", ".png, .svg or .pdf"), ("picture", ".png, .svg or .pdf"), ("no/such/a.png", "no folder")],
)
def test_other_files_are_refused(
    file: str, says: str, tmp_path: Path, adamw_scale: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line, exit 2, nothing written."""
    monkeypatch.chdir(tmp_path)
    outcome = adamw_scale("recommend", *LM, "--plot", file)
    assert outcome.code == 2
    assert says in outcome.err
    assert not list(tmp_path.iterdir())


def test_a_plot_needs_a_learning_rate(tmp_path: Path, adamw_scale: Command) -> None:
    """Without one there is no weight decay to draw."""
    outcome = adamw_scale("recommend", *LM[:-2], "--plot", str(tmp_path / "a.png"))
    assert outcome.code == 2
    assert "--lr" in outcome.err


def test_the_answer_names_every_rule() -> None:
    """Labels are text in the SVG, and every mark says its number."""
    advice = recommend(TrainingRun(dataset_size="26B", batch_size="0.5M", peak_lr=3e-4, num_params="1.3B"))
    drawn = svg(answer_figure(advice), "answer", 'λ & "more"')
    for rule in (advice.rule, *(other.rule for other in advice.alternatives)):
        assert f">{rule}<" in drawn
    assert "<title>fixed: λ 0.1</title>" in drawn
    assert 'aria-label="λ &amp; &#34;more&#34;"' in drawn
    assert "#0065a8" not in drawn  # colours are the page's


def test_a_basin_shows_every_probe(tmp_path: Path, planted: type[PlantedEngine]) -> None:
    """A mark for each probe of the run, none for those of another."""
    calibration = calibrate(tmp_path, engine=planted, axes={"dataset_size": ["1x", "4x"]})
    results = load_results(tmp_path)
    for optimum in calibration.optima:
        own = probes_of(calibration, optimum, results)
        drawn = svg(basin_figure(optimum, own), "basin", "")
        assert drawn.count("<title>seed ") == len(own)
    assert len(results) == sum(len(probes_of(calibration, optimum, results)) for optimum in calibration.optima)
    assert svg(scaling_figure(calibration, "dataset_size"), "scaling", "").count(": located, timescale") == 2


def drawn(figure: Figure) -> dict[str, np.ndarray]:
    """What the parts of a basin's picture are drawn from, by their names in the legend: points of shape (n, 2)."""
    axes = figure.axes[0]
    parts = {line.get_label(): line.get_xydata() for line in axes.lines}
    parts |= {area.get_label(): area.get_paths()[0].vertices for area in axes.collections}
    parts |= {span.get_label(): span.get_corners() for span in axes.patches}
    return {str(name): np.asarray(points) for name, points in parts.items() if not str(name).startswith("_")}


@pytest.mark.parametrize("maximize", [False, True])
def test_the_fitted_basin_is_drawn_over_its_probes(
    maximize: bool, tmp_path: Path, planted: type[PlantedEngine]
) -> None:
    """Its mean runs through the probes and is best at the optimum, inside its band; intervals are the fit's."""
    calibration = calibrate(tmp_path, engine=planted)
    base, sign = calibration.optima[0], -1 if maximize else 1
    scored = [
        result.model_copy(update={"metrics": {"score": -result.value}})
        for result in probes_of(calibration, base, load_results(tmp_path))
    ]
    figure = basin_figure(base, scored, "score" if maximize else "loss", maximize=maximize)
    parts = drawn(figure)
    (x, mean), band = parts["fitted mean"].T, parts["fit, 80 %"]
    best = np.argmin(sign * mean)
    assert x[best] == pytest.approx(np.log2(base.timescale_run), abs=0.1)
    assert mean[best] == pytest.approx(sign * (base.loss or 0), rel=1e-6)
    for at, value in zip(x, mean, strict=True):
        ends = band[np.isclose(band[:, 0], at), 1]
        assert ends.min() < value < ends.max()
    marks = np.array([line.get_xydata()[0] for line in figure.axes[0].lines if "seed" in str(line.get_gid())])
    near = marks[(marks[:, 0] >= x[0]) & (marks[:, 0] <= x[-1])]
    assert len(near) > 5
    assert np.abs(np.interp(near[:, 0], x, mean) - near[:, 1]).max() < 4 * planted.noise
    assert base.log2_band is not None
    assert base.log2_interval_95 is not None
    for name, (low, high) in {
        "optimum, 80 %": base.log2_interval,
        "optimum, 95 %": base.log2_interval_95,
        "within 0.2 % of the best": base.log2_band,
    }.items():
        assert (parts[name][:, 0].min(), parts[name][:, 0].max()) == pytest.approx((low, high))


def test_a_flat_basin_has_no_optimum_drawn(tmp_path: Path, planted: type[PlantedEngine]) -> None:
    """The fit is there, the plateau too, and no interval that would say where to go."""
    planted.depth = 0.0
    base = calibrate(tmp_path, engine=planted).optima[0]
    assert base.status == "flat"
    parts = drawn(basin_figure(base, load_results(tmp_path)))
    assert {"fitted mean", "fit, 80 %", "within 0.2 % of the best"} <= set(parts)
    assert not {"optimum, 80 %", "optimum, 95 %"} & set(parts)


def test_too_few_probes_are_drawn_without_a_fit(tmp_path: Path, planted: type[PlantedEngine]) -> None:
    """Three timescales show their probes; nothing is claimed of a basin."""
    base = calibrate(tmp_path, engine=planted).optima[0]
    few = load_results(tmp_path)[:3]
    parts = {"λ 0.1, the usual", *(f"seed {result.config.seed}" for result in few)}
    assert set(drawn(basin_figure(base, few))) == parts


def test_everything_drawn_of_a_basin_says_its_numbers(tmp_path: Path, planted: type[PlantedEngine]) -> None:
    """Probes, the fit, its intervals, the usual λ and every scale: each has a title."""
    calibration = calibrate(tmp_path, engine=planted, axes={"dataset_size": ["1x", "4x"]})
    optimum, results = calibration.optima[1], load_results(tmp_path)
    own = probes_of(calibration, optimum, results)
    titles = re.findall("<title>(.*?)</title>", svg(basin_figure(optimum, own), "basin", ""))
    for start in ("seed 0, timescale", "fit, timescale", "within 0.2 %", "optimum, 80 %", "optimum: ", "the usual"):
        (first, *_) = [title for title in titles if title.startswith(start)]
        assert re.search(r"timescale .* of the run, λ ", first), first
    for result in own:
        decay = format_significant(result.config.run.current_weight_decay, 3)
        assert any(f"λ {decay}: loss {result.loss:.4f}" in title for title in titles)
    titles = re.findall("<title>(.*?)</title>", svg(scaling_figure(calibration, "dataset_size"), "scaling", ""))
    assert sum(", 80 % from " in title for title in titles) == BAND_POINTS


@pytest.mark.parametrize(("value", "text"), [(16384, "16,384"), (100_000, "100,000"), (0.05, "0.05"), (20.0, "20")])
def test_ticks_are_written_out(value: float, text: str) -> None:
    """No 16.38k, and no 1e+05."""
    figure = Figure()
    axes = figure.subplots()
    axes.set_xscale("log")
    axes.set_xlim(value / 2, value * 2)
    _plain_numbers(axes)
    assert axes.xaxis.get_major_formatter()(value, 0) == text


def ends_with(curve: tuple[tuple[int, float], ...], **fields: Any) -> str:
    """What is said of the last point of such a curve."""
    run = TrainingRun(dataset_size=1e5, batch_size=100, epochs=4, peak_lr=1e-3, weight_decay=0.1)
    config = ProbeConfig(task={"name": fields.pop("task", "mlp")}, run=run, seed=0)
    return last_point(ProbeResult(key=config.key, config=config, status="done", seconds=0, curve=curve, **fields))


def test_a_last_point_that_is_of_another_kind_is_named() -> None:
    """A mean of one step among means of 25, or a held-out loss among training losses; other curves are left alone."""
    assert ends_with(((25, 3.0), (50, 2.5), (51, 2.9)), loss=3.0) == "the mean of 1 steps, where others are of 25"
    assert ends_with(((25, 3.0), (50, 2.5), (74, 2.4)), loss=3.0) == ""
    assert ends_with(((10, 3.0), (20, 2.5), (21, 2.9)), loss=2.9, task="command").startswith("the held-out result")
    assert ends_with(((10, 3.0), (20, 2.5), (21, 2.4)), loss=2.9, task="command") == ""
    assert ends_with(((1, 3.0), (2, 2.5)), loss=2.4) == ""


def test_calibrate_plots_its_basin(tmp_path: Path, adamw_scale: Command) -> None:
    """Also where nothing is trained, and where nothing was located; in the terminal only if asked."""
    script = 'python -c "import json; print(json.dumps(dict(loss=2 + 0 * {weight_decay})))"'
    out = tmp_path / "out"
    options = ["--samples", "4k", "--batch-size", "4", "--epochs", "1", "--lr", "1e-3", "--seeds", "2", "--budget", "7"]
    outcome = adamw_scale("calibrate", "--out", str(out), *options, "--command", script)
    assert outcome.code == 1, outcome.err
    assert f"report: {out / 'report.html'}" in outcome.err
    assert "flat" in (out / "report.html").read_text()
    drawn = adamw_scale(
        "calibrate", "--out", str(out), "--fit-only", "--picture", "--plot", str(tmp_path / "basin.svg")
    )
    assert "seeds at one level" in drawn.out
    assert all(len(line) <= 80 for line in drawn.out.splitlines() if "|" in line)
    assert (tmp_path / "basin.svg").read_bytes().startswith(b"<?xml")


def test_without_the_extra_one_line_says_so(adamw_scale: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exact command to install it, exit 2."""
    import sys

    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib" or "adamw_scale.report" in name]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    outcome = adamw_scale("recommend", *LM, "--plot", "a.png")
    assert outcome.code == 2
    assert "pip install 'adamw-scale[report]'" in outcome.err
    assert outcome.err.count("\n") == 1
