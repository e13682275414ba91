"""The store: append-only, content-keyed, honest about damage."""

from pathlib import Path

import pytest

from adamw_scale import TrainingRun
from adamw_scale.errors import CalibrationError
from adamw_scale.probe.plan import ProbeResult, Sweep
from adamw_scale.probe.store import ProbeStore

SWEEP = Sweep(
    task={"name": "planted"},
    run=TrainingRun(dataset_size=16384, batch_size=256, epochs=32, peak_lr=2e-3, num_params=1e4),
)


def result(log2_tau: float, loss: float | None = 2.3) -> ProbeResult:
    """A finished probe."""
    config = SWEEP.config(0, log2_tau)
    return ProbeResult(key=config.key, config=config, status="done" if loss else "diverged", loss=loss, seconds=1.5)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A store with three results, one of them diverged."""
    with ProbeStore(tmp_path / "probes.jsonl") as store:
        for written in (result(-1.0, 2.3456789012345678), result(-2.0, None), result(-3.0)):
            store.append(written)
    return tmp_path / "probes.jsonl"


def test_comes_back_bit_for_bit(file: Path) -> None:
    """Losses survive writing and reading exactly; a diverged probe is a result."""
    with ProbeStore(file) as store:
        assert store.results == {r.key: r for r in (result(-1.0, 2.3456789012345678), result(-2.0, None), result(-3.0))}
        assert store.notices == []
        assert store.results[result(-2.0).key].value == float("inf")


@pytest.mark.parametrize("cut", [1, 2, 40, 300])
def test_a_torn_last_line_is_dropped_with_a_notice(file: Path, cut: int) -> None:
    """Whatever part of the last line a crash left, the others stay and the store goes on."""
    whole = file.read_bytes()
    file.write_bytes(whole[:-cut])
    with ProbeStore(file) as store:
        assert len(store.results) == 2
        assert "torn last line" in store.notices[0]
        store.append(result(-3.0))
    assert file.read_bytes() == whole


@pytest.mark.parametrize("edit", [(b'"seed":0', b'"seed":1'), (b'"status":"done"', b'"status":"diverged"')], ids=str)
def test_an_edited_result_is_refused(file: Path, edit: tuple[bytes, bytes]) -> None:
    """A key names its content, and a status goes with its loss."""
    file.write_bytes(file.read_bytes().replace(*edit))
    with pytest.raises(CalibrationError, match="line 1 is damaged"), ProbeStore(file):
        pass


def test_damage_in_the_middle_is_named(file: Path) -> None:
    """A line that was edited is not silently dropped."""
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0] + b'{"key": 3}\n' + lines[2])
    with pytest.raises(CalibrationError, match="line 2 is damaged"), ProbeStore(file):
        pass


def test_a_second_writer_is_refused(file: Path) -> None:
    """Two calibrations on one folder would interleave."""
    with ProbeStore(file), pytest.raises(CalibrationError, match="in use"), ProbeStore(file):
        pass
