"""What nodes are to relevance: linear layers, activations, gates, and what keeps it as it is."""

from __future__ import annotations

from onnxcam.autodiff.overrides import rectifies
from onnxcam.autodiff.registry import fallback_for, lookup
from onnxcam.autodiff.route import Node
from onnxcam.autodiff.view import NodeView, standard
from onnxcam.graph.emit import Dim, Tensor, shape_of
from onnxcam.graph.ops import Trait, data_inputs, has

_PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum")
_SHIFTS, _SCALES = ("Add", "Sub"), ("Mul", "Div")
_FAR = 40  # nodes between a gate and what it gates


def layer(view: NodeView) -> tuple[Node, ...]:
    """Return the linear layer that a node is part of, () where it is of none.

    A product with weights, what shifts and scales it by constants (a bias, a BatchNormalization)
    and the ReLU or ReLU6 behind are one layer, where nothing else takes what lies between.
    """
    root = _root(view, view.raw)
    if root is None:
        return ()
    nodes = [root]
    while not closes(view, nodes[-1]) and (after := _only_taker(view, nodes[-1])) is not None:
        if not _extends(view, after):
            break
        nodes.append(after)
    return tuple(nodes) if any(n is view.raw for n in nodes) else ()


def closes(view: NodeView, node: Node) -> bool:
    """Tell whether a node is the ReLU or ReLU6 that a layer ends with, however it is written."""
    return len(view.route.moving(node)) == 1 and rectifies(view.beside(node))


def ends_layer(view: NodeView) -> bool:
    """Tell whether a node is the last of a linear layer."""
    nodes = layer(view)
    return bool(nodes) and nodes[-1] is view.raw


def opens_convolution(view: NodeView) -> bool:
    """Tell whether a node is the convolution of a layer with one scale for each channel."""
    nodes = layer(view)
    if not nodes or nodes[0] is not view.raw or view.op_type != "Conv":
        return False
    scales = [n for n in nodes if n.op in _SCALES and not closes(view, n)]
    constants = [shape_of(n.inputs[1 - view.route.moving(n)[0]]) for n in scales]
    rank = len(shape_of(view.inputs[1]) or ())
    return rank > 0 and all(_is_of_channels(shape, rank) for shape in constants)


def follows_convolution(view: NodeView) -> bool:
    """Tell whether a node is of the layer of such a convolution, behind it."""
    nodes = layer(view)
    return len(nodes) > 1 and nodes[0] is not view.raw and opens_convolution(view.beside(nodes[0]))


def is_convolution(node: Node) -> bool:
    """Tell whether a node is a convolution, alone or fused with what follows: for places."""
    return has(node, Trait.CONVOLUTION)


def bends(view: NodeView) -> bool:
    """Tell whether a node is an activation: a curve through which its one input goes.

    A QuantizeLinear is one where all values have one scale: it ends where its numbers do, which
    often stands for a ReLU6.
    """
    if view.op_type == "QuantizeLinear":
        scales = [shape_of(t) for t in view.raw.inputs[1:] if t.name]
        one = all(s is not None and all(d == 1 for d in s) for s in scales)
        return one and view.route.moving(view.raw) == [0]
    if has(view, Trait.HOMOGENEOUS) or passes_inside(view):
        return view.op_type in ("Max", "Min") and len(view.route.moving(view.raw)) == 1
    return has(view, Trait.ACTIVATION) and view.route.moving(view.raw) == [0]


def gated(view: NodeView) -> int | None:
    """Return which factor a product gates, as SiLU and GELU do when they are spelled out.

    Returns:
        The number of the input that is the signal, where the other one is made of it alone,
        element by element; None where the node is no such product.
    """
    if view.op_type != "Mul" or view.domain or view.route.moving(view.raw) != [0, 1]:
        return None
    a, b = view.raw.inputs
    for i, (signal, gate) in enumerate(((a, b), (b, a))):
        if gate is not signal and _made_of(view, gate, _unscaled(view, signal)):
            return i
    return None


