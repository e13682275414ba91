"""Whose config a text is, by keys that few frameworks share."""

from collections import Counter

from adamw_scale.errors import SpecError
from adamw_scale.formats.document import Document
from adamw_scale.frameworks import FRAMEWORKS


def recognized(document: Document) -> str:
    """The framework whose signs the document shows most of; a sign of several counts less.

    Raises:
        SpecError: it shows none, or as many of two.
    """
    keys = document.keys()
    known = dict(FRAMEWORKS.items())
    parts = {name: part for name, part in known.items() if document.format in part.formats}
    inherited = {
        name: {sign for base in part.__bases__ for sign in getattr(base, "signs", ())} for name, part in parts.items()
    }
    shared = Counter(sign for name, part in parts.items() for sign in part.signs - inherited[name])
    scores = {name: sum(1 / shared[sign] for sign in part.signs & keys) for name, part in parts.items()}
    best = max(scores.values())
    tied = [name for name, score in scores.items() if score > best * (1 - 1e-9)]
    names = [name for name in tied if not any(parts[name] in parts[other].__subclasses__() for other in tied)]
    if best and len(names) == 1:
        return names[0]
    which = f"it could be of {' or '.join(names)}" if best else "it shows the keys of none that is read"
    readable = ", ".join(name for name, part in known.items() if part.reads)
    raise SpecError(f"whose config this is cannot be told, {which}: pass --framework with one of {readable}")
