"""Names that no tensor or node of a model has yet, under scopes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import onnx_graphsurgeon as gs

from onnxcam.graph.emit.tensors import shape_of

NAMESPACE = "onnxcam"
_HALF = 250  # characters that are kept of a long name, at either end


class Names:
    """The names of a model and its subgraphs, and the scope that new ones are under."""

    def __init__(self, graph: gs.Graph) -> None:
        self._taken = all_names(graph)
        self._counts: Counter[str] = Counter()
        self._scope: list[str] = [NAMESPACE]

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Put the names that are made inside the block under ``name/``."""
        self._scope.append(name.strip("/") or "unnamed")
        try:
            yield
        finally:
            self._scope.pop()

    def fresh(self, name: str) -> str:
        """Return a name that nothing has, from the scope and ``name``.

        The middle of long ones is left out: in bodies in bodies each would have twice the length
        of the one around it.
        """
        stem = "/".join([*self._scope, name])
        if len(stem) > 2 * _HALF:
            stem = f"{stem[:_HALF]}...{stem[-_HALF:]}"
        while True:
            count = self._counts[stem]
            self._counts[stem] += 1
            candidate = f"{stem}_{count}" if count else stem
            if self.reserve(candidate):
                return candidate

    def reserve(self, name: str) -> bool:
        """Take exactly this name; False when it is taken already."""
        if name in self._taken:
            return False
        self._taken.add(name)
        return True


def all_names(graph: gs.Graph) -> set[str]:
    """Return the names of all tensors, nodes and dimensions of a graph and its subgraphs."""
    tensors = [*graph.tensors().values(), *graph.inputs, *graph.outputs]
    names = {t.name for t in tensors}
    names |= {d for t in tensors for d in shape_of(t) or () if isinstance(d, str)}
    for node in graph.nodes:
        names.add(node.name)
        for value in node.attrs.values():
            if isinstance(value, gs.Graph):
                names |= all_names(value)
    return names
