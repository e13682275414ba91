"""The report in a real Chromium, from file://: nothing missing, nothing asked of a network, everything answers."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, ClassVar

import pytest
from conftest import Command, PlantedEngine

from adamw_scale import TrainingRun, calibrate, recommend
from adamw_scale.calibration import COMMAND_FILE, fitting, load_calibration
from adamw_scale.report import write_report
from adamw_scale.spec.measurement import ProbeConfig, ProbeResult
from adamw_scale.theory.basin import fit_basin
from adamw_scale.training.tasks.task import Listener
from adamw_scale.units import format_significant

CHROMIUM = Path(__file__).with_name("scripts") / "chromium.py"
CONTRAST, CUT = (CHROMIUM.with_name(name).read_text() for name in ("contrast.js", "cut.js"))
MACHINE = {"device": "<img src=x onerror=alert(1)>", "torch": "2.13.0"}


class Curved(PlantedEngine):
    """Planted basins with loss curves, a machine, and now and then a probe that diverged."""

    def result(self, config: ProbeConfig, listener: Listener) -> ProbeResult:
        """As planted, and more."""
        planted = super().result(config, listener)
        if config.log2_tau < -5.5:
            return planted.model_copy(update={"status": "diverged", "loss": None})
        curve = tuple((step, 3.0 / (1 + step) ** 0.1) for step in range(1, 60, 6))
        return planted.model_copy(update={"curve": curve, "machine": MACHINE})


class Falling(Curved):
    """The longer the timescale, the lower the loss."""

    minimum: ClassVar[float] = 30.0


class Negative(Curved):
    """Losses and curves below zero, as of a log-likelihood."""

    def result(self, config: ProbeConfig, listener: Listener) -> ProbeResult:
        """As planted, ten lower."""
        planted = super().result(config, listener)
        curve = tuple((step, loss - 10) for step, loss in planted.curve)
        return planted.model_copy(update={"loss": planted.loss and planted.loss - 10, "curve": curve})


class Level(Curved):
    """Nothing but noise."""

    depth: ClassVar[float] = 0.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A calibration of two sizes and three learning rates, with its report."""
    out = tmp_path_factory.mktemp("calibration")
    calibrate(out, engine=Curved, axes={"dataset_size": ["1x", "4x"]}, tune_lr=True)
    (out / COMMAND_FILE).write_text("adamw-scale calibrate --out '</script><script>alert(1)</script>'\n")
    write_report(out)
    return out


def browse(file: Path, width: int, scheme: str, *scripts: str) -> dict[str, Any]:
    """What happened in Chromium."""
    command = [sys.executable, str(CHROMIUM), str(file), str(width), scheme, *scripts]
    outcome = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert outcome.returncode == 0, outcome.stderr[-2000:]
    found: dict[str, Any] = json.loads(outcome.stdout)
    assert found["loaded"]
    assert found["console"] == []
    assert found["requests"] == [file.as_uri()]
    return found


@pytest.mark.parametrize(("width", "scheme"), [(320, "light"), (420, "dark"), (800, "dark"), (1400, "light")])
def test_it_opens_without_a_word(width: int, scheme: str, folder: Path) -> None:
    """No console message, no request but its own, the answer as text, nothing cut at the side, the asked colours."""
    scripts = (
        CUT,
        "document.querySelector('.headline').innerText",
        "getComputedStyle(document.body).backgroundColor",
        "[...document.querySelectorAll('figure svg')].every(e => e.matches('[role=img][aria-label]'))",
        "[...document.querySelectorAll('[id]')].every(e => document.querySelectorAll(`[id='${e.id}']`).length == 1)",
        "document.querySelectorAll('script').length",
        CONTRAST,
    )
    cut, headline, background, alternatives, unique, scripted, faintest = browse(
        folder / "report.html", width, scheme, *scripts
    )["results"]
    calibration = load_calibration(folder)
    advice = recommend(calibration.optima[0].run, calibration=calibration)
    assert f"weight decay {format_significant(advice.weight_decay)}" in headline
    assert cut == []
    assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(22, 24, 28)"}[scheme]
    assert alternatives
    assert unique
    assert scripted == 2  # the page's own, and its data
    assert faintest[0] >= 4.5, faintest  # WCAG 2.2, 1.4.3


SMALLEST = """
Math.min(...[...document.querySelectorAll('figure svg')].filter(s => s.checkVisibility()).flatMap(s =>
  [...s.querySelectorAll('text')].map(t => parseFloat(getComputedStyle(t).fontSize) * s.getScreenCTM().a)))
"""


