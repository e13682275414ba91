"""Loops: gone through round by round where the rounds are known, else once with what they change unknown."""

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from adamw_scale.formats.bash.branches import Branches
from adamw_scale.formats.bash.builtins import EndError
from adamw_scale.formats.bash.conditions import UNKNOWN, YES, Truth
from adamw_scale.formats.bash.syntax import SETTING, names_set, source_of
from adamw_scale.formats.bash.values import BY_DEFAULT, WIDE, defaulted
from adamw_scale.formats.bash.variables import ABSENT, text_of, with_more

if TYPE_CHECKING:
    from tree_sitter import Node

MOST_ROUNDS = 50  # of a loop that is gone through as it is


class Loops(Branches):
    """Goes through for, while and until."""

    def run_for(self, node: "Node") -> Truth:
        """For name in words; also select, which asks."""
        body, name = node.child_by_field_name("body"), source_of(node.child_by_field_name("variable"))
        if body is None:
            return UNKNOWN
        sources = [source_of(child) for child in node.children_by_field_name("value")]
        if not any(child.type == "in" for child in node.children):
            sources = ['"$@"']
        words = [field for source in sources for field in self.fields(source)]
        certain = node.children[0].type == "for" and not any(WIDE in word for word in words)
        if words and all((each := self.unknowns.alone(word)) and each.name == "@" for word in words):
            return self._run_arguments(body)
        if certain and len(words) <= MOST_ROUNDS and self._unrolled(name, words, body):
            return YES
        return self.looped(body, variable=name, words=words)

    def _unrolled(self, name: str, words: list[str], body: "Node") -> bool:
        """Go through every round of a loop, unless there is a command in it whose words would vary."""
        before, count = self.scope, len(self.commands)
        self.begin()
        for word in words:
            self.assign(name, word)
            try:
                self.run_all(body.children)
            except EndError as end:
                if end.what == "break":
                    break
                if end.what != "continue":
                    raise
            if len(self.commands) > count and len(words) > 1:
                del self.commands[count:]
                self.scope = before
                return False
        return True

    def looped(self, body: "Node", head: str = "", variable: str = "", words: Sequence[str] = ()) -> Truth:
        """A loop of a number of rounds that is not known, once, with what it changes unknown."""
        text = source_of(body)
        names = self._changed_by(body, head)
        for name, after in names.items():
            self._vary(name, text, after)
        if variable:
            shown = ", ".join(self.unknowns.shown(word) for word in words[:10])
            self.forget(variable, f"{shown} in turn", tuple(words))
        inside = {name: text_of(self.scope.variables[name]) for name in [*names, variable] if name}
        with suppress(EndError):  # whether it comes to that is not known
            self.run_all(body.children)
        for name, value in inside.items():
            self._vary(name, text, value)
        return UNKNOWN

    def _changed_by(self, body: "Node", head: str = "") -> dict[str, str]:
        """Names that a round of a loop changes, of itself or by functions, with what they are after the first."""
        before, count, after = self.scope.variables, len(self.commands), self.scope.variables
        with self.apart():
            with suppress(EndError):
                self.run_all(body.children)
            after = self.scope.variables
        del self.commands[count:]
        names = names_set(f"{head};\n{source_of(body)}")
        names += [name for name, value in after.items() if before.get(name, ABSENT) != value]
        return {name: text_of(after.get(name)) for name in names}

    def _vary(self, name: str, text: str, may_be: str) -> None:
        """A variable that a loop changes; an array that it only adds to keeps what it had."""
        old = self.scope.variables.get(name)
        self.forget(name, "changes in a loop", (*re.findall(rf"\b{name}\+?=([^\n;]*)", text), may_be))
        adds = len(re.findall(rf"\b{name}\+=\(", text))
        if isinstance(old, dict) and adds == sum(each[1] == name for each in SETTING.finditer(text)):
            self.assign(name, with_more(old, str(self.scope.variables[name])))

    def run_while(self, node: "Node") -> Truth:
        """While and until."""
        body = node.child_by_field_name("body")
        conditions = node.children_by_field_name("condition")
        if body is None:
            return UNKNOWN
        if self.scope.positional is None and re.search(r"\b(shift|getopts)\b", source_of(node)):
            return self._run_arguments(body)
        before = self.scope.copy()
        truth = self.run_all(conditions)
        until = any(child.type == "until" for child in node.children)
        if truth.holds is until and not truth.by_default:
            return YES
        self.scope = before
        return self.looped(body, " ".join(map(source_of, conditions)))

    def _run_arguments(self, body: "Node") -> Truth:
        """A loop over the script's own arguments: what it sets keeps its value as a default."""
        with self.apart():
            self.run_all(body.children)
        for name in self._changed_by(body):
            value = self.scope.variables.get(name)
            if isinstance(value, str):
                self.scope.variables[name] = defaulted(value) or BY_DEFAULT
            elif isinstance(value, dict):
                more = self.unknowns.mark(f"${name}", f"${name} (arguments of the script)")
                self.scope.variables[name] = with_more(value, more)
            elif name in self.scope.variables:
                self.scope.variables[name] = self.unknowns.mark(f"${name}", name=name)
        return UNKNOWN

    def run_c_for(self, node: "Node") -> Truth:
        """For ((start; condition; step))."""
        body = node.child_by_field_name("body")
        return UNKNOWN if body is None else self.looped(body, source_of(node).partition("))")[0])
