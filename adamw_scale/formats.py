"""Text in a format, as plain data and never as code: JSON, YAML, TOML, shell arguments, Python.

`parse` finds out which. Nothing is executed, imported or built beyond strings, numbers, lists and
mappings; nesting is bounded before a parser sees the text, so that hostile text costs little.
"""

import ast
import json
import operator
import re
import shlex
import tomllib
import warnings
from collections.abc import Callable, Collection, Hashable, Iterator
from typing import Any, NamedTuple

from adamw_scale.errors import SpecError

FORMATS = ("JSON", "TOML", "YAML", "Python", "shell arguments")
ANY_MORE = "**"  # key of a call that takes arguments from a mapping that is code
DEEPEST = 100  # levels of nesting; parsers recurse, and some take quadratic time
LARGEST_POWER = 64  # exponent in arithmetic of a Python config
LARGEST_INTEGER = 10**30
MOST_OF_A_PATH = 200  # characters
MOST_VALUES = 20_000  # of a document; YAML's aliases can write many in a few bytes


class Call(NamedTuple):
    """A call in Python text: its dotted name and its arguments; a {"key": value} is a call of dict."""

    name: str
    keywords: dict[str, Any]
    positional: tuple[Any, ...] = ()


class Document(NamedTuple):
    """What a text says: a mapping, and the calls of a Python text.

    `content` of Python text holds its assignments ("lr", "cfg.optim.lr"), that of shell text its --flags without the
    dashes. `text` is what was parsed.
    """

    format: str
    content: dict[str, Any]
    calls: tuple[Call, ...] = ()
    text: str = ""

    def keys(self) -> frozenset[str]:
        """Every key at any depth, alone and with the path to it, and the last part of every name that is called."""
        found = {call.name.rpartition(".")[2] for call in self.calls}
        for mapping in (self.content, *(call.keywords for call in self.calls)):
            for path in _paths(mapping):
                found |= {path, path.rpartition(".")[2]}
        return frozenset(found)


def parse(text: str, suffix: str = "", among: Collection[str] = FORMATS) -> Document:
    """The document a text is.

    Args:
        text: A whole config, launch script or training script.
        suffix: Of its file (".yaml"); it settles the format where it is one of a format.
        among: Formats that it may be in; one alone settles it where the suffix does not, else the text is looked at.

    Raises:
        SpecError: not valid in its format, nested beyond reason, or not a document with keys.
    """
    only = next(iter(among)) if len(among) == 1 else None
    name = _BY_SUFFIX.get(suffix.lower()) or only or _sniffed(text)
    try:
        document = _PARSERS[name](text)._replace(text=text)
        document.keys()  # refuses what aliases and names make of a few bytes
        return document
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise SpecError(
            f"not valid {name} ({' '.join(str(error).split())[:160] or type(error).__name__}): pass a complete file"
        ) from None


def json_of(text: str) -> Any:
    """JSON; a key that is given twice is refused."""
    _refuse_deep(text)
    return json.loads(text, object_pairs_hook=_without_duplicates)


def toml_of(text: str) -> dict[str, Any]:
    """TOML."""
    _refuse_deep(text)
    if any(line.count(".") > DEEPEST for line in text.splitlines()):
        raise ValueError("nested too deeply")
    return tomllib.loads(text)


def yaml_of(text: str) -> Any:
    """YAML whose scalars stay text, as they are written: 0500 is no octal number. Tags and merge keys are refused."""
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
        value = _without_duplicates([(_yaml_value(key, built), _yaml_value(each, built)) for key, each in node.value])
        if "<<" in value:
            raise ValueError("merge keys (<<) are not read: write the values out")
    built[id(node)] = value
    return value


