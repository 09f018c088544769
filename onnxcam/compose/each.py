"""The same for every target of a call: once, or in a Scan."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from onnxcam.graph.emit import Emitter, Tensor, shape_of

Results: TypeAlias = dict[str, Tensor]
One: TypeAlias = Callable[[Emitter, Tensor], Results]


def for_each(
    op: Emitter, classes: Tensor, targets: int | None, one: One, *, direct: bool = False
) -> Results:
    """Return what ``one`` makes of each column of the classes, stacked along axis 1.

    Args:
        op: Emitter of the graph.
        classes: int64 [N, K].
        targets: K, None where each call chooses it.
        one: ``one(op, index)`` -> results [N, ...] by name, for the class of each input.
        direct: Write the first column's results in the main graph: ONNX Runtime computes
            convolutions in its blocked layout there, in a subgraph it does not.
    """
    if targets == 1:
        results = one(op, op.Squeeze(classes, axes=[1]))
        return {name: op.Unsqueeze(result, axes=[1]) for name, result in results.items()}
    if targets is None and direct:
        return _first_and_rest(op, classes, one)
    return _scan(op, classes, one)


def _first_and_rest(op: Emitter, classes: Tensor, one: One) -> Results:
    """Write the first target out, and the others, where there are any, in a Scan behind an If."""
    end = np.iinfo(np.int64).max
    column = op.Slice(classes, starts=[0], ends=[1], axes=[1])
    first = for_each(op, column, 1, one)
    rest = op.Slice(classes, starts=[1], ends=[end], axes=[1])
    # ONNX Runtime crashes in a Scan of no iterations.
    more = op.Greater(op.scalar(op.Slice(op.Shape(classes), starts=[1], ends=[2])), 1)
    then, other = op.body([], name="others"), op.body([], name="none")
    found = _scan(then, rest, one)
    empty = [
        other.Slice(first[name], starts=[0], ends=[0], axes=[1]) for name in found
    ]  # of the right rank and dtype, and no targets
    behind = op.If(
        more,
        then_branch=then.close(list(found.values())),
        else_branch=other.close(empty),
        _outputs=len(found),
    )
    behind = behind if isinstance(behind, tuple | list) else (behind,)
    results = {}
    for (name, inner), tensor in zip(found.items(), behind, strict=True):
        tensor.dtype, tensor.shape = inner.dtype, inner.shape
        results[name] = op.Concat(first[name], tensor, axis=1)
    return results


def _scan(op: Emitter, classes: Tensor, one: One) -> Results:
    """Scan over the targets: what depends on no target is computed once, outside."""
    shape = shape_of(classes) or (None, None)
    index = op.variable("index", np.int64, [shape[0]])
    body = op.body([index], name="target")
    results = one(body, index)
    graph = body.close(list(results.values()))
    scanned = op.Scan(
        classes,
        body=graph,
        num_scan_inputs=1,
        scan_input_axes=[1],
        scan_output_axes=[1] * len(results),
        _outputs=len(results),
    )
    scanned = scanned if isinstance(scanned, tuple | list) else (scanned,)
    for tensor, result in zip(scanned, results.values(), strict=True):
        tensor.dtype = result.dtype
        inner = shape_of(result)
        tensor.shape = None if inner is None else [inner[0], shape[1], *inner[1:]]
    return dict(zip(results, scanned, strict=True))
