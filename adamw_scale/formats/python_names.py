"""What the names of a Python text are given, and where: scopes, imports, classes, options of a command line."""

import ast
import re
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

from adamw_scale.errors import SpecError
from adamw_scale.formats.document import ANY_MORE

Branch = tuple[tuple[int, int], ...]  # the ifs, loops and handlers around a node, and which arm of each it is in
PARSERS = ("parse_args", "parse_known_args", "parse_args_into_dataclasses")
MOST_GIVEN = 64  # values of a name that are looked at; one that is given more is code's
MOST_PARTS = 50_000  # statements and expressions of a text; the largest files of libraries have 35,000
MOST_CALLS = 5_000  # of a text, with its dicts; the same have 3,000
SHOWN = 80  # characters of source that stand for a value
LONGEST_UNPARSED = 200  # characters of source that are put into standard form
CHANGERS = frozenset({"update", "pop", "popitem", "setdefault", "clear", "__setitem__", "__delitem__"})  # of a dict
GROUPS = "param_groups"  # ends the name of an optimizer's
DATA_BASES = ("Arguments", "Config", "Args")  # ends of the names of classes whose fields are settings


class Given(NamedTuple):
    """Something that a name is given: an expression and where its own names are looked up; None for code.

    `changeable` is a default that a command line, an environment or a caller may change.
    """

    value: ast.expr | None
    scope: "Scope"
    branch: Branch
    changeable: bool = False
    at: int = 0


class Scope:
    """A module, class or function and what its names are given, in the order of the text."""

    def __init__(self, parent: "Scope | None", kind: str = "module", name: str = "") -> None:
        self.parent, self.kind, self.name = parent, kind, name
        self.given: dict[str, list[Given]] = {}
        self.others: dict[str, Scope] = {}  # names that are declared global or nonlocal, and whose they are
        self.annotations: dict[str, ast.expr] = {}

    def give(self, path: str, given: Given) -> None:
        """Remember one more value of a name."""
        self.given.setdefault(path, []).append(given)

    def find(self, path: str) -> tuple["Scope", list[Given]] | None:
        """The innermost scope that gives a name something; methods do not see their class' names."""
        scope: Scope | None = self
        while scope is not None:
            if path in scope.given and (scope is self or scope.kind != "class"):
                return scope, scope.given[path]
            scope = scope.parent
        return None

    def enclosing(self, kind: str) -> "Scope | None":
        """This scope or the nearest around it of a kind."""
        scope: Scope | None = self
        while scope is not None and scope.kind != kind:
            scope = scope.parent
        return scope


class Class:
    """A class of the text: its body's scope, and the scope around it."""

    def __init__(self, node: ast.ClassDef, scope: Scope, outer: Scope) -> None:
        self.node, self.scope, self.outer = node, scope, outer

    @cached_property
    def fields(self) -> dict[str, int]:
        """Names of its annotated fields, and the place of each."""
        return {name: place for place, name in enumerate(each for each in self.scope.annotations if "." not in each)}

    @cached_property
    def methods(self) -> frozenset[str]:
        """Names of its methods."""
        return frozenset(each.name for each in self.node.body if isinstance(each, ast.FunctionDef))


class Node(NamedTuple):
    """A call, or a dict that is written out, and where it stands."""

    node: ast.Call | ast.Dict
    scope: Scope
    branch: Branch


