"""One registry for all that is entered by a decorator: rules, definitions, methods, metrics."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import walk_packages
from threading import RLock
from typing import Generic, TypeVar

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
        self._lock, self._loaded = RLock(), False

    def load(self) -> None:
        """Import everything, once; a call from one of the imported files returns at once."""
        if self._loaded:
            return
        with self._lock:
            if self._loaded:
                return
            self._loaded = True
            try:
                folder = getattr(import_module(self.package), "__path__", ())  # a file has none
                for module in walk_packages(folder, f"{self.package}."):
                    import_module(module.name)
                for plug_in in entry_points(group=self.group):
                    plug_in.load()
            except BaseException:
                self._loaded = False
                raise


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

    def enter(self, key: K, value: V) -> V:
        """Enter a value, and return it.

        Raises:
            ValueError: There is one of this key.
        """
        if key in self.entries:
            raise ValueError(f"two {self.what} of the name {key!r}")
        self.entries[key] = value
        return value

    def get(self, key: K) -> V | None:
        """Return the value of a key, None where there is none."""
        self.source.load()
        return self.entries.get(key)

    def items(self) -> Iterator[tuple[K, V]]:
        """Yield every key and its value, in the order in which they were entered."""
        self.source.load()
        yield from list(self.entries.items())
