"""Parts that other packages declare: found by name, refused in one line where they cannot be imported."""

import sys
from pathlib import Path

import pytest
from conftest import Command

from adamw_scale.errors import SpecError, UnknownNameError
from adamw_scale.frameworks import FRAMEWORKS
from adamw_scale.frameworks.pytorch import PyTorch
from adamw_scale.registry import SkippedPartWarning

LAUNCH = "torchrun pretrain_gpt.py --lr 3e-4 --weight-decay 0.1 --train-iters 1000 --lr-decay-style cosine\n"
BROKEN = {
    "raises": ("raise RuntimeError('of its own')", "my_part:Mine", "RuntimeError: of its own"),
    "lacks-a-module": ("import no_such_module", "my_part:Mine", "ModuleNotFoundError"),
    "is-elsewhere": ("", "not_there:Mine", "ModuleNotFoundError"),
    "lacks-its-name": ("", "my_part:Mine", "AttributeError"),
}


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str, value: str) -> None:
    """A package of one module that declares a framework called mine."""
    information = folder / "mine-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(f"[adamw_scale.frameworks]\nmine = {value}\n")
    (folder / "my_part.py").write_text(code + "\n")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "my_part", raising=False)


def test_a_part_of_another_package_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By name, and among all."""
    install(tmp_path, monkeypatch, "from adamw_scale.frameworks.pytorch import PyTorch as Mine", "my_part:Mine")
    assert FRAMEWORKS["mine"] is PyTorch
    assert dict(FRAMEWORKS.items())["mine"] is PyTorch
    assert "mine" in FRAMEWORKS


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_part_is_one_line_where_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, adamw_scale: Command, name: str
) -> None:
    """With its package, where it should be, why it is not, and what to do."""
    code, value, why = BROKEN[name]
    install(tmp_path, monkeypatch, code, value)
    with pytest.raises(SpecError, match="my-package") as refused:
        _ = FRAMEWORKS["mine"]
    assert value in str(refused.value)
    assert why in str(refused.value)
    (tmp_path / "launch.sh").write_text(LAUNCH)
    outcome = adamw_scale("audit", str(tmp_path / "launch.sh"), "--framework", "mine")
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert "my-package" in outcome.err


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_part_is_skipped_where_all_are_looked_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, adamw_scale: Command, name: str
) -> None:
    """An audit of another framework's config, and the list, go on without it and say so."""
    install(tmp_path, monkeypatch, *BROKEN[name][:2])
    (tmp_path / "launch.sh").write_text(LAUNCH)
    with pytest.warns(SkippedPartWarning, match="skipped: framework 'mine'.*my-package"):
        assert "mine" not in dict(FRAMEWORKS.items())
    audited, listed = adamw_scale("audit", str(tmp_path / "launch.sh")), adamw_scale("list", "frameworks")
    assert audited.code == 0
    assert "pytorch" in listed.out
    for outcome in (audited, listed):
        assert outcome.err.count("\n") == 1
        assert "skipped: framework 'mine'" in outcome.err
        assert "my-package" in outcome.err


def test_an_unknown_part_is_still_unknown() -> None:
    """With the nearest name."""
    with pytest.raises(UnknownNameError, match="did you mean 'megatron'"):
        _ = FRAMEWORKS["megatro"]
