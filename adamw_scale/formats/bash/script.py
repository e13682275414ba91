"""The commands of a bash script with what their words become, none of which is run.

tree-sitter parses; this goes through the statements in the order in which bash would. A condition that is known chooses
its branch; else every branch is gone through, and what they leave different is unknown. So is what a loop changes, what
a sourced file may set, and what a command prints.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from adamw_scale.formats.bash.branches import Command
from adamw_scale.formats.bash.builtins import BUILTINS, QUIET, EndError
from adamw_scale.formats.bash.conditions import EXTERNAL, UNKNOWN, YES, Truth, words_tested
from adamw_scale.formats.bash.loops import Loops
from adamw_scale.formats.bash.syntax import ends_statement, names_set, parsed, source_of, sources_of, words_of
from adamw_scale.formats.bash.values import PRIVATE, WIDE, defaulted, is_known, plain, widened
from adamw_scale.formats.bash.variables import ABSENT

if TYPE_CHECKING:
    from tree_sitter import Node

DEEPEST = 60  # statements within each other
MOST_CALLS = 12  # functions and texts within each other
_SHELLS = ("bash", "sh", "zsh", "dash")
_SIMPLE = frozenset({"command", "variable_assignment", "declaration_command", "unset_command", "test_command"})
_PLACEHOLDER = re.compile(r"(?<=[=\s])<[A-Za-z](?:[^<>\n|&;()$'\"`]*[^<>\s|&;()$'\"`])?>")  # <path to your data>
_SETTING = re.compile(r"[A-Za-z_]\w*=")
_NO_WORDS = ("variable_assignment", "file_redirect", "herestring_redirect", "comment")


class Script(Loops):
    """What a script does."""

    def __init__(self, text: str) -> None:
        """Go through a script.

        Raises:
            ValueError: no script, or one beyond reason.
        """
        super().__init__()
        if PRIVATE.search(text):
            raise ValueError("private characters of Unicode")
        self._functions: dict[str, Node] = {}
        self._called: set[str] = set()
        self._depth = self._calls = self._line = 0
        with suppress(EndError):
            text = _PLACEHOLDER.sub(lambda each: self.unknowns.mark(each[0]), text)
            self.run_all(parsed(text).children)

    def go_through_functions(self) -> None:
        """The functions that nobody calls, with arguments that nobody knows."""
        for name in [each for each in self._functions if each not in self._called]:
            with self.apart():
                self._call(name, None)

    def run_all(self, nodes: "list[Node]") -> Truth:
        """Go through statements; how the last ends."""
        truth = YES
        for place, node in enumerate(nodes, 1):
            if node.type not in _RUNS:
                continue
            if [each.type for each in nodes[place : place + 1]] == ["&"]:  # a process of its own
                with self.apart():
                    self._run(node)
                truth = YES
            else:
                truth = self._run(node)
        return truth

    def _run(self, node: "Node") -> Truth:
        """Go through a statement; how it ends."""
        self.step()
        self._depth += 1
        if self._depth > DEEPEST:
            raise ValueError("nested too deeply")
        if not self._calls:
            self._line = node.start_point[0] + 1
        try:
            if node.has_error and node.type in _SIMPLE:
                self._run_error(node)
                if node.type != "command":
                    return UNKNOWN
            return _RUNS[node.type](self, node)
        finally:
            self._depth -= 1

    def _environment(self, words: list[str]) -> None:
        """What env sets and removes."""
        for word, before in zip(words, ["", *words], strict=False):
            if word in ("-i", "-", "--ignore-environment"):
                self.scope.exported = frozenset()
            elif before in ("-u", "--unset") or word.startswith("--unset="):
                self.unset([word.removeprefix("--unset=")])
            elif _SETTING.match(word):
                self.declare([word])

    # Other statements

    def _run_compound(self, node: "Node") -> Truth:
        text = source_of(node)
        return self.run_arithmetic(text[2:-2]) if text.startswith("((") else self.run_all(node.children)

    def _run_redirected(self, node: "Node") -> Truth:
        truth = self.run_all(node.children)
        for child in node.children:
            if child.type == "heredoc_redirect":  # the rest of a line after <<EOF
                self.run_all(child.children)
        return truth

    def _run_pipeline(self, node: "Node") -> Truth:
        for child in node.children:
            with self.apart():
                self.run_all([child])
        return EXTERNAL

    def _run_subshell(self, node: "Node") -> Truth:
        with self.apart():
            self.run_all(node.children)
        return EXTERNAL

    def _run_function(self, node: "Node") -> Truth:
        body = node.child_by_field_name("body")
        if body is not None:
            self._functions[source_of(node.child_by_field_name("name"))] = body
        return YES

    def _run_error(self, node: "Node") -> Truth:
        """What tree-sitter could not parse may set and do anything that it names."""
        text = source_of(node)
        if node.parent is not None and node.parent.parent is None and node.end_byte == node.parent.end_byte:
            words_of(text)  # a quote that is never closed
        self.lose(f"line {self._line}: {text}")
        for name in names_set(text):
            self.forget(name, f"line {self._line} is not understood")
        return UNKNOWN

    def _run_test(self, node: "Node") -> Truth:
        text = source_of(node)
        return self.run_arithmetic(text[2:-2]) if text.startswith("((") else words_tested(self, text)

    # Commands

    def _run_command(self, node: "Node") -> Truth:
        prefix = [child for child in node.children if child.type == "variable_assignment"]
        # tree-sitter takes several assignments in a line for the prefix of a command in the next
        alone = max((place for place, each in enumerate(prefix, 1) if ends_statement(each)), default=0)
        self.run_all(prefix[:alone])
        prefix = prefix[alone:]
        sources = sources_of([child for child in node.children if child.type not in _NO_WORDS])
        words = [field for source in sources for field in self.fields(source)]
        if node.has_error:
            words.append(self.unknowns.mark(source_of(node)[:60], f"line {self._line} is not understood") + WIDE)
        if words:
            return self._command(words, prefix)
        self.run_all(prefix)
        return YES

    def _command(self, words: list[str], prefix: "list[Node]") -> Truth:
        """A command with its words; `prefix` is set for it alone."""
        self.spend(sum(map(len, words)))
        name = plain(words[0]) if is_known(words[0]) else ""
        if name in ("command", "builtin", "time") and len(words) > 1 and not words[1].startswith("-"):
            return self._command(words[1:], prefix)
        if name in self._functions:
            with self._with(prefix):
                return self._call(name, words[1:])
        if name == "eval":
            return self._eval(" ".join(words[1:]))
        if name in BUILTINS:
            return BUILTINS[name](self, words)
        if QUIET.fullmatch(name):
            return EXTERNAL
        if (text := _shell_text(words)) is not None:
            with self.apart(), self._with(prefix):
                if name == "env":
                    self._environment(words[1 : words.index(text)])
                exported = self.scope.exported
                self.scope.variables = {name: each for name, each in self.scope.variables.items() if name in exported}
                self.scope.positional = ()
                self._nested(text, "bash -c")
            return EXTERNAL
        self.commands.append(Command(tuple(map(defaulted, words) if self.by_default else words), self._line))
        if name == "exec":
            raise EndError("exit")
        return EXTERNAL

    @contextmanager
    def _with(self, prefix: "list[Node]") -> Iterator[None]:
        """Variables that are set for one command."""
        names = [source_of(child.child_by_field_name("name")) for child in prefix]
        old, exported = {name: self.scope.variables.get(name, ABSENT) for name in names}, self.scope.exported
        self.run_all(prefix)
        self.scope.exported |= set(names)
        try:
            yield
        finally:
            self.scope.exported = exported
            for name, value in old.items():
                self.restore(name, value)

    def _eval(self, text: str) -> Truth:
        shown = self.unknowns.shown(text)
        if is_known(text) or re.match(r"[\w./-]+\s", plain(text)):
            self._nested(text, "eval")
        elif not re.search(r"\b(conda|ssh-agent|mamba|modulecmd)\b", shown):
            self.lose_all(f"eval {shown}")
        return UNKNOWN

    def _nested(self, text: str, by: str) -> None:
        """A text as a script; what is not known of it is a part of words that is not known, whatever else it may be."""
        self._calls += 1
        if self._calls > MOST_CALLS:
            raise ValueError("nested too deeply")
        if not is_known(text):
            self.lose(f"{by} {text}")
        try:
            self.run_all(parsed(widened(text)).children)
        finally:
            self._calls -= 1

    def _call(self, name: str, arguments: list[str] | None) -> Truth:
        """A function of the script."""
        self._called.add(name)
        self._calls += 1
        if self._calls > MOST_CALLS:
            raise ValueError("functions that call themselves")
        before, self.scope.positional = self.scope.positional, None if arguments is None else tuple(arguments)
        self.locals.append({})
        try:
            self._run(self._functions[name])
        except EndError as end:
            if end.what != "return":
                raise
        finally:
            self.scope.positional = before
            for local, value in self.locals.pop().items():
                self.restore(local, value)
            self._calls -= 1
        return UNKNOWN


_RUNS: "dict[str, Callable[[Script, Node], Truth]]" = {  # by the type of a statement
    **dict.fromkeys(("program", "variable_assignments"), lambda script, node: script.run_all(node.children)),
    "command": Script._run_command,
    "pipeline": Script._run_pipeline,
    "list": Script.run_list,
    "redirected_statement": Script._run_redirected,
    "if_statement": Script.run_if,
    "while_statement": Script.run_while,
    "for_statement": Script.run_for,
    "c_style_for_statement": Script.run_c_for,
    "case_statement": Script.run_case,
    "subshell": Script._run_subshell,
    "compound_statement": Script._run_compound,
    "variable_assignment": Script.run_assignment,
    "declaration_command": Script.run_declaration,
    "test_command": Script._run_test,
    "negated_command": lambda script, node: script.run_all(node.children).negated(),
    "unset_command": lambda script, node: script.unset([source_of(child) for child in node.children[1:]]),
    "function_definition": Script._run_function,
    "ERROR": Script._run_error,
}


def _shell_text(words: list[str]) -> str | None:
    """The text that a command hands to bash -c."""
    for place, word in enumerate(words):
        if plain(word).rpartition("/")[2] in _SHELLS:
            for at, option in enumerate(words[place + 1 : -1], place + 2):
                if not option.startswith("-"):
                    break
                if re.fullmatch(r"-\w*c", plain(option)):
                    return words[at]
    return None
