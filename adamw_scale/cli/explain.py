"""adamw-scale explain: what a word, a code or a name means."""

import textwrap
from collections.abc import Iterable
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

from adamw_scale.cli.shared import JsonOption
from adamw_scale.cli.text import columns, paragraphs_of, styled, width
from adamw_scale.errors import SpecError

if TYPE_CHECKING:
    from adamw_scale.explain import Page


def command(
    topic: Annotated[
        str | None,
        typer.Argument(
            help="a word, code or name; kind:name where several kinds have it; all topics are listed if none is given",
            metavar="[TOPIC]",
        ),
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every page there is.")] = False,
    json: JsonOption = False,
) -> None:
    """What a word, a caution's or finding's code, a rule, convention, framework or JSON document means, offline.

    adamw-scale explain inert

    adamw-scale explain recommendation

    adamw-scale explain convention:composer

    adamw-scale explain --all | less
    """
    from adamw_scale.explain import Explanation, pages, pages_on

    if topic is not None and all_:
        raise SpecError("--all prints every page: drop it, or TOPIC")
    found = pages() if topic is None else pages_on(topic)
    if json:
        print(Explanation(pages=found).to_json())
    elif topic is None and not all_:
        print(_listed(found))
    else:
        print("\n\n\n".join(_rendered(page) for page in found))


def _listed(found: Iterable["Page"]) -> str:
    """Topics by kind, one line each."""
    parts = []
    for kind, group in groupby(found, lambda page: page.kind):
        rows = [(page.topic, page.title) for page in group]
        size = max(len(topic) for topic, _ in rows)
        room = max(20, width() - size - 4)
        lines = (f"  {topic:{size}}  {textwrap.shorten(title, room, placeholder=' …')}" for topic, title in rows)
        parts.append("\n".join([styled(kind, bold=True), *lines]))
    return "\n\n".join(parts)


def _rendered(page: "Page") -> str:
    """A page as a person reads it."""
    head = "\n".join(textwrap.wrap(f"{page.topic} ({page.kind}): {page.title}", width(), break_long_words=False))
    parts = [styled(head, bold=True), *(_paragraph(each) for each in page.means)]
    if page.table:
        header, *rows = page.table
        parts.append(columns(header, rows))
    said = {"formula": page.formula, **page.facts, "source": page.source, "what to do": page.do}
    if page.see:
        said["see"] = ", ".join(page.see)
    parts.append(paragraphs_of({label: text for label, text in said.items() if text}))
    return "\n\n".join(parts)


def _paragraph(text: str) -> str:
    return textwrap.fill(text, width() - 2, initial_indent="  ", subsequent_indent="  ", break_long_words=False)
