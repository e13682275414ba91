"""Named parts: built-in ones by name, third-party ones through entry points.

A registry maps a name to "module:attribute" and imports it on first use, so a command pays only
for the parts it uses. A package outside this one adds a part by declaring an entry point in the
registry's group, for example in its pyproject.toml:

    [project.entry-points."adamw_scale.frameworks"]
    mine = "my_package.my_module:MyFramework"
"""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Generic, TypeVar, cast

from adamw_scale.errors import UnknownNameError

T = TypeVar("T")


class Registry(Generic[T]):
    """Parts of one kind by name; unknown names are answered with the nearest and the full list."""

    def __init__(self, kind: str, group: str, parts: Mapping[str, str]) -> None:
        self.kind = kind
        self.group = group
        self._parts = dict(parts)

    def __getitem__(self, name: str) -> T:
        """The part of that name, imported now if it was not.

        Raises:
            UnknownNameError: neither built in nor declared by an installed package.
        """
        target = self._parts.get(name) or self._installed().get(name)
        if target is None:
            raise UnknownNameError(self.kind, name, self)
        module, attribute = target.split(":")
        return cast(T, getattr(import_module(module), attribute))

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._parts, *self._installed()]))

    def __contains__(self, name: object) -> bool:
        return name in set(self)

    def _installed(self) -> dict[str, str]:
        from importlib.metadata import entry_points  # 5 ms, needed only beyond the built-in names

        return {entry.name: entry.value for entry in entry_points(group=self.group)}
