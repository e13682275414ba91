"""Figures as files, whole or not at all, and as SVG inside a page."""

import io
import re
from html import unescape
from pathlib import Path
from typing import Final

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from adamw_scale.errors import SpecError
from adamw_scale.files import write_atomically
from adamw_scale.report import figures

SUFFIXES = (".png", ".svg", ".pdf")
NAMES = ("ink", "faint", "grid", "blue", "orange", "green", "purple", "olive")
PAGE_COLOURS: Final = {getattr(figures, name.upper()): f"--{name}" for name in NAMES}  # the page's know light and dark


def suffix_of(path: str | Path) -> str:
    """What kind of file a path names; SpecError for any but SUFFIXES."""
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise SpecError(f"--plot {str(path)[:200]!r}: pass a file that ends in .png, .svg or .pdf")
    return suffix


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as what the path's suffix says; the same figure gives the same bytes.

    Raises:
        SpecError: another suffix, or no folder there.
        OSError: the file cannot be written.
    """
    suffix, file = suffix_of(path), Path(path)
    if not file.parent.is_dir():
        raise SpecError(f"--plot {str(path)[:200]!r}: there is no folder {str(file.parent)[:200]!r}; make it first")
    undated = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}[suffix]
    content = io.BytesIO()
    with mpl.rc_context({**figures.STYLE, "svg.hashsalt": "adamw_scale"}):
        figure.savefig(content, format=suffix[1:], dpi=200, metadata=undated)
    write_atomically(file, content.getvalue())


def svg(figure: Figure, name: str, alternative: str) -> Markup:
    """A figure as an <svg> element: its colours are the page's, its ids are its own, its marks can be pointed at.

    Args:
        figure: To draw.
        name: Prefix of all ids; a word that no other figure of the page has.
        alternative: What the picture says, for who cannot see it.
    """
    content = io.StringIO()
    with mpl.rc_context({**figures.STYLE, "svg.hashsalt": name}):
        figure.savefig(content, format="svg", transparent=True, metadata={"Date": None})
    text = content.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    for colour, variable in PAGE_COLOURS.items():
        text = text.replace(colour, f"var({variable})")
    marks = {gid for artist in figure.findobj() if (gid := artist.get_gid())}
    text = re.sub(r"<g id=(\"[^\"]*\"|'[^']*')>", lambda found: _group(unescape(found[1][1:-1]), marks), text)
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", text)
    head = f'<svg role="img" aria-label="{escape(alternative)}" preserveAspectRatio="xMidYMid meet"'
    size = re.search(r'width="[^"]*" height="[^"]*"', text)
    if size is not None:
        text = text.replace(size[0], "", 1)
    return Markup(text.replace("<svg", head, 1))  # noqa: S704  # what matplotlib wrote, which escapes what it is given


def _group(identifier: str, marks: set[str]) -> str:
    """The start of a group: a mark says, on pointing at it, what its gid says; others keep their id."""
    if identifier in marks:
        return f'<g class="mark"><title>{escape(identifier)}</title>'
    return f'<g id="{escape(identifier)}">'
