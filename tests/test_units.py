"""Numbers as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adamw_scale.errors import SpecError
from adamw_scale.units import format_count, format_percent, format_share, format_significant, parse_quantity


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.3B", 1.3e9),
        ("512k", 512e3),
        ("0.5M", 5e5),
        ("26b", 26e9),
        ("15T", 15e12),
        ("2%", 0.02),
        ("3e-4", 3e-4),
        (".5", 0.5),
        ("1_000", 1000.0),
        ("16Ki", 16384.0),
        (" 7 ", 7.0),
        ("-1", -1.0),
    ],
)
def test_reads_what_people_write(text: str, value: float) -> None:
    """Suffixes, separators and exponents."""
    assert parse_quantity(text) == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize(
    "text",
    ["", "x", "1.3Q", "1..2", "nan", "inf", "--3", "1e", "0x10", "1 2", "%", "١", "1" * 10_000 + "x"],
)
def test_refuses_everything_else(text: str) -> None:
    """What is not a number is named and answered with examples."""
    with pytest.raises(SpecError, match=r"write for example 1\.3B"):
        parse_quantity(text)


@given(st.floats(1e-12, 1e15))
def test_reads_its_own_output(value: float) -> None:
    """Formatting to four digits and reading back stays within a rounding."""
    assert parse_quantity(format_count(value).replace(",", "")) == pytest.approx(
        value, rel=0.5 if value < 1000 else 1e-2, abs=1
    )
    assert parse_quantity(format_significant(value)) == pytest.approx(value, rel=0.06)


def test_percentages_keep_what_matters() -> None:
    """99.7 % is not rounded to 100 %."""
    assert [format_percent(x) for x in (0.2236, 0.9972, 1.3, 5e-5)] == ["22 %", "99.72 %", "130 %", "<0.01 %"]
    assert [format_share(x, "the run") for x in (0.2236, 32.4)] == ["22 % of the run", "32 times the run"]
