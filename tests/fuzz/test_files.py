"""Files that anybody may have written: whatever stands in them, a command answers or says one line."""

import json
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Command

from adamw_scale.calibration import fit_stored, load_calibration, load_results
from adamw_scale.errors import AdamWScaleError
from adamw_scale.probe.exchange import import_csv, to_csv
from adamw_scale.report.page import render
from adamw_scale.spec.measurement import ProbeConfig

RUN: dict[str, Any] = {"unit": "samples", "dataset_size": 1e5, "batch_size": 100, "epochs": 4, "peak_lr": 1e-3}
FLAGS = ["--samples", "1e5", "--batch-size", "100", "--epochs", "4", "--lr", "1e-3"]
SECONDS = 10
NUMBERS = (0, -1, 5e-324, 1e-310, -1e308, 1e308, 1e18, -1e18, 10**59, 1e300, 0.5, 2**63, 1e-300, 41, -41)
OTHERS = (None, True, "", "1e400", "nan", "\x1b[2J\n::error::", [], {}, [1], {"a": 1}, "x" * 5000)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with probes of two sizes and their calibration."""
    folder = tmp_path_factory.mktemp("measured")
    rows = [f"{0.01 * 2**x},{2 + (x - 3) ** 2 / 10 + seed / 100},{seed}" for x in range(7) for seed in range(2)]
    (folder / "runs.csv").write_text("\n".join(["weight_decay,loss,seed", *rows]))
    for size in (1e5, 4e5):
        import_csv(folder / "runs.csv", folder, {**RUN, "dataset_size": size})
    fit_stored(folder)
    return folder


def places(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a document."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def mutated(document: Any, chance: random.Random) -> Any:
    """A document with something else in one or two of its places, or without it."""
    copy = json.loads(json.dumps(document))
    for _ in range(chance.choice((1, 1, 2))):
        *parents, last = chance.choice(list(places(copy)))
        place = copy
        for key in parents:
            place = place[key]
        if isinstance(place, dict) and chance.random() < 0.1:
            del place[last]
        elif isinstance(place[last], int | float) and chance.random() < 0.3:
            place[last] *= chance.choice((-1, 1e3, 1e-3, 1e150, 1e-150, 1e300, 1e-300))
        else:
            place[last] = chance.choice(NUMBERS if chance.random() < 0.7 else OTHERS)
    return copy


def keyed(line: Any) -> Any:
    """A line whose key is that of its configuration, if it is one."""
    try:
        return {**line, "key": ProbeConfig.model_validate(line["config"]).key}
    except (AdamWScaleError, KeyError, TypeError):
        return line


def changed_at(document: Any, path: str, value: Any) -> Any:
    """A document with another value in one place."""
    copy = json.loads(json.dumps(document))
    place, (*parents, last) = copy, path.split(".")
    for key in parents:
        place = place[int(key) if key.isdigit() else key]
    place[last] = value
    return keyed(copy)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("config.run.peak_lr", 5e-324),
        ("config.run.peak_lr", 1e-290),
        ("config.run.weight_decay", 5e-324),
        ("config.run.weight_decay", 1e-290),
        ("config.run.weight_decay", 0),
        ("config.run.weight_decay", None),
        ("config.seed", 10**59),
        ("config.seed", -(10**59)),
        ("curve", [[1, 2.0], [2, 1e308], [3, -1e308]]),
        ("curve", [[1, 2.0], [10**40, 3.0]]),
        ("loss", 1.7e308),
        ("loss", -1.7e308),
        ("loss", 1e300),
        ("loss", 5e-324),
        ("seconds", 1e308),
        ("metrics", {"other": 1e308}),
    ],
)
def test_a_number_that_nobody_means(measured: Path, tmp_path: Path, path: str, value: Any) -> None:
    """It is left out or refused in one line, by fit, page and export alike."""
    lines = [json.loads(line) for line in (measured / "probes.jsonl").read_text().splitlines()]
    lines[3] = changed_at(lines[3], path, value)
    (tmp_path / "probes.jsonl").write_text("\n".join(map(json.dumps, lines)))
    try:
        results = load_results(tmp_path)
        to_csv(results)
        render(fit_stored(tmp_path), results, None)
    except AdamWScaleError:
        return
    assert path == "loss"  # which anybody may have measured


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("optima.0.log2_interval_95", [-1e18, 1e18]),
        ("optima.0.log2_interval_95", [-1, -1e18]),
        ("optima.0.log2_band", [-1e18, 1e18]),
        ("optima.0.log2_probed", [-1e18, 1e18]),
        ("optima.0.log2_diverged", [1e18]),
        ("optima.0.loss", 1e308),
        ("optima.0.noise", 1e308),
        ("probes.count", "many"),
        ("probes.metric", 3),
        ("slopes", {"dataset_size": {"octaves_per_factor_4": 1e18, "deviation": 1e308}}),
    ],
)
def test_a_calibration_with_a_number_that_nobody_means(
    adamw_scale: Command, measured: Path, tmp_path: Path, path: str, value: Any
) -> None:
    """It is refused in one line."""
    document = json.loads((measured / "calibration.json").read_bytes())
    shutil.copy(measured / "probes.jsonl", tmp_path)
    (tmp_path / "calibration.json").write_text(json.dumps(changed_at(document, path, value)))
    for command in (("recommend", "--calibration", str(tmp_path)), ("report", str(tmp_path))):
        outcome = adamw_scale(*command)
        assert (outcome.code, outcome.err.count("\n")) == (2, 1)


@pytest.mark.parametrize("text", ["1e400", "1e-400", "1e301", "9" * 50, "1e400min", "1e400flops", "1e308Tflops", "nan"])
def test_budgets(adamw_scale: Command, text: str) -> None:
    """One line, whatever is asked for."""
    outcome = adamw_scale("calibrate", "--plan", "--budget", text)
    assert outcome.code == 2 or text == "9" * 50
    assert outcome.err.count("\n") <= 1


def test_calibrations(adamw_scale: Command, measured: Path, tmp_path: Path) -> None:
    """`recommend --calibration` and the page of a report."""
    document, results = json.loads((measured / "calibration.json").read_bytes()), load_results(measured)
    chance, file, deadline, pages = random.Random(0), tmp_path / "calibration.json", time.monotonic() + SECONDS, 0
    for _ in range(1500):
        file.write_text(json.dumps(mutated(document, chance)))
        outcome = adamw_scale("recommend", "--calibration", str(file))
        assert outcome.code in (0, 1, 2), file.read_text()
        assert outcome.err.count("\n") <= 8
        if outcome.code == 0 and pages < 5:
            pages += 1
            render(load_calibration(file), results, None)
        if time.monotonic() > deadline:
            break


def test_probes(measured: Path, tmp_path: Path) -> None:
    """A fit, an export and a page of lines that were changed."""
    lines = [json.loads(line) for line in (measured / "probes.jsonl").read_text().splitlines()]
    chance, deadline, fitted = random.Random(1), time.monotonic() + SECONDS, 0
    refused = 0
    for _ in range(1500):
        changed, number = [*lines], chance.randrange(len(lines))
        changed[number] = keyed(mutated(lines[number], chance))
        (tmp_path / "probes.jsonl").write_text("\n".join(map(json.dumps, changed)))
        try:
            results = load_results(tmp_path)
            to_csv(results)
            calibration = fit_stored(tmp_path)
            fitted += 1
            if fitted <= 4:
                render(calibration, results, None)
        except AdamWScaleError:
            refused += 1
        if time.monotonic() > deadline:
            break
    assert fitted > 0
    assert refused > 0


def test_bytes(adamw_scale: Command, measured: Path, tmp_path: Path) -> None:
    """Any byte of any file may be another, and any end may be missing."""
    chance, deadline = random.Random(2), time.monotonic() + SECONDS / 3
    shutil.copytree(measured, tmp_path / "copy")
    for _ in range(300):
        name = chance.choice(("probes.jsonl", "calibration.json", "runs.csv"))
        content = bytearray((measured / name).read_bytes())
        for _ in range(chance.choice((1, 3))):
            content[chance.randrange(len(content))] = chance.randrange(256)
        if chance.random() < 0.2:
            del content[chance.randrange(len(content)) :]
        (tmp_path / "copy" / name).write_bytes(content)
        folder = str(tmp_path / "copy")
        command = {
            "probes.jsonl": ("probe", "export", "--out", folder, "--csv", "-"),
            "calibration.json": ("recommend", "--calibration", folder),
            "runs.csv": ("probe", "import", f"{folder}/runs.csv", "--out", str(tmp_path / "new"), *FLAGS),
        }[name]
        assert adamw_scale(*command).code in (0, 1, 2)
        if time.monotonic() > deadline:
            break
