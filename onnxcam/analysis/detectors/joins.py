"""What the rows of a joined output are: boxes beside classes, and the parts of its scales."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from onnxcam.analysis.layers.path import ancestors
from onnxcam.graph import ir
from onnxcam.graph.emit import Tensor, const_value, is_float, shape_of
from onnxcam.graph.ops import Trait, has

_COORDINATES = 4
_CUTS = ("RoiAlign", "MaxRoiPool")
_FAR = 64  # operators between a head's convolution and what is made of it


def row_of_boxes(output: Tensor, score: Tensor) -> tuple[int, int] | None:
    """Return the axis of an output along which boxes are joined to its scores, and their first row.

    Args:
        output: An output that shows the scores.
        score: The scores, before their last function.
    """
    tensor, axes = output, list(range(len(shape_of(output) or ())))
    while tensor.inputs:
        node = tensor.inputs[0]
        if has(node, Trait.JOINS):
            axis = int(node.attrs.get("axis", 0)) % max(len(axes), 1)
            parts = list(_flattened(node, axis))
            row = _four(parts, axis, score)
            if row is not None:
                return axes[axis], row
            tensor = node.inputs[0]  # scales, one behind the other: all alike
        elif node.op == "Transpose" and "perm" in node.attrs:
            axes = _turned(axes, node.attrs["perm"])
            tensor = node.inputs[0]
        elif has(node, Trait.SAME) or _keeps_last(node):
            if not has(node, Trait.SAME):
                axes = [-1] * (len(shape_of(node.inputs[0]) or ()) - 1) + axes[-1:]
            tensor = node.inputs[0]
        else:
            return None
    return None


def _turned(axes: list[int], perm: Sequence[int]) -> list[int]:
    before = [0] * len(perm)
    for new, old in enumerate(perm):
        before[old] = axes[new]
    return before


def _keeps_last(node: ir.Node) -> bool:
    """Tell whether a reshape leaves the last axis as it is: anchors come to one axis."""
    if node.op != "Reshape":
        return False
    old, new = shape_of(node.inputs[0]), shape_of(node.outputs[0])
    return bool(old and new) and isinstance(old[-1], int) and old[-1] == new[-1]  # type: ignore


def _flattened(node: ir.Node, axis: int) -> Iterator[Tensor]:
    """Yield the parts of a join, those of joins along the same axis in it too."""
    for part in node.inputs:
        inner = part.inputs[0] if part.inputs else None
        same = inner is not None and has(inner, Trait.JOINS)
        if same and int(inner.attrs.get("axis", 0)) % len(shape_of(part) or (0,)) == axis:  # type: ignore
            yield from _flattened(inner, axis)  # type: ignore[arg-type]
        else:
            yield part


def _four(parts: Sequence[Tensor], axis: int, score: Tensor) -> int | None:
    """Return where the four numbers of a box begin: one part of four, or two of two."""
    sizes = [(shape_of(t) or (None,) * (axis + 1))[axis] for t in parts]
    start = 0
    for i, size in enumerate(sizes):
        if not isinstance(size, int):
            return None
        rest = sum(s for s in sizes[i:] if isinstance(s, int))
        pair = size + (sizes[i + 1] if i + 1 < len(sizes) and sizes[i + 1] == 2 else 0)  # type: ignore
        whole = size == _COORDINATES or (size == 2 and pair == _COORDINATES)
        classes = any(t is score for t in ancestors(parts[i])) and size != 2
        if whole and not classes and rest > _COORDINATES:
            return start
        start += size
    return None


def scale_parts(tensor: Tensor) -> list[Tensor]:
    """Return the parts of scores or boxes that are of one scale each; one where it is of one."""
    while tensor.inputs:
        node = tensor.inputs[0]
        data = [t for t in node.inputs if t.name and is_float(t) and const_value(t) is None]
        if has(node, Trait.JOINS) and len(data) > 1:
            grids = [grid_of(t) for t in data]
            if None not in grids and len(set(grids)) > 1:
                return [p for t in data for p in scale_parts(t)]
        if not data or grid_of(tensor) is None or _makes_grid(node):
            return [tensor]
        tensor = data[0]
    return [tensor]


def last_maps(tensor: Tensor) -> list[tuple[Tensor, bool]]:
    """Return the last convolutions on all ways back from a tensor, and what regions are cut out of.

    Returns:
        Tensors, each with whether regions are cut out of it.
    """
    seen, stack, found = set[int](), [tensor], list[tuple[Tensor, bool]]()
    while stack:
        current = stack.pop()
        if id(current) in seen or not current.inputs:
            continue
        seen.add(id(current))
        node = current.inputs[0]
        cut = node.op in _CUTS
        if cut or _makes_grid(node):
            found.append((node.inputs[0] if cut else node.outputs[0], cut))
        else:
            stack.extend(t for t in node.inputs if is_float(t))
    return found


def grid_of(tensor: Tensor) -> tuple[int, int] | None:
    """Return height and width of the convolution that a tensor is made of, None without one."""
    found = _map_of(tensor)
    return None if found is None else found[:2]


def channels_of(tensor: Tensor) -> int:
    """Return how many channels that convolution has; 0 without one."""
    found = _map_of(tensor)
    return 0 if found is None else found[2]


def _map_of(tensor: Tensor) -> tuple[int, int, int] | None:
    """Return height, width and channels of the last convolution before a tensor."""
    seen = 0
    while tensor.inputs and seen < _FAR:
        node = tensor.inputs[0]
        if _makes_grid(node):
            shape = shape_of(node.outputs[0]) or ()
            first = has(node, Trait.CHANNELS_FIRST)
            sides = (*shape[-2:], shape[1]) if first else (*shape[1:3], shape[-1])
            whole = [d for d in sides if isinstance(d, int)]
            return (whole[0], whole[1], whole[2]) if len(whole) == 3 else None
        data = [t for t in node.inputs if t.name and is_float(t) and const_value(t) is None]
        if not data or _looks_around(node, data):
            return None
        tensor, seen = data[0], seen + 1
    return None


def _looks_around(node: ir.Node, data: Sequence[Tensor]) -> bool:
    """Tell whether what a node makes is of all positions: queries look where they like."""
    several = len(data) > 1 and has(node, Trait.PRODUCT, Trait.CONTRACTS)
    picked = node.op.startswith("Gather") and const_value(node.inputs[1]) is None
    return several or picked or has(node, Trait.ATTENDS) or node.op == "GridSample"


def _makes_grid(node: ir.Node) -> bool:
    four = len(shape_of(node.outputs[0]) or ()) == 4
    return has(node, Trait.CONVOLUTION) and four and not _is_mean(node)


def _is_mean(node: ir.Node) -> bool:
    """Tell whether a convolution only averages bins of a distribution: it has no learned grid."""
    weight = const_value(node.inputs[1]) if len(node.inputs) > 1 else None
    return (
        weight is not None
        and weight.shape[0] == 1
        and list(weight.ravel()) == list(range(weight.size))
    )
