"""Shapes and layouts by tensor name, found once and kept with the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from onnxcam.analysis.layout.meaning import Meaning, plain
from onnxcam.analysis.layout.records import Layout
from onnxcam.analysis.layout.sizes import refine, settle
from onnxcam.analysis.layout.spread import layouts
from onnxcam.errors import UsageError
from onnxcam.graph.emit import Dim, Tensor, shape_of
from onnxcam.model.draft import Draft
from onnxcam.model.model import Model

PLACE = "tensors"  # among the findings of a model


@dataclass(frozen=True)
class Known:
    """What is known of the tensors of a model's main graph, by name.

    Attributes:
        shapes: Their shapes, as far as they are known: what onnx infers, and what it leaves open.
        layouts: The meaning of their axes; not those of which nothing is known.
    """

    shapes: Mapping[str, tuple[Dim, ...]]
    layouts: Mapping[str, Layout]


def known(model: Model) -> Known:
    """Return what is known of the tensors of a model."""
    if PLACE not in model.findings:
        opened(model)
    found: Known = model.findings[PLACE]
    return found


def opened(
    model: Model, formats: Mapping[str, str] | None = None
) -> tuple[Draft, dict[int, Layout]]:
    """Return a draft of a model whose tensors have the known shapes, and layouts by their id.

    Args:
        model: The model.
        formats: Letters of the axes of some tensors, by name, which a caller says.

    Raises:
        UsageError: There is no such tensor, or it has another number of axes.
    """
    draft = Draft(model)
    named = _tensors(draft)
    if formats:
        refine(draft.graph)
        return draft, layouts(draft.graph, dict(_said(draft, formats)))
    if PLACE in model.findings:
        found = known(model)
        for name, dims in found.shapes.items():
            named[name].shape = list(dims)
        settle(draft.graph)
        return draft, {id(named[name]): layout for name, layout in found.layouts.items()}
    refine(draft.graph)
    by_id = layouts(draft.graph)
    model.findings[PLACE] = Known(
        {name: shape for name, t in named.items() if (shape := shape_of(t)) is not None},
        {name: by_id[id(t)] for name, t in named.items() if id(t) in by_id},
    )
    return draft, by_id


def sized(model: Model) -> Draft:
    """Return a draft of a model in which the sizes are known that a look at it has found.

    Where nobody has looked yet, they are those that onnx infers.
    """
    draft = Draft(model)
    found: Known | None = model.findings.get(PLACE)
    if found is not None:
        for name, tensor in _tensors(draft).items():
            dims = found.shapes.get(name)
            if dims is not None and tensor.shape != list(dims):
                tensor.shape = list(dims)
    return draft


def _said(draft: Draft, formats: Mapping[str, str]) -> Iterator[tuple[int, Meaning]]:
    for name, letters in formats.items():
        tensor = draft.tensor(name)
        shape = shape_of(tensor)
        if shape is None or len(shape) != len(letters):
            rank = "axes of unknown number" if shape is None else f"{len(shape)} axes"
            raise UsageError(
                f"the format {letters} has {len(letters)} axes, and {name!r} has {rank}",
                "give a letter for each axis of the tensor",
            )
        yield id(tensor), plain(letters, shape)


def _tensors(draft: Draft) -> dict[str, Tensor]:
    """Return inputs and results of nodes; weights say themselves what they are."""
    made = (t for node in draft.graph.nodes for t in node.outputs if t.name)
    return {t.name: t for t in (*draft.graph.inputs, *made)}
