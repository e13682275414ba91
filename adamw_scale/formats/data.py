"""JSON, TOML and YAML as plain data; no tag of YAML builds anything."""

import json
import tomllib
from typing import Any

from adamw_scale.formats.document import DEEPEST, refuse_deep, without_duplicates


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
    """YAML whose scalars stay text, as they are written: 0500 is no octal number. Tags and merge keys are refused."""
    refuse_deep(text)
    import yaml  # 15 ms, that advice without a file does not pay

    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    try:
        depth = 0
        for token in yaml.scan(text, Loader=loader):
            name = type(token).__name__
            if name == "TagToken":
                raise ValueError("tags are not read")
            depth += ("Start" in name and "Stream" not in name) - ("End" in name and name != "StreamEndToken")
            if depth > DEEPEST:
                raise ValueError("nested too deeply")
        node = yaml.compose(text, Loader=loader)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None
    return _yaml_value(node, {})


def _yaml_value(node: Any, built: dict[int, Any]) -> Any:
    """A node's data; what an alias repeats is built once."""
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
        value = without_duplicates([(_yaml_value(key, built), _yaml_value(each, built)) for key, each in node.value])
        if "<<" in value:
            raise ValueError("merge keys (<<) are not read: write the values out")
    built[id(node)] = value
    return value