def _without_duplicates(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    content: dict[Any, Any] = {}
    for key, value in pairs:
        if not isinstance(key, Hashable):
            raise ValueError("a key is a list or a mapping")
        if key in content:
            raise ValueError(f"{str(key)[:40]!r} is given twice")
        content[key] = value
    return content


def _refuse_deep(text: str) -> None:
    depth = 0
    for bracket in re.finditer(r"[\[\]{}()]", text):
        depth = max(0, depth + (1 if bracket[0] in "[{(" else -1))
        if depth > DEEPEST:
            raise ValueError("nested too deeply")


def _mapping(format_: str, read: Callable[[str], Any]) -> Callable[[str], Document]:
    def document(text: str) -> Document:
        content = read(text)
        if not isinstance(content, dict):
            raise ValueError("no mapping of keys to values")
        return Document(format_, content)

    return document


def _arguments(text: str) -> Document:
    """`--flag value`s anywhere in shell text; a flag without a value is true, one with several a list, the last one wins.

    Variables that the text assigns itself ("LR=3e-4") are filled in.
    """
    joined = re.sub(r"\\\r?\n", " ", text)
    joined = re.sub(
        r"""(?m)^\s*(?:export\s+)?\w+=(["'])([^"']*--[^"']*)\1""", lambda inside: " ".join(inside[2].split()), joined
    )
    lines = [line for line in joined.splitlines() if not line.lstrip().startswith("#")]
    variables: dict[str, str] = {}
    flags: dict[str, list[str]] = {}
    current: list[str] | None = None
    open_brackets = 0
    for written in lines:
        line = re.sub(r"\$\(\(([^()]{1,200})\)\)", lambda inside: _shell_arithmetic(inside[1], variables), written)
        lexer = shlex.shlex(re.sub(r"\s\d*[<>]+&?\s*[^\s;|&]+", " ", line), posix=True, punctuation_chars=";&|()")
        lexer.whitespace_split, lexer.commenters = True, "#"
        if not open_brackets:
            current = None  # a command ends with its line
        for word in lexer:
            assigned = re.fullmatch(r"(\w+)=(.*)", word)
            known = re.sub(r"\$(\w+|\{\w+\})", lambda name: variables.get(name[1].strip("{}"), name[0]), word)
            if re.match(r"--?[A-Za-z]", known):
                name, equals, value = known.lstrip("-").partition("=")
                current = flags[name] = [value] if equals else []
            elif assigned and current is None:
                variables[assigned[1]] = assigned[2]
            elif re.fullmatch(r"[;&|()]+", known) or known.endswith(".py"):
                current = None  # a command ends, or a launcher's flags do
                open_brackets = max(0, open_brackets + known.count("(") - known.count(")"))
            elif current is not None and not (known.startswith("$") and current):
                current.append(known)
    content = {
        name.replace("-", "_"): (values[0] if len(values) == 1 else values or "true") for name, values in flags.items()
    }
    return Document("shell arguments", content)


def _shell_arithmetic(text: str, variables: dict[str, str]) -> str:
    """The whole number that $((...)) is; a variable of no value where that cannot be told."""
    known = {name: int(value) for name, value in variables.items() if re.fullmatch(r"\d{1,18}", value)}
    try:
        value = _plain(ast.parse(text.replace("$", "").replace("/", "//"), mode="eval").body, known)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return "$unknown"
    return str(value)


def _python(text: str) -> Document:
    """Assignments and calls whose values are literals, names assigned earlier, or arithmetic of them."""
    _refuse_deep(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other people's code
        tree = ast.parse(text)
    known: dict[str, Any] = {}
    told: dict[str, set[str]] = {}
    calls = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name | ast.Attribute):
            _assign(known, ast.unparse(node.targets[0]), node.value, told)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            _assign(known, node.target.id, node.value, told)
    changed = {ast.unparse(node.target) for node in ast.walk(tree) if isinstance(node, ast.AugAssign | ast.For)}
    arguments = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    known = {name: value for name, value in known.items() if name not in changed}
    sure = {name: value for name, value in known.items() if len(told[name]) == 1 and name not in arguments}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            named = [(keyword.arg, keyword.value) for keyword in node.keywords if keyword.arg is not None]
            given = _plain_or_unread([(str(place), each) for place, each in enumerate(node.args)], sure)
            more = [keyword.value for keyword in node.keywords if keyword.arg is None]
            keywords = _spread(more, sure) | _plain_or_unread(named, sure)
            calls.append(Call(ast.unparse(node.func)[:200], keywords, tuple(given.values())))
        elif isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            named = [
                (key.value, each) for key, each in pairs if isinstance(key, ast.Constant) and isinstance(key.value, str)
            ]
            calls.append(Call("dict", _plain_or_unread(named, sure)))
    return Document("Python", known, tuple(calls))


def _assign(known: dict[str, Any], name: str, value: ast.expr, told: dict[str, set[str]]) -> None:
    """Remember a plain value, and everything the name was ever given; one that gets code is unknown from then on."""
    told.setdefault(name, set()).add(ast.unparse(value)[:200])
    try:
        known[name] = _plain(value, known)
    except ValueError:
        known.pop(name, None)


def _spread(values: list[ast.expr], known: dict[str, Any]) -> dict[str, Any]:
    """What **mappings add to a call; one that is code may add anything."""
    spread: dict[str, Any] = {}
    for value in values:
        try:
            mapping = _plain(value, known)
        except ValueError:
            mapping = None
        spread |= mapping if isinstance(mapping, dict) else {ANY_MORE: Unread(f"**{ast.unparse(value)[:60]}")}
    return spread


def _plain_or_unread(named: list[tuple[str, ast.expr]], known: dict[str, Any]) -> dict[str, Any]:
    """Values that are plain data as data, others as their source."""
    values: dict[str, Any] = {}
    for name, node in named:
        try:
            values[name] = _plain(node, known)
        except ValueError:
            values[name] = Unread(ast.unparse(node)[:80])
    return values


class Unread(str):
    """Source of an argument that is no plain data."""


_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Pow: operator.pow,
}


