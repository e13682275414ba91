"""What sets variables: assignments, arrays, declarations and arithmetic."""

import re
from typing import TYPE_CHECKING

from adamw_scale.formats.bash.conditions import EXTERNAL, UNKNOWN, YES, Truth
from adamw_scale.formats.bash.syntax import source_of, sources_of
from adamw_scale.formats.bash.values import BY_DEFAULT, WIDE, Array, Value, is_known, plain
from adamw_scale.formats.bash.variables import ABSENT
from adamw_scale.formats.bash.words import Expander

if TYPE_CHECKING:
    from tree_sitter import Node


class Assignments(Expander):
    """Sets variables as statements say.

    Attributes:
        lost: What could not be followed and might have changed anything.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lost: list[str] = []
        self.locals: list[dict[str, Value]] = []  # of each function around, what they hide

    def lose(self, what: str) -> None:
        """Something could not be followed."""
        self.lost.append(" ".join(self.unknowns.shown(what).split())[:80])

    def lose_all(self, what: str) -> None:
        """Something may have set any variable."""
        self.lose(what)
        for name in self.scope.variables:
            self.forget(name, f"may be changed by {self.lost[-1]}")

    def restore(self, name: str, value: Value) -> None:
        """Give a variable what it had; ABSENT where the environment may have set it."""
        self.scope.variables[name] = value
        if value == ABSENT:
            del self.scope.variables[name]

    def run_assignment(self, node: "Node") -> Truth:
        """name=value, name+=value, name[key]=value, name=(items)."""
        target, value = source_of(node.child_by_field_name("name")), node.child_by_field_name("value")
        adds, _, source = source_of(node)[len(target) :].partition("=")
        name, _, key = target.partition("[")
        if value is not None and value.type == "array":
            self.assign(name, self._array(value, name, adds=bool(adds)))
            return YES
        new = self.single(source)
        old = self.scope.variables.get(name)
        if not key and (not adds or not isinstance(old, dict)):
            self.assign(name, (self.value(name) or "") + new if adds else new)
        else:
            self._assign_item(name, key[:-1] or "0", new, adds=bool(adds))
        return YES if is_known(new) else EXTERNAL

    def _assign_item(self, name: str, key: str, text: str, *, adds: bool) -> None:
        """One item of an array; at a place that is not known, all of it is unknown."""
        items = dict(self.items(name)) if name in self.scope.variables else {}
        place = self.place(name, key)
        if not is_known(place) or any(WIDE in each for each in items.values()):
            self.assign(name, {"0": self.unknowns.mark(f"${{{name}[@]}}") + WIDE})
            return
        place = plain(place)
        items[place] = (items.get(place, "") if adds else "") + text
        if name not in self.scope.keyed:
            items = dict(sorted(items.items(), key=lambda item: int(item[0])))
        self.assign(name, items)

    def _array(self, node: "Node", name: str, *, adds: bool) -> Array:
        """Items of (...), after those that the array has."""
        items = dict(self.items(name)) if adds and name in self.scope.variables else {}
        after = max((int(each) for each in items if each.isdigit()), default=-1) + 1
        for source in sources_of(node.children[1:-1]):
            if keyed := re.match(r"\[([^\]]*)\]=", source):
                place = plain(self.place(name, keyed[1]))
                items[place] = self.single(source[keyed.end() :])
                if name not in self.scope.keyed or not is_known(place):
                    return {"0": self.unknowns.mark(f"${{{name}[@]}}") + WIDE}
                continue
            for field in self.fields(source):
                items[str(after)] = field
                after += 1
        return items

    def run_declaration(self, node: "Node") -> Truth:
        """export, local, declare, readonly, typeset."""
        command, *words = [source_of(child) for child in node.children]
        options = "".join(word[1:] for word in words if word.startswith(("-", "+")))
        here = self.locals and (command == "local" or (command in ("declare", "typeset") and "g" not in options))
        for child, word in zip(node.children[1:], words, strict=True):
            if child.type not in ("variable_assignment", "variable_name"):
                if child.is_named and not word.startswith(("-", "+")):
                    self.declare(self.fields(word))
                continue
            name = re.split(r"[\[+=]", word)[0]
            if here:
                self.locals[-1].setdefault(name, self.scope.variables.get(name, ABSENT))
                if child.type == "variable_name":
                    self.scope.variables[name] = None
            self._attribute(name, "x" + options if command == "export" else options)
            if child.type == "variable_assignment":
                self.run_assignment(child)
        return YES

    def _attribute(self, name: str, options: str) -> None:
        if "x" in options:
            self.scope.exported |= {name}
        if "A" in options:
            self.scope.keyed |= {name}
        if set(options) & set("inlu"):
            self.scope.typed |= {name}

    def declare(self, fields: list[str]) -> Truth:
        """Names that are put together, such as export "$name=1"; as export has it."""
        for field in fields:
            name, equals, value = field.partition("=")
            if not is_known(name):
                self.lose_all(field)
            elif equals:
                self.assign(plain(name), value)
                self.scope.exported |= {plain(name)}
        return YES

    def unset(self, names: list[str]) -> Truth:
        """Names without a value; an array without one item is not followed."""
        for name in names:
            if re.fullmatch(r"\w+", name):
                self.scope.variables[name] = None
            elif item := re.match(r"['\"]?(\w+)\[", name):
                self.assign(item[1], {"0": self.unknowns.mark(f"${item[1]}") + WIDE})
        return YES

    def run_arithmetic(self, text: str) -> Truth:
        """(( )) and let: one assignment is followed, and whether a value is 0."""
        text = text.strip().strip("'\"")
        if step := re.fullmatch(r"(\w*)(\+\+|--)(\w*)", text):
            text = f"{step[1] or step[3]} {step[2][0]}= 1"
        if setting := re.fullmatch(r"([A-Za-z_]\w*)\s*([-+*/%]?)=(?!=)([^=,]*)", text):
            name, operator, rest = setting.groups()
            value = self.number(f"{name} {operator} ({rest})" if operator else rest)
            self.assign(name, value)
            return UNKNOWN
        value = self.number(text)
        return Truth(plain(value) != "0", by_default=BY_DEFAULT in value) if is_known(value) else UNKNOWN
