"""Variables of a script: what they hold, what two branches leave of them, and how much a script may do."""

from adamw_scale.formats.bash.arithmetic import NotKnownError, computed
from adamw_scale.formats.bash.syntax import names_set
from adamw_scale.formats.bash.values import LONGEST, WIDE, Array, Unknowns, Value, defaulted, is_known, like, plain

MOST_STEPS = 10_000  # statements, words and expansions
MOST_HOPS = 8  # of names in arithmetic that stand for names
MOST_TEXT = 1 << 21  # characters that a script puts together
LISTS = ("@", "*")


class Scope:
    """Variables, what a script or function was called with, and attributes of names."""

    def __init__(self) -> None:
        self.variables: dict[str, Value] = {}
        self.positional: tuple[str, ...] | None = None  # None: those of the script, which nobody knows
        self.exported: frozenset[str] = frozenset()  # to a child
        self.keyed: frozenset[str] = frozenset()  # by declare -A
        self.typed: frozenset[str] = frozenset()  # by an attribute that changes what is stored
        self.splits = True  # on blanks alone, as IFS was left as it is

    def copy(self) -> "Scope":
        """The same, to be changed apart."""
        copied = Scope()
        copied.__dict__ |= self.__dict__
        copied.variables = dict(self.variables)
        return copied


