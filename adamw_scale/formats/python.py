"""Assignments and calls in Python text, none of which is run.

Names are resolved to what they are imported as, and values as far as text goes: literals, names that are given one
value, arithmetic, and one hop away the defaults of argparse, of dataclasses and of parameters, which are marked as
such. Everything else stays source.
"""

import ast
import operator
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from typing import Any, NamedTuple, TypeGuard

from adamw_scale.errors import SpecError
from adamw_scale.formats.document import ANY_MORE, Call, Document, Unread, refuse_deep, without_duplicates
from adamw_scale.formats.python_names import (
    MOST_GIVEN,
    PARSERS,
    Branch,
    Given,
    Names,
    Scope,
    dotted,
    last,
    survey,
    text_of,
)

LARGEST_POWER = 64  # exponent in arithmetic of a Python config
LARGEST_INTEGER = 10**30
MOST_WORK = 200_000  # expressions that are worked out for one text; the largest files of libraries need 9,000
# Names that people give to what holds their options, where nothing in the text says what it is.
HOLDERS = frozenset(
    {"args", "opt", "opts", "flags", "FLAGS", "hparams", "hps", "params", "config", "cfg", "conf", "Config", "CFG"}
)
ENVIRONMENT = ("os.environ.get", "os.getenv", "environ.get", "getenv")


