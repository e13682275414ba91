"""Statements of which a condition chooses, and what is unknown where nobody knows it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from adamw_scale.formats.bash.assignments import Assignments
from adamw_scale.formats.bash.builtins import EndError
from adamw_scale.formats.bash.conditions import UNKNOWN, YES, Truth, fits
from adamw_scale.formats.bash.syntax import source_of, sources_of
from adamw_scale.formats.bash.values import BY_DEFAULT, Value

if TYPE_CHECKING:
    from tree_sitter import Node


class Command(NamedTuple):
    """A command that is no builtin: its words, and its line from 1."""

    words: tuple[str, ...]
    line: int


class Branches(Assignments):
    """Goes through lists, if and case.

    Attributes:
        commands: In order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.commands: list[Command] = []

    def run_all(self, nodes: "list[Node]") -> Truth:
        """Go through statements; how the last ends."""
        raise NotImplementedError

    @contextmanager
    def apart(self) -> Iterator[None]:
        """What is done here changes no variable outside."""
        before = self.scope
        self.begin()
        try:
            with suppress(EndError):
                yield
        finally:
            self.scope = before

    def begin(self) -> None:
        """Go on in a copy of the scope."""
        self.step(len(self.scope.variables) // 8)
        self.scope = self.scope.copy()

    def chosen(self, truth: Truth, then: Callable[[], Truth], otherwise: Callable[[], Truth], by: str) -> Truth:
        """What is done if a condition holds, or else; both where it is not known."""
        if truth.holds is None:
            return self.branches([then, otherwise], by, truth)
        taken, other = (then, otherwise) if truth.holds else (otherwise, then)
        if not truth.by_default:
            return taken()
        left: dict[str, Value] = {}
        count = len(self.commands)
        with self.apart():
            other()
            left = self.scope.variables
        del self.commands[count:]
        self.by_default += 1
        try:
            return taken()
        finally:
            self.by_default -= 1
            for name, value in left.items():
                if self.scope.variables.get(name) not in (None, value):
                    self.assign_default(name)

    def branches(self, branches: list[Callable[[], Truth]], by: str, truth: Truth = UNKNOWN) -> Truth:
        """Every branch from the same start; what they leave different is unknown."""
        before, ends, ended = self.scope, [], EndError("exit")
        for branch in branches:
            self.scope = before
            self.begin()
            try:
                branch()
                ends.append(self.scope)
            except EndError as end:
                ended = end
        if not ends:
            self.scope = before
            raise ended
        self.join(ends, by, truth.missing, ends[not truth.missing_if] if len(ends) == 2 else None)
        return UNKNOWN

    def run_list(self, node: "Node") -> Truth:
        """One && other, one || other."""
        left, right = node.children[0], node.children[-1]
        if len(node.children) < 3:
            return self.run_all(node.children)
        ands = any(child.type == "&&" for child in node.children)
        truth = self.run_all([left])
        if truth.external and ands:
            return self.run_all([right])
        branches = [lambda: self.run_all([right]), lambda: truth]
        return self.chosen(truth, branches[not ands], branches[ands], source_of(left))

    def run_if(self, node: "Node") -> Truth:
        """If, elif, else."""
        at = next((place for place, child in enumerate(node.children) if child.type == "then"), 0)
        clauses = [child for child in node.children if child.type in ("elif_clause", "else_clause")]
        body = [child for child in node.children[at:] if child not in clauses]
        return self._clauses(node.children[:at], body, clauses)

    def _clauses(self, condition: "list[Node]", body: "list[Node]", rest: "list[Node]") -> Truth:
        truth = self.run_all(condition)
        by = "if " + " ".join(source_of(each) for each in condition if each.is_named)

        def otherwise() -> Truth:
            if not rest or rest[0].type == "else_clause":
                return self.run_all(rest[0].children) if rest else YES
            children = rest[0].children
            at = next((place for place, each in enumerate(children) if each.type == "then"), len(children))
            return self._clauses(children[:at], children[at:], rest[1:])

        return self.chosen(truth, lambda: self.run_all(body), otherwise, by)

    def run_case(self, node: "Node") -> Truth:
        """The first pattern that matches; all that may where that is not known."""
        subject = source_of(node.child_by_field_name("value"))
        value = self.single(subject)
        items = [child for child in node.children if child.type == "case_item"]
        for place, item in enumerate(items):
            found = [fits(value, self.pattern(pattern)) for pattern in _patterns(item)]
            falls = any(child.type in (";&", ";;&") for child in item.children)
            if True in found and not falls:
                truth = Truth(True, by_default=BY_DEFAULT in value)
                return self.chosen(truth, self._body(item), lambda: YES, subject)
            if None in found or True in found:
                rest = [self._body(each) for each in items[place:]]
                always = any("*" in _patterns(each) for each in items[place:])
                return self.branches(rest if always else [*rest, lambda: YES], f"case {subject}")
        return YES

    def _body(self, item: "Node") -> Callable[[], Truth]:
        after = next((place for place, child in enumerate(item.children) if child.type == ")"), 0)
        return lambda: self.run_all(item.children[after:])


def _patterns(item: "Node") -> list[str]:
    """Patterns of a branch of case."""
    head = item.children[: next((place for place, child in enumerate(item.children) if child.type == ")"), None)]
    return [source for source in sources_of(head) if source not in ("|", "(")]
