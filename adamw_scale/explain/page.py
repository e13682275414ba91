"""What a page is."""

from typing import Literal

from pydantic import Field

from adamw_scale.noun import Noun


class Page(Noun):
    """One topic in plain words. `facts` are numbers by their label; the first row of `table` is its header."""

    kind: str
    topic: str
    title: str
    means: tuple[str, ...]
    formula: str | None = None
    facts: dict[str, str] = Field(default_factory=dict)
    table: tuple[tuple[str, ...], ...] = ()
    source: str
    do: str
    see: tuple[str, ...] = ()
    also: tuple[str, ...] = Field((), description="other names of the topic")


class Explanation(Noun):
    """Pages as a document."""

    schema_: Literal["adamw-scale/explanation/1"] = Field("adamw-scale/explanation/1", alias="schema")
    pages: tuple[Page, ...]
