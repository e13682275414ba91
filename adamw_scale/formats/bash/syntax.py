"""What is written: the tree of a script, the words of a line, and where brackets and quotes close."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tree_sitter import Node

LONGEST_SCRIPT = 1 << 16  # characters
MOST_PIPES = 1000  # tree-sitter takes memory with their square
MOST_READS = 40  # times the whole text that the parser may go back to
CHUNK = 64  # bytes
DEEPEST = 30  # brackets within each other
_OPENS = {"(": ")", "{": "}", "[": "]"}
SETTING = re.compile(r"(?<![\w$.\-/])([A-Za-z_]\w*)(?:\[[^\[\]\n]{0,99}\])?(\s*[-+*/%]?=|\+\+|--)(?!=)")


def parsed(text: str) -> "Node":
    """The syntax tree of a script, without comments between backquotes and a backslash at its end.

    Raises:
        ValueError: it is longer than a script, or made to be hard to parse.
    """
    import tree_sitter
    import tree_sitter_bash

    if len(text) > LONGEST_SCRIPT:
        raise ValueError(f"longer than {LONGEST_SCRIPT} characters, which no launch script is")
    if text.count("|") > MOST_PIPES:
        raise ValueError("more pipes than a launch script has")
    data = re.sub(r"\\\s*\Z", "", re.sub(r"`[ \t]*#[^`\n]*`", " ", text)).encode()
    budget = MOST_READS * (len(data) // CHUNK + 100)

    def read(offset: int, _point: object) -> bytes:
        nonlocal budget
        budget -= 1
        return data[offset : offset + CHUNK] if budget > 0 else b""

    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_bash.language()))
    parser.parse(read)
    if budget <= 0:
        raise ValueError("more that is opened and never closed than a script has")
    return parser.parse(data).root_node


def source_of(node: "Node | None") -> str:
    """A node as it is written."""
    return "" if node is None else (node.text or b"").decode()


def sources_of(nodes: "list[Node]") -> Iterator[str]:
    """Words as they are written: neighbours without a blank between them are one."""
    text, end = "", -1
    for node in nodes:
        if node.type == "comment":
            continue
        if text and node.start_byte != end:
            yield text
            text = ""
        text += source_of(node)
        end = node.end_byte
    if text:
        yield text


def ends_statement(node: "Node") -> bool:
    """Whether a line ends between a node and what follows it, and no backslash joins it to the next."""
    after = node.next_sibling
    if node.parent is None or after is None:
        return False
    start = node.parent.start_byte
    between = (node.parent.text or b"")[node.end_byte - start : after.start_byte - start]
    return b"\n" in between.replace(b"\\\n", b"") or (after.type == "comment" and ends_statement(after))


def names_set(text: str) -> list[str]:
    """Names that a text may set."""
    names = [each[1] for each in SETTING.finditer(text)] + re.findall(r"\(\(\s*(?:\+\+|--)\s*([A-Za-z_]\w*)", text)
    for command in re.finditer(r"\b(?:read|mapfile|readarray|getopts|unset|let|printf -v)\b([^;&|\n]*)", text):
        names += re.findall(r"\b[A-Za-z_]\w*", command[1])
    return list(dict.fromkeys(names))


def closing(source: str, at: int) -> int:
    """Where what opens at a place, a bracket or a double quote, is closed again: the place after that.

    Raises:
        ValueError: it is not closed, or nested too deeply.
    """
    stack, place = [source[at]], at + 1
    while stack:
        if place >= len(source):
            raise ValueError("No closing quotation" if '"' in stack else "a bracket is not closed")
        if len(stack) > DEEPEST:
            raise ValueError("nested too deeply")
        sign, inner = source[place], stack[-1]
        if sign == "\\":
            place += 1
        elif sign == _OPENS.get(inner, '"'):
            stack.pop()
        elif sign == "$" and source[place + 1 : place + 2] in ("(", "{"):
            place += 1
            stack.append(source[place])
        elif inner != '"':
            if sign == "'":
                close = source.find("'", place + 1)
                place = close if close >= 0 else len(source)
            elif sign in ('"', inner):
                stack.append(sign)
        place += 1
    return place


def quoted_end(source: str, at: int) -> int:
    """Where what a quote of any kind opens ends: the place after it; ValueError where it does not."""
    if source[at] == '"':
        return closing(source, at)
    close = source.find(source[at], at + 1)
    if close < 0:
        raise ValueError("No closing quotation")
    return close + 1


def words_of(source: str) -> list[str]:
    """The words of a line as they are written, by unquoted blanks.

    Raises:
        ValueError: a quote or bracket is not closed.
    """
    found, start, at = [], 0, 0
    while at < len(source):
        sign = source[at]
        if sign in " \t\n":
            found.append(source[start:at])
            start = at = at + 1
        elif sign == "\\":
            at += 2
        elif sign in "\"'`":
            at = quoted_end(source, at)
        elif sign == "$" and source[at + 1 : at + 2] in ("(", "{"):
            at = closing(source, at + 1)
        else:
            at += 1
    return [word for word in (*found, source[start:]) if word]
