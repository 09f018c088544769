"""Sparse weights written out: runtimes do the same when they load them."""

from __future__ import annotations

import math

import numpy as np
from onnx import GraphProto, SparseTensorProto, TensorProto, numpy_helper

from onnxcam.errors import ModelError, plain
from onnxcam.graph.emit.walks import every_graph
from onnxcam.model.passes.budgets import within_elements


def written_out(graph: GraphProto) -> int:
    """Write the sparse weights of a graph and of its bodies out, in place; return how many.

    Raises:
        ModelError: One is larger than the budget, or its places are not in it.
    """
    done = 0
    for part in every_graph(graph):
        part.initializer.extend(_dense(sparse) for sparse in part.sparse_initializer)
        done += len(part.sparse_initializer)
        del part.sparse_initializer[:]
    return done


def _dense(sparse: SparseTensorProto) -> TensorProto:
    name, dims = sparse.values.name, tuple(sparse.dims)
    within_elements(math.prod(dims), f"the sparse weight {plain(name, 80)!r}")
    values, places = numpy_helper.to_array(sparse.values), numpy_helper.to_array(sparse.indices)
    found = np.zeros(dims, values.dtype)
    try:
        if places.ndim == 1:
            found.reshape(-1)[places] = values
        else:
            found[tuple(places.T)] = values
    except (IndexError, ValueError) as error:
        raise ModelError(
            f"the sparse weight {plain(name, 80)!r} has values outside of it ({error})",
            "export the model again",
        ) from None
    return numpy_helper.from_array(found, name)
