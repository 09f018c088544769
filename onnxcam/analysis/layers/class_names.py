"""Names of classes that stand in a graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from onnxcam.graph import ir


def names_in(node: ir.Node) -> tuple[str, ...]:
    """Return the names of classes that a node gives to numbers 0, 1, 2, ... or to columns."""
    attrs = node.attrs
    if node.op == "ZipMap":
        names = attrs.get("classlabels_strings") or attrs.get("classlabels_int64s") or ()
        numbers = list(names) == list(range(len(names)))
        return () if numbers else tuple(_text(name) for name in names)
    keys = [int(str(k)) for k in _values(attrs, "keys_int64s", "keys_tensor") if _is_number(k)]
    names = list(_values(attrs, "values_strings", "values_tensor"))
    if sorted(keys) != list(range(len(keys))) or len(names) != len(keys):
        return ()
    return tuple(_text(name) for _, name in sorted(zip(keys, names, strict=True)))


def _values(attrs: Mapping[str, object], *names: str) -> Iterator[object]:
    for name in names:
        value = attrs.get(name)
        if value is not None:
            values = getattr(value, "values", value)
            yield from np.asarray(values, object).ravel()
            return


def _is_number(value: object) -> bool:
    return isinstance(value, int | np.integer)


def texts_in(value: object) -> tuple[str, ...]:
    """Return the texts that a constant holds, none for numbers."""
    array = None if value is None else np.asarray(value)
    if array is None or array.dtype.kind not in "OSU":
        return ()
    return tuple(_text(each) for each in array.ravel())


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