class Variables:
    """Variables in a scope, which `scope` holds and may be exchanged."""

    def __init__(self) -> None:
        self.unknowns = Unknowns()
        self.scope = Scope()
        self.by_default = 0  # branches around that were chosen by a default
        self._text = self._steps = 0

    def step(self, count: int = 1) -> None:
        """Count what is done.

        Raises:
            ValueError: it is more than a script does.
        """
        self._steps += count
        if self._steps > MOST_STEPS:
            raise ValueError("more steps than a launch script takes")

    def spend(self, characters: int) -> None:
        """Count what a script puts together.

        Raises:
            ValueError: it is more than a script has.
        """
        self._text += characters
        if characters > LONGEST or self._text > MOST_TEXT:
            raise ValueError("its variables become longer than any script's")

    def assign(self, name: str, value: Value) -> None:
        """Give a variable a value; in a branch that a default chose, a default."""
        if name == "IFS":
            self.scope.splits = False
        if name in self.scope.typed:
            value = self.unknowns.mark(f"${name}", f"${name} (which declare gave a type)")
        self.spend(sum(map(len, value.values())) if isinstance(value, dict) else len(value or ""))
        self.scope.variables[name] = value
        if self.by_default:
            self.assign_default(name)

    def assign_default(self, name: str) -> None:
        """A variable's value comes from a default."""
        value = self.scope.variables[name]
        if isinstance(value, dict):
            self.scope.variables[name] = {key: defaulted(item) for key, item in value.items()}
        elif value is not None:
            self.scope.variables[name] = defaulted(value)

    def forget(self, name: str, why: str, alternatives: tuple[str, ...] = ()) -> None:
        """A variable has a value that is not known; what it had is one that it may have."""
        may_be = (*alternatives, text_of(self.scope.variables.get(name)))
        self.scope.variables[name] = self.unknowns.mark(f"${name}", f"${name} ({why})", alternatives=may_be)

    def value(self, name: str, key: str = "0") -> str | None:
        """A variable's text, or an item's; None where it is certainly unset."""
        if name == "0" or name in ("?", "$", "!", "-", "RANDOM", "SECONDS", "LINENO", "BASHPID"):
            return self.unknowns.mark(f"${name}")
        given = self.scope.positional
        if name.isdigit():
            if given is None or any(WIDE in each for each in given[: int(name)]):
                return self.unknowns.mark(f"${name}", name=name if given is None else "")
            return given[int(name) - 1] if int(name) <= len(given) else None
        if name == "#":
            if given is None or any(WIDE in each for each in given):
                return self.unknowns.mark("$#")
            return str(len(given))
        if name not in self.scope.variables:
            return self.unknowns.mark(f"${name}", name=name)
        value = self.scope.variables[name]
        if not isinstance(value, dict):
            return value if key == "0" or value is None or not is_known(value) else None
        for place, each in value.items():
            if WIDE in each and (name in self.scope.keyed or not key.isdigit() or int(place) <= int(key)):
                return self.unknowns.mark(f"${{{name}[{key}]}}", each)
        return value.get(key)

    def items(self, name: str) -> Array:
        """Every item of an array, or of a variable as an array."""
        if name in LISTS:
            given = self.scope.positional
            if given is None:
                return {"1": self.unknowns.mark('"$@"', name="@") + WIDE}
            return {str(place): each for place, each in enumerate(given, 1)}
        if name not in self.scope.variables:
            return {"0": self.unknowns.mark(f"${{{name}[@]}}", name=name) + WIDE}
        value = self.scope.variables[name]
        if isinstance(value, dict):
            return value
        return {} if value is None else {"0": value if is_known(value) else value + WIDE}

    def computed(self, text: str, source: str) -> str:
        """What an expression is, as text; `source` is how it is written."""
        used = [text]

        def named(name: str, hops: int = 0) -> int:
            value = self.value(name) or "0"
            used.append(value)
            if not is_known(value) or hops > MOST_HOPS:
                raise NotKnownError
            return computed(plain(value), lambda inner: named(inner, hops + 1))

        try:
            if not is_known(text):
                raise NotKnownError
            return like(str(computed(plain(text), named)), *used)
        except NotKnownError:
            for name in names_set(f"(({plain(text)}"):
                self.forget(name, f"set by (({source}))")
            return self.unknowns.mark("$unknown", f"$(({source}))")

    def join(self, scopes: list[Scope], by: str, missing: str, default: Scope | None) -> None:
        """One scope for what several may be; in `default` the environment has not set `missing`."""
        self.scope = scopes[0]
        for name in dict.fromkeys(name for scope in scopes for name in scope.variables):
            values = [scope.variables.get(name, ABSENT) for scope in scopes]
            if all(value == values[0] for value in values):
                continue
            given = default.variables.get(name) if default is not None and name == missing else None
            if isinstance(given, str) and ABSENT in values:
                self.scope.variables[name] = defaulted(given)
            else:
                self.scope.variables[name] = self._one_of(name, values, by)
        for scope in scopes[1:]:
            self.scope.splits &= scope.splits
            self.scope.exported |= scope.exported
            self.scope.typed |= scope.typed | (scope.keyed ^ self.scope.keyed)
            if scope.positional != scopes[0].positional:
                self.scope.positional = None

    def _one_of(self, name: str, values: list[Value], by: str) -> Value:
        """A value that is one of several: the items or words that all of them start with are known."""
        arrays = all(isinstance(value, dict) for value in values)
        lists = [_parts(value, arrays=arrays) for value in values]
        same = 0
        while all(same < len(each) and each[same] == lists[0][same] for each in lists):
            same += 1
        rests = tuple(dict.fromkeys(" ".join(text for _, text in each[same:]) for each in lists))
        shown = " or ".join(dict.fromkeys(self.unknowns.shown(text) or "nothing" for text in rests))
        why = f"${name} ({shown}, by {' '.join(by.split())})"
        mark = self.unknowns.mark(f"${name}", why, alternatives=rests)
        if arrays:
            return with_more(dict(lists[0][:same]), mark)
        return " ".join([*(text for _, text in lists[0][:same]), mark])


ABSENT = "\U0010fffb"  # in the place of a variable that is the environment's


def text_of(value: Value) -> str:
    """A value as one text."""
    return " ".join(value.values()) if isinstance(value, dict) else value or ""


def with_more(items: Array, mark: str) -> Array:
    """An array with what it may have besides, or nothing, behind what is known of it."""
    return {**items, str(max((int(each) for each in items if each.isdigit()), default=-1) + 1): mark + WIDE}


def _parts(value: Value, *, arrays: bool) -> list[tuple[str, str]]:
    """Items of an array with their places; else words."""
    if arrays and isinstance(value, dict):
        return list(value.items())
    return [("", word) for word in text_of(value).replace(ABSENT, "").split()]