class Names:
    """A text's names: what its module, classes and functions give them."""

    def __init__(self, text: str) -> None:
        self.module = Scope(None)
        self._lines = text.encode().splitlines(keepends=True)
        self.imports: dict[str, str | None] = {}  # None where two imports give one name two meanings
        self.classes: dict[str, Class] = {}
        self.functions: dict[str, tuple[ast.FunctionDef | ast.AsyncFunctionDef, Scope]] = {}
        self.options: dict[str, list[Given]] = {}
        self.nodes: list[Node] = []
        self.assigned: dict[str, list[Given]] = {}
        self.regrouped: dict[str, int] = {}  # keys that code sets in an optimizer's groups, and the line of each
        self._parsing: dict[str, bool] = {}
        self._bases: dict[tuple[str, int], str | None] = {}

    def source(self, node: ast.expr, most: int = SHOWN) -> str:
        """The first characters of an expression: in standard form, and as it is written where it is long."""
        if (path := dotted(node)) is not None:
            return path[:most]
        if not hasattr(node, "lineno"):  # an item of what a tuple is given, or a default that is not written
            inner = f"{self.source(node.value)}[{ast.unparse(node.slice)}]" if isinstance(node, ast.Subscript) else ""
            return (inner or ast.unparse(node))[:most]
        written = self._written(node)
        if len(written) > LONGEST_UNPARSED or (isinstance(node, ast.Call) and _STANDARD.fullmatch(written)):
            return " ".join(written.split())[:most]
        return ast.unparse(node)[:most]

    def _written(self, node: ast.expr) -> str:
        """What an expression is in the text; of a long one no more than its beginning."""
        first, *others = self._lines[node.lineno - 1 : node.end_lineno] or [b""]
        start, end = node.col_offset, node.end_col_offset or 0
        most = 4 * LONGEST_UNPARSED
        if not others:
            return first[start : min(end, start + most)].decode(errors="ignore")
        *between, last = others[:most]
        text = first[start : start + most] + b"".join(each[:most] for each in between)
        return (text + (last[:end] if len(others) <= most else last))[:most].decode(errors="ignore")

    def resolved(self, node: ast.expr, scope: Scope, hops: int = 8) -> str:
        """A name with what it is imported as; a file's own alias of one is followed."""
        path = dotted(node)
        if path is None:
            return self.source(node, 200)
        root, _, rest = path.partition(".")
        found = scope.find(root)
        if found is not None and hops:
            values = found[1]
            value = values[0].value
            if len(values) == 1 and value is not None and dotted(value) and dotted(value) != root:
                whole = self.resolved(value, values[0].scope, hops - 1)
                return f"{whole}.{rest}" if rest else whole
            return path
        imported = self.imports.get(root)
        if imported is None or root in self.classes or root in self.functions:
            return path
        return f"{imported}.{rest}" if rest else imported

    def own_class(self, node: ast.expr | None) -> str | None:
        """The name of a class of this text, where that is what an expression names."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value if node.value in self.classes else None
        return node.id if isinstance(node, ast.Name) and node.id in self.classes else None

    def foreign_base(self, name: str, hops: int = 8) -> str | None:
        """The imported class of settings that a class of this text extends, through others of this text."""
        if (name, hops) not in self._bases:
            own = self.classes[name]
            bases = () if {"__init__", "step"} & own.methods else own.node.bases
            found = (self._foreign(base, own.outer, hops) for base in bases)
            self._bases[name, hops] = next((each for each in found if each), None)
        return self._bases[name, hops]

    def _foreign(self, base: ast.expr, scope: Scope, hops: int) -> str | None:
        if inner := self.own_class(base):
            return self.foreign_base(inner, hops - 1) if hops else None
        name = self.resolved(base, scope)
        return name if name.endswith(DATA_BASES) else None

    def parses(self, node: ast.expr) -> bool:
        """Whether a call gives the options of the command line, itself or in a function of this text."""
        if not isinstance(node, ast.Call):
            return False
        name = last(node.func)
        if name not in self._parsing:
            inner = ast.walk(self.functions[name][0]) if name in self.functions else iter(())
            self._parsing[name] = name in PARSERS[:2] or any(
                isinstance(each, ast.Call) and last(each.func) in PARSERS[:2] for each in inner
            )
        return self._parsing[name]


def dotted(node: ast.AST | None) -> str | None:
    """The path that a chain of names is; None for anything else."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    return ".".join([node.id, *reversed(parts)])


def last(node: ast.AST) -> str:
    """The last name of a path; empty for anything else."""
    return (dotted(node) or "").rpartition(".")[2]


