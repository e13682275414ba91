"""Arguments of the commands in shell text, none of which is run."""

import re
import shlex

from adamw_scale.formats.document import Document
from adamw_scale.formats.python import arithmetic


def shell_arguments(text: str) -> Document:
    """`--flag value`s anywhere in shell text: without a value a flag is true, with several a list; the last one wins.

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
        value = arithmetic(text.replace("$", "").replace("/", "//"), known)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return "$unknown"
    return str(value)