def keeps(view: NodeView) -> bool:
    """Tell whether a node's own gradient hands on all relevance: x dy/dx sums up to y.

    Such is what moves, adds, averages or picks values (the winner of a maximum has all of it),
    a ReLU, a factor that is constant, and what is differentiated by what it is made of.
    """
    moving = view.route.moving(view.raw)
    if passes_inside(view) or layer(view):
        return True
    if view.op_type in _SCALES and not view.domain:
        return moving == [0] or (view.op_type == "Mul" and moving == [1])
    return has(view, Trait.HOMOGENEOUS) and (view.op_type != "PRelu" or moving == [0])


def passes_inside(view: NodeView) -> bool:
    """Tell whether the nodes in a node's body or definition are asked instead of it."""
    if has(view, Trait.HAS_BODY):
        return True
    entry = lookup(view.domain, view.op_type, view.opset)
    from onnxcam.autodiff.rules.contrib import by_definition  # late: a list of methods needs none

    return fallback_for(view) is not None if entry is None else entry.rule is by_definition


def is_positive(view: NodeView, x: Tensor) -> bool:
    """Tell whether a tensor has no negative values, as what lies behind a ReLU."""
    if not x.inputs:
        return False
    node = x.inputs[0]
    if rectifies(view.beside(node)) or node.op in ("Sigmoid", "HardSigmoid", "Softmax"):
        return True
    if has(node, Trait.PICKS, Trait.JOINS, Trait.SAME, Trait.POOL, Trait.GLOBAL_POOL):
        return all(is_positive(view, t) for t in data_inputs(node, node.inputs))
    return False


def _is_product(view: NodeView, node: Node) -> bool:
    """Tell whether a node multiplies what moves with weights, and adds a bias."""
    moving = view.route.moving(node)
    if standard(node.domain) or not moving:
        return False
    if _is_fixed_norm(view, node):
        return True
    factors = moving if node.op == "Einsum" else [i for i in moving if i < 2]
    of_weights = node.op not in ("Conv", "ConvTranspose") or factors == [0]
    return node.op in _PRODUCTS and len(factors) == 1 and of_weights


def _extends(view: NodeView, node: Node) -> bool:
    moving = view.route.moving(node)
    if standard(node.domain) or len(moving) != 1:
        return False
    shifted = node.op in (*_SHIFTS, "Mul") or (node.op == "Div" and moving == [0])
    return shifted or closes(view, node) or _is_fixed_norm(view, node)


def _is_of_channels(shape: tuple[Dim, ...] | None, rank: int) -> bool:
    """Tell whether a constant has one value, or one for each channel of a tensor [N, C, ...]."""
    if shape is None:
        return False
    return all(d == 1 or i == len(shape) - rank + 1 for i, d in enumerate(shape))


def _is_fixed_norm(view: NodeView, node: Node) -> bool:
    """Tell whether a node is a BatchNormalization at inference."""
    if node.op != "BatchNormalization" or view.route.moving(node) != [0]:
        return False
    return not node.attrs.get("training_mode") and not any(t.name for t in node.outputs[1:])


def _root(view: NodeView, node: Node) -> Node | None:
    """Return the product that a node's layer begins with."""
    if _extends(view, node):
        (i,) = view.route.moving(node)
        source = node.inputs[i].inputs[0] if node.inputs[i].inputs else None
        if source is not None and not closes(view, source) and _only_taker(view, source) is node:
            root = _root(view, source)
            if root is not None:
                return root
    return node if _is_product(view, node) else None


def _only_taker(view: NodeView, node: Node) -> Node | None:
    takers = view.route.takers(node.outputs[0])
    return takers[0] if len(takers) == 1 else None


def _unscaled(view: NodeView, x: Tensor) -> Tensor:
    """Return what a tensor is a multiple of."""
    while x.inputs and x.inputs[0].op in _SCALES:
        moving = view.route.moving(x.inputs[0])
        if len(moving) != 1 or (x.inputs[0].op == "Div" and moving != [0]):
            break
        x = x.inputs[0].inputs[moving[0]]
    return x


def _made_of(view: NodeView, gate: Tensor, signal: Tensor, far: int = _FAR) -> bool:
    """Tell whether a tensor is a function of another, element by element."""
    if gate is signal:
        return True
    node = gate.inputs[0] if gate.inputs and far else None
    moving = [] if node is None else view.route.moving(node)
    if node is None or not moving or not has(node, Trait.ELEMENTWISE):
        return False
    return all(_made_of(view, node.inputs[i], signal, far - 1) for i in moving)