def text_of(node: ast.expr | None) -> str | None:
    """A text that is written out; None for anything else."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def survey(text: str) -> Names:
    """All names of a text.

    Raises:
        SpecError: it has more parts or calls than a training script.
    """
    if text.count("{") > MOST_CALLS:  # for those in f-strings Python itself takes quadratic time
        raise SpecError(f"more than {MOST_CALLS:,} braces: this is no training script; pass one")
    tree = ast.parse(text)
    names = Names(text)
    walker = _Walker(names)
    for statement in tree.body:
        walker.walk(statement, names.module, ())
    _pass_on(names)
    return names


_Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
_BARE = (ast.expr_context, ast.operator, ast.unaryop, ast.boolop, ast.cmpop)  # nodes that are a word
_STANDARD = re.compile(
    r"[A-Za-z_][\w.]*\((?:[A-Za-z_][\w.]*(?:, [A-Za-z_][\w.]*)*)?\)", re.ASCII
)  # what unparse leaves


class _Walker:
    """Goes through a text in its order."""

    def __init__(self, names: Names) -> None:
        self._names, self._at, self._parts = names, 0, 0
        self._groups: set[str] = set()  # names of loops over an optimizer's groups

    def walk(self, node: ast.AST, scope: Scope, branch: Branch) -> None:
        """Remember what a node gives to names, and what is in it."""
        self._count()
        method = getattr(self, f"_on_{type(node).__name__.lower()}", None)
        if method is not None:
            method(node, scope, branch)
        else:
            self._inside(node, scope, branch)

    def _count(self) -> None:
        self._parts += 1
        if self._parts > MOST_PARTS or len(self._names.nodes) > MOST_CALLS:
            raise SpecError(
                f"more than {MOST_PARTS:,} expressions or {MOST_CALLS:,} calls: this is no training script; pass one"
            )

    def _inside(self, node: ast.AST, scope: Scope, branch: Branch) -> None:
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, _BARE):
                self.walk(child, scope, branch)

    def _each(self, nodes: list[ast.stmt], scope: Scope, branch: Branch) -> None:
        for node in nodes:
            self.walk(node, scope, branch)

    def _on_import(self, node: ast.Import, _scope: Scope, _branch: Branch) -> None:
        for alias in node.names:
            self._imported(alias.asname or alias.name.partition(".")[0], alias.name if alias.asname else None)

    def _on_importfrom(self, node: ast.ImportFrom, scope: Scope, branch: Branch) -> None:
        for alias in node.names:
            if alias.name == "*":
                for name in tuple(scope.given):  # which it may give other values
                    self._give(ast.Name(name), None, scope, branch)
            else:
                module = "." * node.level + (node.module or "")
                self._imported(alias.asname or alias.name, f"{module}.{alias.name}")

    def _imported(self, name: str, whole: str | None) -> None:
        imports, whole = self._names.imports, whole or name
        imports[name] = whole if imports.get(name, whole) == whole else None

    def _on_functiondef(self, node: ast.FunctionDef | ast.AsyncFunctionDef, scope: Scope, branch: Branch) -> None:
        inner = Scope(scope, "function", node.name)
        for decorator in node.decorator_list:
            self.walk(decorator, scope, branch)
        options = {name: given for each in node.decorator_list for name, given in _click_option(each, scope, branch)}
        for argument, default in _parameters(node.args):
            given = options.get(argument.arg) or Given(default, scope, branch, default is not None)
            inner.give(argument.arg, given._replace(branch=()))
            if argument.annotation is not None:
                inner.annotations[argument.arg] = argument.annotation
            if default is not None:
                self.walk(default, scope, branch)
        if scope.kind != "class":
            self._names.functions[node.name] = (node, inner)
        elif node.name == "__init__":
            self._names.functions[scope.name] = (node, inner)
        self._each(node.body, inner, ())

    _on_asyncfunctiondef = _on_functiondef

    def _on_lambda(self, node: ast.Lambda, scope: Scope, branch: Branch) -> None:
        inner = Scope(scope, "function")
        for argument, _ in _parameters(node.args):
            inner.give(argument.arg, Given(None, scope, ()))
        self.walk(node.body, inner, branch)

    def _comprehension(self, node: _Comprehension, scope: Scope, branch: Branch) -> None:
        inner = Scope(scope, "function")
        for each in node.generators:
            for target in ast.walk(each.target):
                if isinstance(target, ast.Name):
                    inner.give(target.id, Given(None, scope, ()))
        self._inside(node, inner, branch)

    _on_listcomp = _on_setcomp = _on_dictcomp = _on_generatorexp = _comprehension

    def _on_classdef(self, node: ast.ClassDef, scope: Scope, branch: Branch) -> None:
        inner = Scope(scope, "class", node.name)
        self._names.classes[node.name] = Class(node, inner, scope)
        self._each(node.body, inner, ())
        for decorator in node.decorator_list:
            self.walk(decorator, scope, branch)

    def _on_if(self, node: ast.If, scope: Scope, branch: Branch) -> None:
        self.walk(node.test, scope, branch)
        if "__name__" in self._names.source(node.test, 40):
            self._each([*node.body, *node.orelse], scope, branch)
            return
        self._each(node.body, scope, (*branch, (id(node), 0)))
        self._each(node.orelse, scope, (*branch, (id(node), 1)))

    def _loop(self, node: ast.For | ast.While | ast.AsyncFor, scope: Scope, branch: Branch) -> None:
        if not isinstance(node, ast.While):
            self._changed(node.target, scope, branch)
            if any(last(each).endswith(GROUPS) for each in ast.walk(node.iter)):
                self._groups |= {each.id for each in ast.walk(node.target) if isinstance(each, ast.Name)}
        self.walk(node.test if isinstance(node, ast.While) else node.iter, scope, branch)
        self._each([*node.body, *node.orelse], scope, (*branch, (id(node), 0)))

    _on_for = _on_while = _on_asyncfor = _loop

    def _on_try(self, node: ast.Try, scope: Scope, branch: Branch) -> None:
        self._each([*node.body, *node.orelse, *node.finalbody], scope, branch)
        for number, handler in enumerate(node.handlers):
            self._each(handler.body, scope, (*branch, (id(node), number)))

    def _on_match_case(self, node: ast.match_case, scope: Scope, branch: Branch) -> None:
        self._each(node.body, scope, (*branch, (id(node), 0)))

    def _on_global(self, node: ast.Global, scope: Scope, _branch: Branch) -> None:
        scope.others |= dict.fromkeys(node.names, self._names.module)

    def _on_nonlocal(self, node: ast.Nonlocal, scope: Scope, _branch: Branch) -> None:
        outer = scope.parent or scope
        scope.others |= {name: found[0] for name in node.names if (found := outer.find(name))}

    def _on_delete(self, node: ast.Delete, scope: Scope, branch: Branch) -> None:
        for target in node.targets:
            if isinstance(target, ast.Subscript):
                self._changed(target, scope, branch)

    def _on_assign(self, node: ast.Assign, scope: Scope, branch: Branch) -> None:
        if last(_held(node.value)).endswith(GROUPS):
            self._groups |= {each.id for each in node.targets if isinstance(each, ast.Name)}
        for target in node.targets:
            self._give(target, node.value, scope, branch)
        self.walk(node.value, scope, branch)

    def _on_annassign(self, node: ast.AnnAssign, scope: Scope, branch: Branch) -> None:
        path = dotted(node.target)
        if path:
            scope.annotations[path] = node.annotation
        if node.value is not None:
            self._give(node.target, node.value, scope, branch)
            self.walk(node.value, scope, branch)

    def _on_augassign(self, node: ast.AugAssign, scope: Scope, branch: Branch) -> None:
        self._changed(node.target, scope, branch)
        self.walk(node.value, scope, branch)

    def _on_namedexpr(self, node: ast.NamedExpr, scope: Scope, branch: Branch) -> None:
        self._changed(node.target, scope, branch)
        self.walk(node.value, scope, branch)

    def _on_withitem(self, node: ast.withitem, scope: Scope, branch: Branch) -> None:
        self.walk(node.context_expr, scope, branch)
        if node.optional_vars is not None:
            self._changed(node.optional_vars, scope, branch)

    def _on_call(self, node: ast.Call, scope: Scope, branch: Branch) -> None:
        self._names.nodes.append(Node(node, scope, branch))
        self._options(node, scope, branch)
        self._sets(node, scope, branch)
        self._inside(node, scope, branch)

    def _options(self, node: ast.Call, scope: Scope, branch: Branch) -> None:
        """What a call says of options of the command line."""
        name, options = last(node.func), self._names.options
        if name in ("add_argument", "add_arg") or name.startswith("DEFINE_"):
            for option, default in _argparse_option(node, flags=name.startswith("DEFINE_")):
                options.setdefault(option, []).append(Given(default, scope, branch, changeable=True))
        elif name == "set_defaults":
            for keyword in _items(node.keywords):
                for option in tuple(options) if keyword.arg is None else (keyword.arg,):
                    value = keyword.value if keyword.arg else None
                    options[option] = [Given(value, scope, branch, changeable=True)]
        elif name in PARSERS[:2] and node.args and isinstance(node.args[0], ast.List | ast.Tuple):
            for option, value in _command_line(node.args[0].elts):
                options[option] = [Given(value, scope, branch)]

    def _sets(self, node: ast.Call, scope: Scope, branch: Branch) -> None:
        """What a call gives to names, to attributes and to items of a dict."""
        name = last(node.func)
        if isinstance(node.func, ast.Attribute) and node.func.attr in CHANGERS:
            self._changes_dict(node, node.func.value, scope, branch)
        elif name == "setattr" and len(node.args) == 3:
            if (attribute := text_of(node.args[1])) is not None:
                self._give(ast.Attribute(node.args[0], attribute), node.args[2], scope, branch)
        elif name in ("replace", "evolve") and node.args:  # another object, of which one is used
            for keyword in node.keywords:
                self._give(ast.Attribute(node.args[0], keyword.arg or ANY_MORE), None, scope, branch)
        elif (path := dotted(node.func)) and (found := scope.find(path)) and _is_partial(found[1][0].value):
            for keyword in node.keywords:  # goes before what the partial is given
                self._give(ast.Attribute(node.func, keyword.arg or ANY_MORE), keyword.value, scope, branch)

    def _changes_dict(self, node: ast.Call, changed: ast.expr, scope: Scope, branch: Branch) -> None:
        """kwargs.update(weight_decay=0.3) and the like, of a dict that is written out or of an optimizer's group."""
        held = _held(changed)
        holder = dotted(held) or ""
        items = [*node.keywords, *(_entries(node.args[0]) if node.args else ())]
        fields = held.args[0] if isinstance(held, ast.Call) and dotted(held.func) == "vars" and held.args else None
        if isinstance(held, ast.Attribute) and held.attr == "__dict__":
            fields = held.value
        if fields is not None:
            for each in items:
                if each.arg is not None:
                    self._give(ast.Attribute(fields, each.arg), each.value, scope, branch)
        elif self._is_group(held):
            for key in [each.arg for each in items]:
                for name in ("lr", "weight_decay") if key is None else (key,):
                    self._names.regrouped.setdefault(name, node.lineno)
        elif (found := scope.find(holder)) and any(_is_dict(each.value) for each in found[1][:MOST_GIVEN]):
            self._give(held, None, found[0], branch if found[0] is scope else (*branch, (id(node), 0)))

    def _on_dict(self, node: ast.Dict, scope: Scope, branch: Branch) -> None:
        self._names.nodes.append(Node(node, scope, branch))
        self._inside(node, scope, branch)

    def _give(self, target: ast.expr, value: ast.expr | None, scope: Scope, branch: Branch) -> None:
        if isinstance(target, ast.Tuple | ast.List):
            for number, each in enumerate(target.elts):
                inner = value.elts if isinstance(value, ast.Tuple | ast.List) else None
                if inner is not None and len(inner) == len(target.elts):
                    self._give(each, inner[number], scope, branch)
                else:
                    item = ast.Subscript(value, ast.Constant(number)) if value is not None else None
                    self._give(each, item, scope, branch)
            return
        if isinstance(target, ast.Subscript):
            self._changed(target, scope, branch)
            return
        path = dotted(target)
        if path is None:
            return
        self._count()
        self._at += 1
        given = Given(value, scope, branch, at=self._at)
        owner = scope.enclosing("class") if path.startswith("self.") else scope.others.get(path)
        if owner is not None and path in scope.others:  # of which nobody knows when it runs
            given = given._replace(branch=(*branch, (id(scope), 0)))
        (owner or scope).give(path, given)
        if owner is None and scope.kind != "class":
            self._names.assigned.setdefault(path, []).append(given)

    def _is_group(self, node: ast.expr) -> bool:
        """Whether something is an optimizer's groups, or one of them."""
        return last(node).endswith(GROUPS) or dotted(node) in self._groups

    def _changed(self, target: ast.expr, scope: Scope, branch: Branch) -> None:
        """A name that code changes."""
        key = target.slice if isinstance(target, ast.Subscript) else None
        if isinstance(key, ast.Constant) and self._is_group(_held(target)):
            self._names.regrouped.setdefault(str(key.value), target.lineno)
        inside = isinstance(target, ast.Subscript)
        while isinstance(target, ast.Subscript | ast.Starred):
            target = target.value
        if inside and (found := scope.find(dotted(target) or "")) and found[0] is not scope:
            scope, branch = found[0], (*branch, (id(target), 0))
        self._give(target, None, scope, branch)