def test_figures_fit_a_telephone(folder: Path) -> None:
    """At 420 pixels no figure is wider than its place, none is cut, and the smallest letters are 9 pixels or more."""
    wide = "[...document.querySelectorAll('figure, figure svg')].filter(e => e.scrollWidth > e.clientWidth).length"
    cut, wider, smallest = browse(folder / "report.html", 420, "light", CUT, wide, SMALLEST)["results"]
    assert cut == []
    assert wider == 0
    assert smallest >= 9


def test_what_weight_decays_cost_is_said_of_every_run(folder: Path) -> None:
    """Under each picture of a basin, and in the answer."""
    costs, answer = "[...document.querySelectorAll('.costs')].map(e => e.innerText)", "#answer dl"
    said, dl = browse(folder / "report.html", 800, "light", costs, f"document.querySelector('{answer}').innerText")[
        "results"
    ]
    assert len(said) == len(load_calibration(folder).optima)
    for each in said:
        assert "costs no more than 0.2 % of the loss; λ 0.1 " in each
    assert said[0].rstrip(".") in dl


def test_counts_are_written_out(tmp_path: Path) -> None:
    """16,384 stays 16,384 in the selector, captions, titles and at the axes."""
    calibrate(tmp_path, engine=Curved, run={"dataset_size": 16384}, axes={"dataset_size": ["1x", "4x"]})
    write_report(tmp_path)
    text, options = browse(
        tmp_path / "report.html",
        800,
        "light",
        "document.body.innerText",
        "[...document.querySelector('[name=dataset_size]').options].map(o => o.text)",
    )["results"]
    assert options[1:3] == ["16,384", "65,536"]
    assert "16,384 tokens" in text
    page = (tmp_path / "report.html").read_text()
    assert ">16,384<" in page
    assert not re.search(r"16\.38|16,380|1\.638e", page)


def test_everything_answers(folder: Path) -> None:
    """Sorting by mouse and by keyboard, the target's λ as `recommend` says it, and the other axes of the curves."""
    column = "[...document.querySelectorAll('#probes tbody tr')].map(r => Number(r.cells[1].dataset.value))"
    scripts = (
        "document.querySelectorAll('#probes th button')[1].click()",
        column,
        "document.querySelectorAll('#probes th button')[1].focus()",
        "press Return",
        column,
        "document.querySelectorAll('#probes th')[1].getAttribute('aria-sort')",
        "document.querySelector('[name=dataset_size]').selectedIndex = 4",
        "document.querySelector('[name=dataset_size]').dispatchEvent(new Event('change', {bubbles: true}))",
        "document.getElementById('selected').textContent",
        "document.querySelector('.curves.logarithmic').checkVisibility()",
        "document.getElementById('axes').click()",
        "[...document.querySelectorAll('.curves')].map(e => e.checkVisibility())",
    )
    results = browse(folder / "report.html", 1280, "light", *scripts)["results"]
    up, down = results[1], results[3]
    assert up == sorted(up)
    assert down == sorted(up, reverse=True)
    assert results[4] == "descending"
    calibration = load_calibration(folder)
    base = calibration.optima[0].run
    larger = TrainingRun.model_validate({**base.model_dump(), "dataset_size": base.dataset_size * 64})
    advice = recommend(larger, calibration=calibration)
    assert results[7].startswith(f"weight decay {format_significant(advice.weight_decay)}, range")
    assert results[8] is False
    assert results[10] == [False, True]


def test_what_trained_is_said_in_words(folder: Path) -> None:
    """One line for each machine: what it is and which torch it had."""
    machines = "[...document.querySelectorAll('dt')].filter(t => t.innerText == 'machine')"
    (said,) = browse(folder / "report.html", 800, "light", f"{machines}.map(t => t.nextElementSibling.innerText)")[
        "results"
    ]
    assert said == [f"device {MACHINE['device']}, torch 2.13.0"]


def test_every_basin_is_fitted_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page draws what a fit says of each run's probes, and asks no more often."""
    fits = []
    monkeypatch.setattr(fitting, "fit_basin", lambda *probes: fits.append(fit_basin(*probes)) or fits[-1])
    write_report(folder)
    assert len(fits) == len(load_calibration(folder).optima)


@pytest.mark.parametrize(("engine", "says"), [(Falling, "edge"), (Level, "flat")])
def test_what_was_not_located_says_what_to_do(engine: type[Curved], says: str, tmp_path: Path) -> None:
    """No λ, no selector; status, advice and every probe."""
    calibrate(tmp_path, engine=engine)
    write_report(tmp_path)
    scripts = ("document.getElementById('answer').innerText", "document.getElementById('target') === null")
    answer, none = browse(tmp_path / "report.html", 1280, "light", *scripts)["results"]
    assert f"No optimum was located: {says}" in answer
    assert "train" in answer
    assert none


