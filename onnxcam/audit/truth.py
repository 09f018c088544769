"""The labels of a data set in the classes of a model."""

from __future__ import annotations

from collections.abc import Sequence

WNID = 9  # characters of WordNet's number of a class, as in n02123045


class Truth:
    """Finds the classes that a label means.

    A label is a class's number or name; capitals, blanks and underscores do not count. A name
    that two classes have means both.

    Args:
        labels: Names of the classes, None where nothing says them.
        classes: How many there are; None where that is not known.
    """

    def __init__(self, labels: Sequence[str] | None, classes: int | None) -> None:
        self._count = classes or (len(labels) if labels else None)
        self._names: dict[str, set[int]] = {}
        for index, name in enumerate(labels or ()):
            self._names.setdefault(bare(name), set()).add(index)

    def __call__(self, label: str | None) -> frozenset[int]:
        """Return the classes that a label means: none where it means none."""
        if label is None:
            return frozenset()
        named = self._names.get(bare(label))
        if named:
            return frozenset(named)
        number = label.strip()
        if number.isascii() and number.isdecimal() and len(number) < 10:
            index = int(number)
            if self._count is None or index < self._count:
                return frozenset({index})
        head, _, rest = label.partition("_")
        if len(head) == WNID and head[0] == "n" and head[1:].isdecimal():
            return frozenset(self._names.get(bare(rest), ()))
        return frozenset()


def bare(name: str) -> str:
    """Return a class's name without what tool chains write in different ways."""
    return " ".join(name.replace("_", " ").casefold().split())