def _plain(node: ast.expr, known: dict[str, Any]) -> Any:
    """The value of a literal or of arithmetic; ValueError for everything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str | int | float | bool | None):
        return node.value
    if isinstance(node, ast.Name) and node.id in known:
        return known[node.id]
    if isinstance(node, ast.List | ast.Tuple):
        return [_plain(each, known) for each in node.elts]
    if isinstance(node, ast.Dict) and all(key is not None for key in node.keys):
        keys = [_plain(key, known) for key in node.keys if key is not None]
        return _without_duplicates(list(zip(keys, (_plain(each, known) for each in node.values), strict=True)))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict" and not node.args:
        return {keyword.arg: _plain(keyword.value, known) for keyword in node.keywords if keyword.arg}
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_number(node.operand, known)
    if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        left, right = _number(node.left, known), _number(node.right, known)
        if isinstance(node.op, ast.Pow) and abs(right) > LARGEST_POWER:
            raise ValueError("a power beyond reason")
        try:
            result = _ARITHMETIC[type(node.op)](left, right)
        except (ZeroDivisionError, OverflowError):
            raise ValueError("arithmetic without a result") from None
        if not isinstance(result, int | float) or abs(result) > LARGEST_INTEGER:
            raise ValueError("a number beyond reason")
        return result
    raise ValueError("not plain data")


def _number(node: ast.expr, known: dict[str, Any]) -> Any:
    value = _plain(node, known)
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > LARGEST_INTEGER:
        raise ValueError("not a number")
    return value


def _paths(mapping: dict[Any, Any]) -> Iterator[str]:
    """Keys at any depth, as dotted paths.

    Raises:
        SpecError: more values than a config has.
    """
    stack: list[tuple[str, Any]] = [("", mapping)]
    count = 0
    while stack:
        before, item = stack.pop()
        named = item.items() if isinstance(item, dict) else (("", each) for each in item)
        for key, value in named:
            count += 1
            if count > MOST_VALUES:
                raise SpecError(f"more than {MOST_VALUES} values: this is no training config")
            path = f"{before}{key}" if isinstance(key, str) else before
            if isinstance(key, str) and key:
                yield path[:MOST_OF_A_PATH]
            if isinstance(value, dict | list):
                stack.append((f"{path[:MOST_OF_A_PATH]}." if key else before, value))


def _sniffed(text: str) -> str:
    """The format a text looks like."""
    start = text.lstrip()[:1]
    if start == "{":
        return "JSON"
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    flags = sum(bool(re.search(r"(^|\s)--[a-zA-Z]", line)) for line in lines)
    colons = sum(bool(re.match(r"\s*(- )?[\w.\-\"']+\s*:(\s|$)", line)) for line in lines)
    tables = sum(bool(re.fullmatch(r"\s*\[[\w.\-]+\]\s*", line)) for line in lines)
    equals = sum(bool(re.search(r"\w\s*=[^=]|\w\(", line)) for line in lines)
    if flags and flags >= max(colons, tables):
        return "shell arguments"
    if tables:
        return "TOML"
    if any(re.match(r"\w+\s*=\s*(\{|dict\()", line) for line in lines):
        return "Python"  # "ds_config = {", however many colons follow
    return "YAML" if colons > equals else "Python"


_BY_SUFFIX = {
    ".json": "JSON",
    ".toml": "TOML",
    ".yaml": "YAML",
    ".yml": "YAML",
    ".py": "Python",
    ".sh": "shell arguments",
}
_PARSERS: dict[str, Callable[[str], Document]] = {
    "JSON": _mapping("JSON", json_of),
    "TOML": _mapping("TOML", toml_of),
    "YAML": _mapping("YAML", yaml_of),
    "Python": _python,
    "shell arguments": _arguments,
}