def _held(node: ast.expr) -> ast.expr:
    """What an item of an item is of."""
    while isinstance(node, ast.Subscript):
        node = node.value
    return node


def _is_dict(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Dict) or (isinstance(node, ast.Call) and dotted(node.func) == "dict")


def _is_partial(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Call) and last(node.func) == "partial"


def _items(keywords: list[ast.keyword]) -> list[ast.keyword]:
    """Keywords with those of a dict that is spread."""
    return [each for one in keywords for each in (_entries(one.value) if one.arg is None else [one])]


def _command_line(words: list[ast.expr]) -> Iterator[tuple[str, ast.expr | None]]:
    """Options that a list of words gives: what follows each, None for code."""
    texts = [text_of(each) for each in words]
    for text, following in zip(texts, [*texts[1:], None], strict=False):
        if text and text.startswith("--"):
            option, told, value = text.lstrip("-").partition("=")
            try:
                number: ast.expr | None = ast.Constant(float(value if told else following or ""))
            except ValueError:
                number = None
            yield option.replace("-", "_"), number


def _entries(node: ast.expr) -> list[ast.keyword]:
    """The items of a dict as keywords; one without a name where some are code."""
    if not isinstance(node, ast.Dict):
        return [ast.keyword(None, node)]
    return [ast.keyword(text_of(key), each) for key, each in zip(node.keys, node.values, strict=True)]


