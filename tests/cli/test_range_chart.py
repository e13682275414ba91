"""Values and ranges on one logarithmic axis."""

from hypothesis import given
from hypothesis import strategies as st

from adamw_scale.cli.range_chart import Row, draw_ranges


@given(
    values=st.lists(st.floats(1e-9, 1e3), min_size=1, max_size=6),
    interval=st.tuples(st.just(0.0) | st.floats(1e-9, 1e3), st.floats(1e-9, 1e3)).filter(
        lambda ends: ends[0] < ends[1]
    ),
)
def test_a_chart_of_ranges_keeps_order_and_fits(values: list[float], interval: tuple[float, float]) -> None:
    """Whatever the values: 80 columns, a mark each, further right for larger ones; a range around its own value."""
    rows = [Row("ranged", sum(interval) / 2, interval), *(Row(f"rule {i}", value) for i, value in enumerate(values))]
    head, ranged, *lines = draw_ranges("λ", rows).splitlines()
    assert all(len(line) <= 80 for line in (head, ranged, *lines))
    marks = [line.index("●") for line in lines]
    assert [marks[i] for i in sorted(range(len(values)), key=values.__getitem__)] == sorted(marks)
    assert ranged.count("●") == 1
    assert interval[0] > 0 or "◄" in ranged or ranged.strip().endswith("●")
