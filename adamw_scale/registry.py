"""Named parts: built-in ones by name, third-party ones through entry points.

A registry maps a name to "module:attribute" and imports it on first use, so a command pays only
for the parts it uses. A package outside this one adds a part by declaring an entry point in the
registry's group, for example in its pyproject.toml:

    [project.entry-points."adamw_scale.frameworks"]
    mine = "my_package.my_module:MyFramework"
"""

import warnings
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from adamw_scale.errors import SpecError, UnknownNameError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


class SkippedPartWarning(UserWarning):
    """A part that another package declares could not be imported, so it is left out."""


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
            SpecError: declared by a package whose code cannot be imported.
        """
        if name in self._parts:
            module, attribute = self._parts[name].split(":")
            return cast(T, getattr(import_module(module), attribute))
        if name not in self._installed():
            raise UnknownNameError(self.kind, name, self)
        return self._loaded(self._installed()[name])

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._parts, *self._installed()]))

    def __contains__(self, name: object) -> bool:
        return name in set(self)

    def items(self) -> Iterator[tuple[str, T]]:
        """Every part by name; of a third-party one that cannot be imported, a warning that it is left out."""
        for name in self:
            try:
                part = self[name]
            except SpecError as error:
                warnings.warn(f"skipped: {error}", SkippedPartWarning, stacklevel=2)
                continue
            yield name, part

    def _loaded(self, entry: "EntryPoint") -> T:
        try:
            return cast(T, entry.load())
        except Exception as error:  # of another package's code, which may raise anything
            package = entry.dist.name if entry.dist else "an unknown package"
            raise SpecError(
                f"{self.kind} {entry.name!r} cannot be imported from {entry.value} of {package} "
                f"({type(error).__name__}: {str(error)[:200]}): update {package}, or uninstall it"
            ) from None

    def _installed(self) -> dict[str, "EntryPoint"]:
        from importlib.metadata import entry_points  # 5 ms, needed only beyond the built-in names

        return {entry.name: entry for entry in entry_points(group=self.group)}
