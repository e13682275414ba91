"""All pages by kind, and the ones that a topic means."""

from collections.abc import Callable, Iterable
from functools import cache

from adamw_scale.errors import UnknownNameError
from adamw_scale.explain import generated, schemas
from adamw_scale.explain.page import Page
from adamw_scale.explain.written import written_pages

KINDS: dict[str, Callable[[], Iterable[Page]]] = {
    "term": lambda: written_pages("term"),
    "rule": generated.rules,
    "law": generated.law,
    "caution": lambda: written_pages("caution"),
    "input": lambda: written_pages("input"),
    "finding": lambda: written_pages("finding"),
    "status": lambda: written_pages("status"),
    "convention": generated.convention_pages,
    "parametrization": generated.parametrizations,
    "schedule": generated.schedules,
    "weight-decay-schedule": generated.weight_decay_schedules,
    "lr-law": generated.lr_laws,
    "framework": generated.frameworks,
    "schema": schemas.document_pages,
    "object": schemas.object_pages,
}


@cache
def pages() -> tuple[Page, ...]:
    """Every page, kind by kind."""
    return tuple(page for kind in KINDS.values() for page in kind())


def pages_on(topic: str) -> tuple[Page, ...]:
    """The pages that a topic means: several where kinds share a name, of which kind:name takes one.

    Case does not matter, and spaces and underscores are hyphens.

    Raises:
        UnknownNameError: there is none.

    Example:
        >>> [page.kind for page in pages_on("Linear")]
        ['schedule', 'weight-decay-schedule']
        >>> [page.topic for page in pages_on("term:TAU")]
        ['timescale']
    """
    kind, _, name = _spelled(topic).rpartition(":")
    found = tuple(
        page for page in pages() if kind in ("", page.kind) and name in map(_spelled, (page.topic, *page.also))
    )
    if not found:
        known = {_spelled(each) for page in pages() for each in (page.topic, *page.also)}
        raise UnknownNameError("topic", topic, known, lister="adamw-scale explain")
    return found


def _spelled(topic: str) -> str:
    return "-".join(topic.lower().replace("_", " ").split())
