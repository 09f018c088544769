"""One registry for all that is entered by a decorator: rules, definitions, methods, metrics."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoints, entry_points
from pkgutil import walk_packages
from threading import RLock
from typing import Any, Generic, TypeVar

from onnxcam.errors import UsageError

K = TypeVar("K")
V = TypeVar("V")


class Source:
    """Where entries come from: the files of a package, and plug-ins of other packages.

    Args:
        package: Name of a package, whose files and those of its sub-folders are imported, or of
            a single file.
        group: Group of entry points. Each names a module (``package.module``), whose import
            enters what it brings.
    """

    def __init__(self, package: str, group: str) -> None:
        self.package, self.group = package, group
        self._lock, self._loading, self._loaded = RLock(), False, False
        self._error: UsageError | None = None

    @property
    def plug_ins(self) -> bool:
        """Whether there are plug-ins, loaded or not."""
        return bool(_plug_ins(self.group))

    def load(self) -> None:
        """Import everything, once; a call from one of the imported files returns at once.

        Raises:
            UsageError: A plug-in cannot be loaded; from then on every call raises it.
        """
        if self._loaded:
            return
        with self._lock:  # another thread waits here until everything is there
            if self._error is not None:
                raise self._error
            if self._loaded or self._loading:
                return
            self._loading = True
            try:
                self._import()
                self._loaded = True
            finally:
                self._loading = False

    def _import(self) -> None:
        folder = getattr(import_module(self.package), "__path__", ())  # a file has none
        for module in walk_packages(folder, f"{self.package}."):
            import_module(module.name)
        for plug_in in _plug_ins(self.group):
            try:
                plug_in.load()
            except Exception as error:
                self._error = UsageError(
                    f"the plug-in {plug_in.name!r} ({plug_in.value}, in {self.group}) cannot be "
                    f"loaded: {type(error).__name__}: {error}",
                    "repair the package that brings it, or uninstall it",
                )
                raise self._error from error


class Registry(Generic[K, V]):
    """What files and plug-ins entered, by key.

    Args:
        what: What the entries are, for errors: "methods".
        source: Where the entries come from; it is loaded when the first is looked up.

    Attributes:
        entries: What is entered so far.
    """

    def __init__(self, what: str, source: Source) -> None:
        self.what, self.source = what, source
        self.entries: dict[K, V] = {}
        self._modules: dict[K, str] = {}

    def enter(self, key: K, value: V, module: str = __name__) -> V:
        """Enter a value, and return it.

        Args:
            key: What it is looked up by.
            value: The value.
            module: Name of the module that enters it.

        Raises:
            ValueError: There is one of this key.
        """
        if key in self.entries:
            raise ValueError(f"two {self.what} of the name {key!r}")
        self.entries[key], self._modules[key] = value, module
        return value

    def get(self, key: K) -> V | None:
        """Return the value of a key, None where there is none."""
        self.source.load()
        return self.entries.get(key)

    def items(self) -> Iterator[tuple[K, V]]:
        """Yield every key and its value, in the order in which they were entered."""
        self.source.load()
        yield from list(self.entries.items())

    @property
    def extended(self) -> bool:
        """Whether entries are not onnxcam's own: entered so far, or by a plug-in that is there."""
        modules = [self._modules.get(key, __name__) for key in list(self.entries)]
        return self.source.plug_ins or not all(map(is_own, modules))


def _plug_ins(group: str) -> EntryPoints:
    """Return the entry points of a group."""
    found: EntryPoints = _entry_points(tuple(sys.path)).select(group=group)
    return found


@cache
def _entry_points(path: tuple[str, ...]) -> Any:
    """Return all entry points on the path: every search of it reads all that is installed."""
    return entry_points()


def is_own(module: str) -> bool:
    """Tell whether a module, by its name, is one of onnxcam's."""
    return module.partition(".")[0] == __name__.partition(".")[0]


def caller() -> str:
    """Return the name of the module that has called the function that asks."""
    return str(sys._getframe(2).f_globals.get("__name__", ""))