def _parameters(arguments: ast.arguments) -> Iterator[tuple[ast.arg, ast.expr | None]]:
    """Parameters of a function with their defaults."""
    ordered = [*arguments.posonlyargs, *arguments.args]
    missing: list[ast.expr | None] = [None] * (len(ordered) - len(arguments.defaults))
    yield from zip(ordered, [*missing, *arguments.defaults], strict=True)
    yield from zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    for each in (arguments.vararg, arguments.kwarg):
        if each is not None:
            yield each, None


def _argparse_option(node: ast.Call, *, flags: bool) -> Iterator[tuple[str, ast.expr | None]]:
    """An option of argparse, or of absl's flags, with its default."""
    texts = [text for each in node.args if (text := text_of(each)) is not None]
    keywords = {keyword.arg: keyword.value for keyword in node.keywords}
    if flags:
        if texts:
            yield texts[0], keywords.get("default") or (node.args[1] if len(node.args) > 1 else None)
        return
    dest = keywords.get("dest")
    named = next((text for text in texts if text.startswith("--")), texts[0] if texts else None)
    told = text_of(dest)
    name = named if told is None else told
    if name:
        action = keywords.get("action")
        off = isinstance(action, ast.Constant) and action.value == "store_true"
        yield (
            name.lstrip("-").replace("-", "_"),
            keywords.get("default") or (ast.Constant(value=False) if off else None),
        )


