"""JSON, TOML and YAML as plain data; no tag of YAML builds anything."""

import json
import tomllib
from typing import Any

from adamw_scale.formats.document import DEEPEST, Unread, refuse_deep, without_duplicates

MERGE = "<<"
# Tags that say of plain data what it is; "!" is of a scalar in quotes.
_PLAIN = tuple(f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "map", "seq", "merge"))


def json_of(text: str) -> Any:
    """JSON; a key that is given twice is refused."""
    refuse_deep(text)
    return json.loads(text, object_pairs_hook=without_duplicates)


def toml_of(text: str) -> dict[str, Any]:
    """TOML."""
    refuse_deep(text)
    if any(line.count(".") > DEEPEST for line in text.splitlines()):
        raise ValueError("nested too deeply")
    return tomllib.loads(text)


def yaml_of(text: str) -> Any:
    """YAML whose scalars stay text, as they are written: 0500 is no octal number.

    Merge keys are resolved. What has a tag of its own ("!include base.yaml") is `Unread`; one of Python is refused.
    """
    refuse_deep(text)
    import yaml  # 15 ms, that advice without a file does not pay

    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    try:
        depth = 0
        for token in yaml.scan(text, Loader=loader):
            name = type(token).__name__
            if name == "TagToken" and "python" in "".join(getattr(token, "value", ())):
                raise ValueError("tags are not read that build objects of Python")
            depth += ("Start" in name and "Stream" not in name) - ("End" in name and name != "StreamEndToken")
            if depth > DEEPEST:
                raise ValueError("nested too deeply")
        node = yaml.compose(text, Loader=loader)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None
    return _yaml_value(node, {})


def _merged(given: list[Any]) -> dict[Any, Any]:
    """What merge keys bring; of several mappings the first goes before the others."""
    merged: dict[Any, Any] = {}
    for each in given:
        for mapping in reversed(each if isinstance(each, list) else [each]):
            if isinstance(mapping, Unread):
                merged[MERGE] = mapping
            elif not isinstance(mapping, dict):
                raise ValueError("a merge key (<<) has no mapping")
            else:
                merged |= mapping
    return merged


def _yaml_value(node: Any, built: dict[int, Any]) -> Any:
    """A node's data; what an alias repeats is built once."""
    if node is not None and not str(node.tag or "").startswith(_PLAIN):
        return Unread(f"{node.tag} {node.value if isinstance(node.value, str) else '...'}"[:80])
    if node is None or isinstance(node.value, str):
        return None if node is None or (node.value in ("null", "~", "") and not node.style) else node.value
    if id(node) in built:
        if built[id(node)] is None:
            raise ValueError("a value holds itself")
        return built[id(node)]
    built[id(node)] = None
    if node.id == "sequence":
        value: Any = [_yaml_value(each, built) for each in node.value]
    else:
        pairs = [(_yaml_value(key, built), _yaml_value(each, built)) for key, each in node.value]
        own = without_duplicates([(key, each) for key, each in pairs if key != MERGE])
        value = {**_merged([each for key, each in pairs if key == MERGE]), **own}
    built[id(node)] = value
    return value