def python_source(text: str) -> Document:
    """Assignments and calls; a value that is no plain data is `Unread`."""
    refuse_deep(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other people's code
        names = survey(text)
    executes = any(isinstance(each.node, ast.Call) and dotted(each.node.func) == "exec" for each in names.nodes)
    if executes:  # nanoGPT's configurator, which may change every value of the module
        for path, givens in names.module.given.items():
            names.module.given[path] = [each._replace(changeable=True) for each in givens]
    values = _Values(names)
    content: dict[str, Any] = {}
    overridable: set[str] = set()
    for path, givens in (names.options | names.assigned).items():
        content[path], changeable = values.told(path, givens)
        overridable |= {path} if changeable else set()
    calls = [values.call(each.node, each.scope, each.branch) for each in names.nodes]
    calls += [values.settings(name) for name in names.classes]
    for call, changeable_ones in calls:
        overridable |= {f"{call.name}.{each}" for each in changeable_ones}
    found = tuple(call for call, _ in calls if call.name)
    content |= {f"param_groups.{key}": Unread(f"set in line {line}") for key, line in names.regrouped.items()}
    if executes:
        overridable |= set(content)
    return Document("Python", content, found, overridable=frozenset(overridable))


class _Owner(NamedTuple):
    """What an attribute is one of: options of the command line (no class), or a class, and the call that built it."""

    name: str = ""
    call: ast.Call | None = None
    scope: Scope | None = None


OPTIONS = _Owner()


class _Known(NamedTuple):
    """The value of an expression, whether it may be changed, its text, and how many values it took to work out."""

    value: Any
    changeable: bool
    shown: str
    work: int


class _Values:
    """Values of expressions as far as text goes; ValueError where it does not.

    `changeable` tells whether the last one hangs on a default that may be changed.
    """

    def __init__(self, names: Names) -> None:
        self._names = names
        self._known: dict[int, _Known | None] = {}
        self._fields_known: dict[str, tuple[dict[str, Any], set[str]]] = {}
        self._items: dict[int, dict[str, ast.expr] | None] = {}
        self._open: set[int] = set()
        self._work = 0
        self.changeable = False
        calls = [each for each in names.nodes if isinstance(each.node, ast.Call)]
        named = [(each.node.func.id, each) for each in calls if isinstance(each.node.func, ast.Name)]  # type: ignore[union-attr]
        self._callers = {(name, id(each.scope)) for name, each in named}
        self._built_classes = {name for name, _ in named} & names.classes.keys()
        self._settings = [name for name in names.classes if _is_settings(names, name)]
        self._later = _told_later(names)

    def told(self, path: str, givens: list[Given]) -> tuple[Any, bool]:
        """What a name is in the end, and whether that may be changed; source where it is code or told in a branch."""
        last = givens[-1]
        self.changeable = last.changeable
        scopes = {id(each.scope): each for each in givens}
        if len(scopes) > 1 or any(each.branch for each in givens):
            try:
                if len(scopes) > MOST_GIVEN:
                    raise ValueError("given in too many places")
                roots = self._roots(list(scopes.values()))
                value = self._one(path, [each for each in givens if id(each.scope) in roots], ())
            except ValueError:
                some = dict.fromkeys(f"{each.scope.name or 'module'}()" for each in givens[:MOST_GIVEN])
                where = " and ".join(some)
                one = f"{self._source(last)} in a branch"
                return Unread(one if len(scopes) == 1 else f"told differently in {where}"), False
            return value, self.changeable
        with suppress(ValueError):
            if last.value is not None:
                return self.plain(last.value, last.scope, last.branch, last.at), self.changeable
        return Unread(self._source(last)), self.changeable

    def _source(self, given: Given) -> str:
        return "code that changes it" if given.value is None else self._names.source(given.value)

    def _roots(self, givens: list[Given]) -> set[int]:
        """Scopes that no other of these calls: what a caller sets goes before what its helper did."""
        called = self._callers
        return {
            id(one.scope)
            for one in givens
            if not any((one.scope.name, id(other.scope)) in called for other in givens if other.scope is not one.scope)
        }

    def call(self, node: ast.Call | ast.Dict, scope: Scope, branch: Branch) -> tuple[Call, set[str]]:
        """A call, and those of its arguments that may be changed from outside."""
        if isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            named = [(name, each) for key, each in pairs if (name := text_of(key)) is not None]
            keywords, changeable = self._arguments(named, scope, branch)
            return Call("dict", keywords, line=node.lineno), changeable
        function, positional = node.func, list(node.args)
        own: dict[str, Any] = {}
        name, changeable = self._names.resolved(function, scope), set[str]()
        if name in ("functools.partial", "partial") and positional:
            function, positional = positional[0], positional[1:]
            name = self._names.resolved(function, scope)
        star = next((place for place, each in enumerate(positional) if isinstance(each, ast.Starred)), None)
        stars, positional = positional[star:] if star is not None else [], positional[:star]
        of_own = self._names.own_class(function)
        if of_own and (base := self._names.foreign_base(of_own)):
            name, (own, changeable) = base, self._fields(of_own)
        named = [(keyword.arg, keyword.value) for keyword in node.keywords if keyword.arg is not None]
        keywords, changing = self._arguments(named, scope, branch)
        placed, changing_places = self._arguments(
            [(str(place), each) for place, each in enumerate(positional)], scope, branch
        )
        spread, changing_spread = self._spread(
            [each.value for each in node.keywords if each.arg is None], scope, branch
        )
        if stars:
            spread[ANY_MORE] = Unread(self._names.source(stars[0], 60))
        later, changing_later = self._told_later(node)
        spelled = {key: path for key, each in named if (path := dotted(each))}
        spelled |= {str(place): path for place, each in enumerate(positional) if (path := dotted(each))}
        keywords |= later
        call = Call(name, own | spread | keywords, tuple(placed.values()), node.lineno, scope.name, spelled)
        changing |= (changeable - keywords.keys()) | changing_places | changing_spread
        return call, (changing - later.keys()) | changing_later

    def _told_later(self, node: ast.Call) -> tuple[dict[str, Any], set[str]]:
        """What is assigned to attributes of what a call made, which goes before its arguments; source in a branch."""
        told: dict[str, Any] = {}
        changeable = set()
        for attribute, givens in self._later.get(id(node), {}).items():
            told[attribute], may_change = self.told(attribute, givens)
            changeable |= {attribute} if may_change else set()
        return told, changeable

    def settings(self, class_name: str) -> tuple[Call, set[str]]:
        """A class of settings that the text never builds itself, as a call of what it extends; no name for others."""
        base = self._names.foreign_base(class_name)
        if base is None or class_name in self._built_classes:
            return Call("", {}), set()
        fields, changeable = self._fields(class_name)
        for path in self._told_of_settings.get(class_name, ()):
            attribute = path.rpartition(".")[2]
            if attribute in fields:
                fields = fields | {attribute: self.told(path, self._names.assigned[path])[0]}
                changeable = changeable - {attribute}
        return Call(base, fields, (), self._names.classes[class_name].node.lineno, ""), changeable

    @cached_property
    def _told_of_settings(self) -> dict[str, list[str]]:
        """By class: paths that are assigned to what a parser, say, makes of it."""
        told: dict[str, list[str]] = {}
        for path, givens in self._names.assigned.items():
            holder = path.rpartition(".")[0]
            made = self._owner(ast.parse(holder, mode="eval").body, givens[-1].scope) if holder else None
            if made is not None and made.name:
                told.setdefault(made.name, []).append(path)
        return told

    def _fields(self, class_name: str) -> tuple[dict[str, Any], set[str]]:
        """Defaults of a class' fields, those of its bases in this text first; all of them may be changed."""
        if class_name in self._fields_known:
            self._spend(len(self._fields_known[class_name][0]))
            return self._fields_known[class_name]
        own = self._names.classes[class_name]
        fields: dict[str, Any] = {}
        self._fields_known[class_name] = fields, set()  # where it extends itself by a detour
        for base in own.node.bases:
            if inner := self._names.own_class(base):
                fields |= self._fields(inner)[0]
        for name, givens in own.scope.given.items():
            if not name.startswith("self."):
                value = givens[-1].value
                try:
                    fields[name] = self._of_class(class_name, name)
                except ValueError:
                    fields[name] = Unread(self._names.source(value) if value is not None else name)
        self._fields_known[class_name] = fields, set(fields)
        return self._fields_known[class_name]

    def _arguments(
        self, named: list[tuple[str, ast.expr]], scope: Scope, branch: Branch
    ) -> tuple[dict[str, Any], set[str]]:
        """Values that are plain data as data, others as their source; and which of them may be changed."""
        values: dict[str, Any] = {}
        changeable = set()
        for name, node in named:
            self.changeable = False
            try:
                values[name] = self.plain(node, scope, branch)
            except ValueError:
                values[name] = Unread(self._names.source(node))
            if self.changeable:
                changeable.add(name)
        return values, changeable

    def _spread(self, given: list[ast.expr], scope: Scope, branch: Branch) -> tuple[dict[str, Any], set[str]]:
        """What **mappings add to a call; one that is code may add anything."""
        spread: dict[str, Any] = {}
        changeable: set[str] = set()
        for node in given:
            mapping = self._dict(node, scope)
            if mapping is None:
                spread[ANY_MORE] = Unread(f"**{self._names.source(node, 60)}")
            else:
                values, changing = self._arguments(list(mapping[0].items()), mapping[1], branch)
                spread |= values
                changeable |= changing
        return spread, changeable

    def plain(self, node: ast.expr, scope: Scope, branch: Branch, before: int = 0) -> Any:
        """The value of a literal, a name or arithmetic; `before` is where in its scope, if order is to count.

        Raises:
            ValueError: it is something else.
        """
        self._spend(1)
        if isinstance(node, ast.Constant) and isinstance(node.value, str | int | float | bool | None):
            return node.value
        if isinstance(node, ast.Name):
            return self._name(node.id, scope, branch, before)
        if isinstance(node, ast.Attribute):
            return self._attribute(node, scope, branch, before)
        if isinstance(node, ast.List | ast.Tuple):
            return [self.plain(each, scope, branch, before) for each in node.elts]
        if isinstance(node, ast.Dict) and all(key is not None for key in node.keys):
            keys = [self.plain(key, scope, branch, before) for key in node.keys if key is not None]
            values = [self.plain(each, scope, branch, before) for each in node.values]
            return without_duplicates(list(zip(keys, values, strict=True)))
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            return self._item(node.value, node.slice.value, scope, branch)
        if isinstance(node, ast.Call):
            return self._called(node, scope, branch, before)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return -_number(self.plain(node.operand, scope, branch, before))
        if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            left = _number(self.plain(node.left, scope, branch, before))
            return _computed(node.op, left, _number(self.plain(node.right, scope, branch, before)))
        raise ValueError("not plain data")

    def _spend(self, work: int) -> None:
        """Count what is done, as values that hold others several times grow beyond any bound."""
        self._work += work
        if self._work > MOST_WORK:
            raise SpecError(f"more than {MOST_WORK:,} values to work out: this is no training script; pass one")

    def _called(self, node: ast.Call, scope: Scope, branch: Branch, before: int) -> Any:
        """Calls that are as good as data: dict(), int(), float(), what an environment may set."""
        name = self._names.resolved(node.func, scope)
        if name == "dict" and not node.args:
            return {each.arg: self.plain(each.value, scope, branch, before) for each in node.keywords if each.arg}
        if name in ("int", "float") and len(node.args) == 1 and not node.keywords:
            value = self.plain(node.args[0], scope, branch, before)
            number = _number(float(value) if isinstance(value, str) else value)
            return int(number) if name == "int" else float(number)
        if name in ENVIRONMENT and len(node.args) == 2:
            value = self.plain(node.args[1], scope, branch, before)
            self.changeable = True
            return value
        function = node.func
        gets = isinstance(function, ast.Attribute) and function.attr == "get" and len(node.args) == 2
        if gets and isinstance(function, ast.Attribute) and isinstance(node.args[0], ast.Constant):
            found = self._dict(function.value, scope)
            if found is not None and node.args[0].value not in found[0]:
                return self.plain(node.args[1], scope, branch, before)
            return self._item(function.value, node.args[0].value, scope, branch)
        if name.rpartition(".")[2] in ("Option", "Argument") and name.startswith("typer") and node.args:
            return self.plain(node.args[0], scope, branch, before)
        raise ValueError("a call")

    def _name(self, name: str, scope: Scope, branch: Branch, before: int) -> Any:
        found = scope.find(name)
        if found is None:
            raise ValueError("a name that is given nothing here")
        holder, givens = found
        if len(givens) > MOST_GIVEN:
            raise ValueError("given too often")
        if before and holder is scope and not any(each.branch for each in givens):
            givens = [each for each in givens if each.at < before][-1:]
        return self._one(name, givens, branch if holder is scope else ())

    def _one(self, name: str, givens: list[Given], branch: Branch) -> Any:
        """The value of a name that is given one, or several that are the same, in no other branch."""
        if not givens or any(each.value is None for each in givens):
            raise ValueError("code gives it")
        if any(each.branch != branch[: len(each.branch)] for each in givens):
            raise ValueError("given in a branch")
        first, *others = [self._given(each) for each in givens]
        if any(each.shown != first.shown for each in others):
            raise ValueError(f"{name} is given several values")
        return first.value

    def _given(self, given: Given) -> "_Known":
        """What is given, worked out once."""
        node = given.value
        if node is None or id(node) in self._open:
            raise ValueError("code, or a value that holds itself")
        if id(node) in self._known:
            known = self._known[id(node)]
            self._spend(known.work if known else 1)
        else:
            known, before, work = None, self.changeable, self._work
            self.changeable = given.changeable
            self._open.add(id(node))
            with suppress(ValueError):
                value = self.plain(node, given.scope, given.branch, given.at)
                work = self._work - work if isinstance(value, list | dict) else 1
                known = _Known(value, self.changeable, repr(value), work)
            self._open.discard(id(node))
            self._known[id(node)], self.changeable = known, before
        if known is None:
            raise ValueError("code")
        self.changeable = self.changeable or known.changeable
        return known

    def _attribute(self, node: ast.Attribute, scope: Scope, branch: Branch, before: int) -> Any:
        """args.lr, cfg.lr, self.lr: what is assigned to it, else the default of what it is one of."""
        path = dotted(node)
        holder = scope.enclosing("class") if path and path.startswith("self.") else scope
        if path and holder is not None and (found := holder.find(path)) is not None:
            givens = found[1]
            if len(givens) > MOST_GIVEN:
                raise ValueError("given too often")
            if before and found[0] is scope and not any(each.branch for each in givens):
                givens = [each for each in givens if each.at < before][-1:]
            if givens:
                return self._one(path, givens, branch if found[0] is scope else ())
        owner = self._owner(node.value, scope)
        if owner is None:
            raise ValueError("an attribute of something unknown")
        if not owner.name:
            return self._one(node.attr, self._names.options.get(node.attr, []), ())
        return self._of_class(owner.name, node.attr, owner)

    def _of_class(self, class_name: str, attribute: str, owner: _Owner = OPTIONS) -> Any:
        """A field: what the call that built the object gives it, else its default, which may be changed."""
        own = self._names.classes[class_name]
        self._spend(1)
        if owner.call is not None and owner.scope is not None:
            if any(each.arg is None for each in owner.call.keywords):
                raise ValueError("built from a mapping")
            if (given := _argument(owner.call, attribute)) is not None:
                return self.plain(given, owner.scope, ())
            place = own.fields.get(attribute, len(owner.call.args))
            if place < len(owner.call.args) and "__init__" not in own.methods:
                return self.plain(owner.call.args[place], owner.scope, ())
        for path in (f"self.{attribute}", attribute):
            if path in own.scope.given:
                givens = own.scope.given[path]
                value = givens[-1].value
                default = _field_default(value) if path == attribute and value is not None else None
                if default is not None:
                    givens = [*givens[:-1], givens[-1]._replace(value=default)]
                found = self._one(path, givens, ())
                self.changeable = self.changeable or path == attribute
                return found
        for base in own.node.bases:
            inner = self._names.own_class(base)
            if inner and inner != class_name:
                return self._of_class(inner, attribute, owner)
        initial = self._names.functions.get(class_name)
        if initial and attribute in initial[1].given:  # save_hyperparameters() and the like
            return self._one(attribute, initial[1].given[attribute], ())
        raise ValueError("no default of that name")

    def _owner(self, node: ast.expr, scope: Scope, hops: int = 8) -> _Owner | None:
        """What the object in front of a dot is."""
        path = dotted(node)
        if path is None or not hops:
            return None
        inside = scope.enclosing("class")
        if path in ("self", "self.hparams", "cls") and inside is not None:
            return _Owner(inside.name)
        if path in self._names.classes:
            return _Owner(path)
        found = (inside if path.startswith("self.") and inside else scope).find(path)
        if found is not None:
            value = found[1][0].value if len(found[1]) == 1 else None
            is_built = isinstance(value, ast.Call) and self._names.own_class(value.func)
            for kind in () if is_built else (found[0].annotations.get(path), value):
                if own := self._names.own_class(kind):
                    return _Owner(own)
            if value is not None:
                return self._built(value, found[1][0].scope, hops)
            if any(each.value is not None for each in found[1]):
                return None
        elif isinstance(node, ast.Attribute) and (inner := self._inner(node, scope, hops)) is not None:
            return inner
        return self._by_habit(path.rpartition(".")[2])

    def _inner(self, node: ast.Attribute, scope: Scope, hops: int) -> _Owner | None:
        """What a field of an object is, which may be an object too."""
        outer = self._owner(node.value, scope, hops - 1)
        if outer is None or not outer.name:
            return None
        if (given := self._given_to(outer, node.attr)) is not None:
            return self._built(*given, hops)
        own = self._names.own_class(self._names.classes[outer.name].scope.annotations.get(node.attr))
        return _Owner(own) if own else None

    def _given_to(self, owner: _Owner, attribute: str) -> tuple[ast.expr, Scope] | None:
        """What an object's field holds: what the call that built it gives, else what the class makes by default."""
        given = _argument(owner.call, attribute) if owner.call is not None else None
        if given is not None and owner.scope is not None:
            return given, owner.scope
        own = self._names.classes[owner.name]
        value = own.scope.given[attribute][-1].value if attribute in own.scope.given else None
        if _is_field(value):
            made = _argument(value, "default_factory")
            value = made.body if isinstance(made, ast.Lambda) else None
        return (value, own.scope) if isinstance(value, ast.Call) else None

    def _built(self, value: ast.expr, scope: Scope, hops: int) -> _Owner | None:
        """What an expression makes: an object of a class of this text, or options."""
        if isinstance(value, ast.Name | ast.Attribute):
            return self._owner(value, scope, hops - 1)
        number = None
        if isinstance(value, ast.Subscript):
            number = value.slice.value if isinstance(value.slice, ast.Constant) else value.slice
            value = value.value
        if not isinstance(value, ast.Call):
            return None
        if number is None and (own := self._names.own_class(value.func)):
            return _Owner(own, value, scope)
        if isinstance(value.func, ast.Attribute) and value.func.attr == PARSERS[2]:
            parsed = self._parsed
            index = 0 if number is None else number
            return _Owner(parsed[index]) if isinstance(index, int) and 0 <= index < len(parsed) else None
        if self._names.parses(value):
            return OPTIONS if not number else None
        classes = [own for each in value.args if (own := self._names.own_class(each))]
        return _Owner(classes[0]) if len(classes) == 1 and number is None else None

    @cached_property
    def _parsed(self) -> list[str]:
        """Classes of this text that HfArgumentParser is asked to fill."""
        for each in self._names.nodes:
            if isinstance(each.node, ast.Call) and (dotted(each.node.func) or "").endswith("ArgumentParser"):
                for argument in each.node.args[:1]:
                    asked = argument.elts if isinstance(argument, ast.Tuple | ast.List) else [argument]
                    return [own for name in asked if (own := self._names.own_class(name))]
        return []

    def _by_habit(self, name: str) -> _Owner | None:
        """Options, where something of which nothing is known bears such a name and only one thing has options."""
        if name not in HOLDERS:
            return None
        holders = [_Owner(each) for each in self._settings[:2]]
        holders += [OPTIONS] if self._names.options else []
        return holders[0] if len(holders) == 1 else None

    def _dict(self, node: ast.expr, scope: Scope) -> tuple[dict[str, ast.expr], Scope] | None:
        """The items of a dict that is written out, perhaps under a name that is given nothing else."""
        path = dotted(node)
        if path is not None and (found := scope.find(path)) is not None and len(found[1]) == 1:
            given = found[1][0]
            if given.value is None or given.branch:
                return None
            node, scope = given.value, given.scope
        if id(node) not in self._items:
            self._items[id(node)] = _items(node)
        items = self._items[id(node)]
        return None if items is None else (items, scope)

    def _item(self, node: ast.expr, key: Any, scope: Scope, branch: Branch) -> Any:
        """config["lr"], of a dict that is written out."""
        found = self._dict(node, scope)
        with suppress(TypeError):
            if found is not None and key in found[0]:
                return self.plain(found[0][key], found[1], branch)
        raise ValueError("an item of something unknown")


def _told_later(names: Names) -> dict[int, dict[str, list[Given]]]:
    """By the call that a name is given: what the text assigns to attributes of that name, by the path to each."""
    told: dict[int, dict[str, list[Given]]] = {}
    for path, givens in names.assigned.items():
        holder = path
        while holder := holder.rpartition(".")[0]:
            for given in givens:
                found = given.scope.find(holder)
                for each in found[1][:MOST_GIVEN] if found else ():
                    made = [each.value, *_returned(names, each.value)] if found else []
                    for number, call in enumerate(made):
                        if found and isinstance(call, ast.Call):
                            unclear = number or given.scope is not found[0]  # nobody knows when it runs
                            one = given._replace(value=None) if unclear else given
                            told.setdefault(id(call), {}).setdefault(path[len(holder) + 1 :], []).append(one)
    return told


def _returned(names: Names, value: ast.expr | None) -> list[ast.expr | None]:
    """What a function of the text returns, where a value is a call of one."""
    if not isinstance(value, ast.Call) or not isinstance(value.func, ast.Name) or value.func.id in names.classes:
        return []
    function, inner = names.functions.get(value.func.id, (None, None))
    returns = [each.value for each in function.body if isinstance(each, ast.Return)] if function else []
    named = [each.id for each in returns if isinstance(each, ast.Name)]
    return [*returns, *(each.value for name in named if inner for each in inner.given.get(name, [])[:MOST_GIVEN])]


def _is_settings(names: Names, class_name: str) -> bool:
    """Whether a class of the text holds values: a dataclass, or one whose body is assignments."""
    node = names.classes[class_name].node
    return (
        any("dataclass" in names.source(each, 60) for each in node.decorator_list)
        or not names.classes[class_name].methods
    )


def _items(node: ast.expr) -> dict[str, ast.expr] | None:
    """The items of a dict that is written out; None where something else or another key is."""
    if isinstance(node, ast.Call) and dotted(node.func) == "dict" and not node.args:
        return {each.arg: each.value for each in node.keywords if each.arg}
    if not isinstance(node, ast.Dict):
        return None
    names = [text_of(key) for key in node.keys]
    items = {name: each for name, each in zip(names, node.values, strict=True) if name is not None}
    return None if None in names else items


def _field_default(value: ast.expr) -> ast.expr | None:
    """The default in a field(default=...) or Field(...); None for another value."""
    if not _is_field(value):
        return None
    return _argument(value, "default") or (value.args[0] if value.args else None)


def _is_field(value: ast.expr | None) -> TypeGuard[ast.Call]:
    return isinstance(value, ast.Call) and last(value.func).lower() == "field"


def _argument(call: ast.Call, name: str) -> ast.expr | None:
    """What a call gives to an argument by name."""
    return next((each.value for each in call.keywords if each.arg == name), None)


_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Pow: operator.pow,
}


def _computed(kind: ast.operator, left: Any, right: Any) -> Any:
    """Arithmetic that stays small."""
    if isinstance(kind, ast.Pow) and abs(right) > LARGEST_POWER:
        raise ValueError("a power beyond reason")
    try:
        result = _ARITHMETIC[type(kind)](left, right)
    except (ZeroDivisionError, OverflowError):
        raise ValueError("arithmetic without a result") from None
    if not isinstance(result, int | float) or not abs(result) <= LARGEST_INTEGER:
        raise ValueError("a number beyond reason")
    return result


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST_INTEGER:
        raise ValueError("not a number")
    return value