@pytest.mark.filterwarnings("error")
def test_losses_below_zero_have_linear_axes_only(tmp_path: Path) -> None:
    """No logarithm of what has none, and no button for it."""
    calibrate(tmp_path, engine=Negative)
    write_report(tmp_path)
    scripts = ("document.querySelectorAll('.curves').length", "document.getElementById('axes') === null")
    scripts += ("document.querySelector('.curves').checkVisibility()",)
    assert browse(tmp_path / "report.html", 1280, "light", *scripts)["results"] == [1, True, True]


def test_under_mup_it_answers_for_hidden_matrices(tmp_path: Path) -> None:
    """As `recommend` does: the headline and the selector are theirs, and every group is listed."""
    calibrate(tmp_path, engine=Curved, run={"parametrization": "mup", "base_width": 16})
    write_report(tmp_path)
    scripts = (
        "document.querySelector('#answer .headline').innerText",
        "document.getElementById('selected').innerText",
        "document.querySelector('#answer table').innerText",
    )
    headline, selected, groups = browse(tmp_path / "report.html", 400, "dark", *scripts)["results"]
    calibration = load_calibration(tmp_path)
    advice = recommend(calibration.optima[0].run, calibration=calibration)
    hidden = advice.param_groups[0]
    assert hidden.weight_decay > advice.base_weight_decay
    for text in (headline, selected):
        assert f"weight decay {format_significant(hidden.weight_decay)}, range" in text
        assert f"peak lr {hidden.peak_lr:g}" in text
    assert all(group.group in groups for group in advice.param_groups)


def test_a_number_not_to_be_used_is_said_to_be_none(tmp_path: Path) -> None:
    """A learning rate so low that fewer data need more decay than was ever published; more need less.

    What was measured itself may be used, however strange it is.
    """
    calibrate(tmp_path, engine=Curved, run={"peak_lr": 1e-4})
    write_report(tmp_path)

    def chosen(place: int) -> tuple[str, str, str]:
        return (
            f"document.querySelector('[name=dataset_size]').selectedIndex = {place}",
            "document.querySelector('[name=dataset_size]').dispatchEvent(new Event('change', {bubbles: true}))",
            "document.getElementById('selected').innerText",
        )

    scripts = ("document.getElementById('answer').innerText", *chosen(0), *chosen(2))
    results = browse(tmp_path / "report.html", 1280, "light", *scripts)["results"]
    answer, small, large = results[0], results[3], results[6]
    assert "Not usable" not in answer
    assert "Not usable as it is, see weight-decay" in small
    assert large.startswith("weight decay")
    assert "Not usable" not in large


class Outline(HTMLParser):
    """Counts elements and keeps the text of headings."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Count it."""
        self.tags.append(tag)


def test_names_cannot_become_markup(folder: Path) -> None:
    """What users named stays text; nothing links outwards."""
    page = (folder / "report.html").read_text()
    outline = Outline()
    outline.feed(page)
    assert outline.tags.count("script") == 2
    assert "img" not in outline.tags
    assert "onerror=alert" not in page.replace("&lt;img src=x onerror=alert", "")
    assert not {"link", "iframe", "object"} & set(outline.tags)


def test_the_same_calibration_gives_the_same_page(folder: Path) -> None:
    """Bytes do not depend on when it was written."""
    first = (folder / "report.html").read_bytes()
    write_report(folder)
    assert (folder / "report.html").read_bytes() == first
    assert len(first) < 1_000_000


def test_the_command_rebuilds_it(folder: Path, adamw_scale: Command) -> None:
    """`adamw-scale report DIR` says where it is; a folder without a calibration is refused in one line."""
    outcome = adamw_scale("report", str(folder), "--json")
    assert json.loads(outcome.out) == {"schema": "adamw-scale/report/1", "report": str(folder / "report.html")}
    nothing = adamw_scale("report", str(folder / "no"))
    assert nothing.code == 2
    assert nothing.err.count("\n") == 1


def test_a_calibration_goes_on_without_a_report(tmp_path: Path, adamw_scale: Command) -> None:
    """Where none can be written, one line says so; the answer and the exit status are as they were."""
    calibrate(tmp_path, engine=Curved)
    (tmp_path / "report.html").mkdir()
    outcome = adamw_scale("calibrate", "--fit-only", "--out", str(tmp_path), "--json")
    assert outcome.code == 0
    assert json.loads(outcome.out)["optima"]
    assert "no report: " in outcome.err
    assert "report.html" in outcome.err
