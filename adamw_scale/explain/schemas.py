"""Pages of the documents that --json prints: every noun with a schema's name, and the objects inside of them."""

import inspect
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from adamw_scale.explain.page import Page
from adamw_scale.noun import Noun

PACKAGE = Path(__file__).parents[1]
SCHEMA = re.compile(r"adamw-scale/([a-z-]+)/\d+")
SECTIONS = ("Raises:", "Example:", "Args:")  # of a docstring that are for Python
LEFT_OUT = "after a name: the field is left out where there is nothing to say"

Json = dict[str, Any]


@cache
def documents() -> dict[str, type[Noun]]:
    """Every noun that is a document of its own, by the middle of its schema's name.

    Example:
        >>> documents()["recommendation"].__name__
        'Recommendation'
    """
    nouns = [noun for module in _modules() for noun in _nouns_of(module)]
    return {SCHEMA.sub(r"\1", noun.model_fields["schema_"].default): noun for noun in nouns}


def schema_of(noun: type[Noun]) -> Json:
    """The JSON schema (draft 2020-12) of what `to_json` writes."""
    return noun.model_json_schema(mode="serialization")


def document_pages() -> Iterator[Page]:
    """Documents, with their fields."""
    for topic, noun in sorted(documents().items()):
        name = str(noun.model_fields["schema_"].default)
        yield _page(
            "schema",
            topic,
            schema_of(noun),
            facts={"schema": name},
            source=f"code of this program, {noun.__module__}",
            do=f"from {noun.__module__} import {noun.__name__}; {noun.__name__}.from_json(text) reads it.",
            also=(name, name.removeprefix("adamw-scale/")),
        )


def object_pages() -> Iterator[Page]:
    """What is inside of documents, each once."""
    own = {noun.__name__ for noun in documents().values()}
    inside: dict[str, Json] = {}
    holders: dict[str, list[str]] = {}
    for topic, noun in sorted(documents().items()):
        for name, schema in schema_of(noun).get("$defs", {}).items():
            inside[name] = schema
            holders.setdefault(name, []).append(topic)
    for name, schema in sorted(inside.items(), key=lambda item: _topic(item[0])):
        if "properties" in schema and name not in own:
            schema.setdefault("description", f"A part of {holders[name][0]}.")  # pydantic 2.7 has none of a dataclass
            yield _page(
                "object",
                _topic(name),
                schema,
                facts={"inside of": ", ".join(holders[name])},
                source="code of this program",
                do=f"Read it as a part of {holders[name][0]}.",
            )


def _modules() -> Iterator[str]:
    """Modules that name a schema, found without importing the others, some of which take seconds."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if 'alias="schema"' in path.read_text(encoding="utf-8"):
            yield ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)


def _nouns_of(module: str) -> list[type[Noun]]:
    return [
        each
        for each in vars(import_module(module)).values()
        if inspect.isclass(each) and issubclass(each, Noun) and each.__module__ == module
        if "schema_" in each.model_fields
    ]


def _page(
    kind: str, topic: str, schema: Json, *, facts: dict[str, str], source: str, do: str, also: tuple[str, ...] = ()
) -> Page:
    first, *more = _paragraphs(schema.get("description", ""))
    fields = schema["properties"]
    optional = {name for name, field in fields.items() if {"type": "null"} in field.get("anyOf", ())}
    rows = [
        (name + "?" * (name in optional), " · ".join(filter(None, (_type(field), field.get("description", "")))))
        for name, field in fields.items()
    ]
    return Page(
        kind=kind,
        topic=topic,
        title=first.removesuffix("."),
        means=tuple(more),
        facts={**facts, **({"?": LEFT_OUT} if optional else {})},
        table=(("field", "what it holds"), *rows),
        source=source,
        do=do,
        see=("json", *dict.fromkeys(each for field in fields.values() for each in _named_in(field) if each != topic)),
        also=also,
    )


def _paragraphs(docstring: str) -> list[str]:
    """Of a docstring, as far as it is not for Python alone."""
    paragraphs = (" ".join(part.replace("`", "").split()) for part in docstring.split("\n\n"))
    return [part for part in paragraphs if not part.startswith(SECTIONS)] or [""]


def _type(schema: Json) -> str:
    """What a field holds, in few words."""
    if "$ref" in schema:
        return _topic(schema["$ref"])
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
    if "anyOf" in schema:
        return " or ".join(_type(each) for each in schema["anyOf"] if each.get("type") != "null")
    if schema.get("type") == "array" and "prefixItems" in schema:
        return f"[{', '.join(map(_type, schema['prefixItems']))}]"
    if schema.get("type") == "array":
        return f"[{_type(schema.get('items', {}))}, ...]"
    if schema.get("type") == "object":
        values = schema.get("additionalProperties")
        return f"name: {_type(values)}, ..." if isinstance(values, dict) else "name: anything, ..."
    return str(schema.get("type", "anything"))


def _named_in(schema: Any) -> Iterator[str]:
    """Topics of the objects that a field refers to."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield _topic(schema["$ref"])
        for each in schema.values():
            yield from _named_in(each)
    elif isinstance(schema, list):
        for each in schema:
            yield from _named_in(each)


def _topic(name: str) -> str:
    """A class as a topic: "#/$defs/ParamGroup" -> param-group."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name.rpartition("/")[2]).lower()
