"""adamw-scale list: every part of every kind."""

import json

import pytest
from conftest import Command

from adamw_scale.cli.list import KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_list_shows_every_part(kind: str, adamw_scale: Command) -> None:
    """As text within 80 columns, and as JSON with names."""
    text = adamw_scale("list", kind)
    rows = json.loads(adamw_scale("list", kind, "--json").out)[kind]
    assert rows
    for row in rows:
        assert row["name"] in text.out
        assert "from an installed package" not in row.values()  # none is installed here
    assert all(len(line) <= 80 for line in text.out.splitlines())
