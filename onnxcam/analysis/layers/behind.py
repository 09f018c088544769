"""What lies behind an output: the logits, found by walking back what the operators compute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from onnxcam.analysis.layers.class_names import names_in, texts_in
from onnxcam.analysis.layers.finals import axes_of, final_of, made_by, plain
from onnxcam.analysis.layers.heads import Behind, Layouts, of_heads, rest_of
from onnxcam.analysis.layers.path import ancestors
from onnxcam.graph import ir
from onnxcam.graph.emit import Tensor, const_value, is_float
from onnxcam.graph.ops import Trait, has

SPACE = "DHWT"
_DEEPEST = 3  # joins of joins; beyond them nobody wrote a head of a model


@dataclass(frozen=True)
class _Step:
    """One operator back: to which tensor, and whether that is nearer to the scores for certain."""

    tensor: Tensor
    certain: bool = False
    rounds: bool = False
    axis: int | None = None
    labels: tuple[str, ...] = ()
    moved: bool = False
    in_place: bool = False
    pools: bool = False


def behind(output: Tensor, known: Layouts, axis: int | None = None, depth: int = 0) -> Behind:
    """Walk back from an output to the logits.

    Args:
        output: An output of the graph, or a part of one.
        known: The meaning of axes, by the ids of tensors.
        axis: Its axis of the classes, where that is known.
        depth: How many joins were walked through to come here.
    """
    tensor, found, pooled = output, Behind(output, axis=axis), False

    def walk(part: Tensor, along: int | None) -> Behind:
        return behind(part, known, along, depth + 1)

    while True:
        final = final_of(tensor)
        if final is not None:
            named = final.axis if final.axis is not None else axis
            return replace(found, tensor=_unrounded(final.tensor), final=final.kind, axis=named)
        node = made_by(tensor)
        step = None if node is None else _back(node, tensor, known)
        if node is None or step is None:
            return (
                found
                if node is None or depth > _DEEPEST
                else of_heads(found, tensor, node, known, walk)
            )
        if pooled and step.in_place:
            return found  # what is rounded there are features, or maps of the classes
        pooled = pooled or step.pools
        named = step.certain and not step.in_place
        axis = step.axis if named else _moved(node, axis)
        tensor = step.tensor
        labels = found.labels or step.labels
        if step.certain and not (step.rounds and is_float(found.tensor)):
            passed = (*found.passed, str(node.op))
            found = replace(found, tensor=tensor, axis=axis, passed=passed)
        found = replace(found, labels=labels, moved=found.moved or step.moved)


def kept_by_suppression(graph: ir.Graph, output: Tensor) -> Tensor | None:
    """Return the scores [N, classes, boxes] of which suppression left an output's rows.

    Of several, as in a model that proposes regions first, it is the last.
    """
    found = [node for node in graph.nodes if node.op == "NonMaxSuppression"]
    if not found:
        return None
    above = {id(t) for t in ancestors(output)}
    last = next((n for n in reversed(found) if id(n.outputs[0]) in above), None)
    return None if last is None else last.inputs[1]


def _back(node: ir.Node, tensor: Tensor, known: Layouts) -> _Step | None:
    """Return what a node makes its output of where that says which classes there are."""
    source = node.inputs[0] if node.inputs else None
    if source is None:
        return None
    if node.op in ("ZipMap", "LabelEncoder"):
        return _Step(source, certain=True, labels=names_in(node))
    if node.op in ("ArrayFeatureExtractor", "Gather") and texts_in(const_value(source)):
        return _Step(node.inputs[1], certain=True, labels=texts_in(const_value(source)))
    if node.op in ("ArgMax", "Hardmax", "TopK", "ReduceMax"):
        return _picked(node, source, known)
    if node.op in ("ReduceMean", "ReduceSum"):
        axes, layout = axes_of(node), known.get(id(source))
        over = layout is not None and axes is not None and _all_space(layout.axes, axes)
        return _Step(source, pools=True) if over else None
    if node.op == "GlobalAveragePool":
        return _Step(source, pools=True)
    if has(node, Trait.SAME, Trait.VIEW):
        return _Step(source, certain=not is_float(tensor) and is_float(source), rounds=True)
    if node.op in ("Round", "Floor", "Ceil") or _is_over(node):
        return _Step(_compared(node), certain=True, in_place=True)
    number = _number_of_class(node)
    if number is not None:
        return _Step(number, certain=True)
    if node.op == "SequenceConstruct":  # the first of several
        return _Step(source, certain=True)
    keeps = _keeps_order(node) and rest_of(node) is None
    return _Step(source, moved=_leaves(node)) if keeps else None


def _number_of_class(node: ir.Node) -> Tensor | None:
    """Return the number of the highest class that a node shows as a row of its own, or a colour."""
    if node.op == "OneHot":
        index = node.inputs[0]
    elif node.op == "Gather" and const_value(node.inputs[0]) is not None:
        index = node.inputs[1]
    else:
        return None
    chosen = made_by(plain(index))
    return index if chosen is not None and chosen.op == "ArgMax" else None


def _is_over(node: ir.Node) -> bool:
    """Tell whether a node says which values are above a number, or above one of each class."""
    place = {"Greater": 1, "GreaterOrEqual": 1, "Less": 0, "LessOrEqual": 0}.get(node.op)
    return place is not None and const_value(node.inputs[place]) is not None


def _compared(node: ir.Node) -> Tensor:
    """Return what is rounded, or compared with a number."""
    return node.inputs[1 if node.op.startswith("Less") else 0]


def _picked(node: ir.Node, source: Tensor, known: Layouts) -> _Step | None:
    """Step over a choice among classes; a choice among positions names no axis of classes."""
    default = {"ArgMax": 0}.get(node.op, -1)
    axes = axes_of(node) if node.op == "ReduceMax" else (int(node.attrs.get("axis", default)),)
    if axes is None or len(axes) != 1:
        return None
    layout = known.get(id(source))
    if layout is None or not _all_space(layout.axes, axes):
        return _Step(source, certain=True, axis=axes[0])
    return None if node.op == "ReduceMax" else _Step(source, certain=True)


def _keeps_order(node: ir.Node) -> bool:
    """Tell whether a node only bounds, scales or shifts its values: the order is the same."""
    if node.op == "Clip":
        return True
    values = [const_value(t) for t in node.inputs if t.name]
    given = [v for v in values if v is not None and v.size == 1 and v.dtype.kind in "fiu"]
    if len(values) != 2 or len(given) != 1:
        return False
    if node.op in ("Mul", "Add", "Max", "Min"):
        return node.op != "Mul" or bool(given[0].item() > 0)
    # What is divided, or taken from, is the first.
    if node.op not in ("Div", "Sub") or values[0] is not None:
        return False
    return node.op == "Sub" or bool(given[0].item() > 0)


def _leaves(node: ir.Node) -> bool:
    """Tell whether a node that scales or shifts takes probabilities out of 0 to 1."""
    given = [v.item() for t in node.inputs if (v := const_value(t)) is not None and v.size == 1]
    if not given or node.op not in ("Mul", "Div", "Add", "Sub"):
        return False
    if node.op in ("Add", "Sub"):
        return bool(given[0] != 0)
    return bool(given[0] > 1 if node.op == "Mul" else given[0] < 1)


def _moved(node: ir.Node, axis: int | None) -> int | None:
    """Return where an axis of a node's output is in its input."""
    if axis is None or not has(node, Trait.VIEW) or has(node, Trait.SAME):
        return axis
    perm = node.attrs.get("perm")
    if node.op != "Transpose" or perm is None or not -len(perm) <= axis < len(perm):
        return None
    return int(perm[axis])


def _all_space(letters: str, axes: Sequence[int]) -> bool:
    return all(-len(letters) <= a < len(letters) and letters[a] in SPACE for a in axes)


def _unrounded(tensor: Tensor) -> Tensor:
    """Return what a tensor is the rounding of, else the tensor."""
    node = made_by(tensor)
    return node.inputs[0] if node is not None and has(node, Trait.QUANTISES) else tensor