def _click_option(node: ast.expr, scope: Scope, branch: Branch) -> Iterator[tuple[str, Given]]:
    """An option that a decorator of click's gives to a parameter."""
    if isinstance(node, ast.Call) and last(node.func) == "option":
        for name, default in _argparse_option(node, flags=False):
            yield name, Given(default, scope, branch, changeable=True)


def _pass_on(names: Names) -> None:
    """What the calls of a text's own functions give to their parameters."""
    passed: dict[str, list[Node]] = {}
    for each in names.nodes:
        if isinstance(each.node, ast.Call) and isinstance(each.node.func, ast.Name):
            passed.setdefault(each.node.func.id, []).append(each)
        elif isinstance(each.node, ast.Call) and names.source(each.node.func, 30) == "super().__init__":
            own = each.scope.enclosing("class")
            for base in names.classes[own.name].node.bases if own and own.name in names.classes else ():
                passed.setdefault(dotted(base) or "", []).append(each)
    for name, (function, inner) in names.functions.items():
        calls = passed.get(name, [])
        if len(calls) > MOST_GIVEN:
            for argument, _ in _parameters(function.args):
                inner.give(argument.arg, Given(None, inner, ()))
            continue
        skipped = 1 if name in names.classes else 0
        ordered = [each.arg for each in (*function.args.posonlyargs, *function.args.args)][skipped:]
        told = [_arguments(each, ordered) for each in calls]
        for argument, _ in _parameters(function.args):
            given = [each.get(argument.arg, any_) for each, any_ in told]
            values = [each for each in given if each is not None]
            if values:
                defaults = inner.given[argument.arg][:1] if len(values) < len(calls) else []
                inner.given[argument.arg] = [*defaults, *values, *inner.given[argument.arg][1:]]


def _arguments(call: Node, ordered: list[str]) -> tuple[dict[str, Given], Given | None]:
    """What a call gives to parameters, and to all others: code where it spreads something, else nothing."""
    node = call.node
    if isinstance(node, ast.Dict):
        return {}, None
    spreads = any(each.arg is None for each in node.keywords) or any(isinstance(a, ast.Starred) for a in node.args)
    placed = {} if spreads else dict(zip(ordered, node.args, strict=False))
    named = {each.arg: each.value for each in node.keywords if each.arg is not None}
    given = {name: Given(value, call.scope, ()) for name, value in (placed | named).items()}
    return given, Given(None, call.scope, ()) if spreads else None
