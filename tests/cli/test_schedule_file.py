"""Learning rates from a file: every step, or some of them; what is no such file is refused with its line."""

import math
import tracemalloc
from pathlib import Path

import pytest

from adamw_scale.cli.schedule_file import MAX_LINE, read_schedule_file
from adamw_scale.errors import SpecError
from adamw_scale.theory.schedules import Schedule


def test_table_of_every_step_keeps_its_sum(tmp_path: Path) -> None:
    """100,000 learning rates are thinned in constant memory; mean and retention stay."""
    file, steps = tmp_path / "lr.txt", 100_000
    rates = [3e-4 * Schedule("cosine", warmup_fraction=0.1).multiplier((i + 0.5) / steps) for i in range(steps)]
    file.write_text("\n".join(f"{rate:.10g}" for rate in rates))
    schedule = Schedule("table", schedule_table=read_schedule_file(str(file)).points)
    assert len(schedule.pieces) <= 2100
    assert schedule.mean() == pytest.approx(math.fsum(rates) / steps / max(rates), rel=1e-6)


def test_table_of_points_is_joined_by_lines(tmp_path: Path) -> None:
    """A heading, commas, and two points at one step for a jump."""
    file = tmp_path / "lr.csv"
    file.write_text("step,lr\n0,0\n100,3e-4\n500,3e-4\n500,1e-4\n1000,0\n")
    schedule = Schedule("table", schedule_table=read_schedule_file(str(file)).points)
    assert schedule.mean() == pytest.approx(0.05 + 0.4 + 0.5 / 6)
    assert schedule.multiplier(0.75) == pytest.approx(1 / 6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no learning rate"),
        ("1\nx\n", "line 2"),
        ("1\n-1\n", "line 2"),
        ("1\nnan\n", "line 2"),
        ("0 1\n5 1\n3 1\n", "comes after 5"),
        ("0\n0\n", "above 0"),
        ("1 2 3\n", "line 1"),
        ("1\n1 2\n", "line 2"),
    ],
)
def test_bad_tables_are_refused_with_the_line(text: str, message: str, tmp_path: Path) -> None:
    """One sentence that says where."""
    file = tmp_path / "lr.txt"
    file.write_text(text)
    with pytest.raises(SpecError, match=message):
        read_schedule_file(str(file))


@pytest.mark.parametrize("length", [10, 199, 200, 201, MAX_LINE, 3 * MAX_LINE + 7])
def test_comments_may_be_of_any_length(length: int, tmp_path: Path) -> None:
    """On a line of their own or behind a learning rate, with numbers in them or not."""
    file = tmp_path / "lr.txt"
    file.write_text(f"#{'7 ' * length}\nlr\n1 # {'x' * length}\n\n0.5#{'9' * length}\n0.25 # no newline at the end")
    assert read_schedule_file(str(file)).steps == 3
    assert read_schedule_file(str(file)).peak == 1


def test_a_line_that_is_no_comment_is_refused_for_its_length(tmp_path: Path) -> None:
    """All learning rates on one line are not read half, and take no memory."""
    file = tmp_path / "lr.txt"
    file.write_text("1\n" + "0.5 " * 1_000_000)
    tracemalloc.start()
    with pytest.raises(SpecError, match=f"line 2: longer than {MAX_LINE} characters"):
        read_schedule_file(str(file))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def test_a_heading_may_follow_comments(tmp_path: Path) -> None:
    """The first line that holds anything may name the columns; a second such line may not."""
    file = tmp_path / "lr.csv"
    file.write_text('# exported\n\n"step","lr"\n0,1\n10,0\n')
    assert read_schedule_file(str(file)).steps == 10
    file.write_text("step,lr\nstep,lr\n0,1\n10,0\n")
    with pytest.raises(SpecError, match="line 2"):
        read_schedule_file(str(file))
