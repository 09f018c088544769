"""Loops backwards: what Loop and Scan have in common.

Reverse mode runs the iterations in reverse order. Each computes its body again from the states
that it began with (the *tape*, which the forward loop writes down when it runs once more) and
applies the gradient of the body to the cotangents of what it gave.
"""

from __future__ import annotations

from dataclasses import dataclass

from onnxcam.autodiff.control.sequences import add, zeros
from onnxcam.autodiff.control.subgraphs import Differentiable, finish
from onnxcam.autodiff.registry import NodeView
from onnxcam.graph import ir
from onnxcam.graph.bodies import Kind, captured, kind_of, variable
from onnxcam.graph.emit import Emitter, Tensor


@dataclass
class Frame:
    """A Loop or a Scan: how its inputs and outputs are laid out.

    Attributes:
        node: The loop. Its inputs are, like the body's, ``lead`` others, ``count`` states, and
            slices; its outputs are states and slices.
        body: Its body, whose outputs are a Loop's condition, states and slices.
        lead: 2 for a Loop (iteration number or trip count, condition), 0 for a Scan.
        count: How many states are carried.
        kinds: What is known of the body's inputs in every iteration.
        dys: Cotangents, one per state and slice that the body gives; None counts as zero.
    """

    node: NodeView
    body: ir.Graph
    lead: int
    count: int
    kinds: list[Kind]
    dys: list[Tensor | None]

    def __post_init__(self) -> None:
        """Count the cotangents of trailing outputs that the loop leaves out as zero."""
        missing = len(self.body.outputs) - bool(self.lead) - len(self.dys)
        self.dys = [*self.dys, *[None] * missing]

    def enter(self, child: Emitter) -> tuple[list[Tensor], Differentiable]:
        """Write the body once more into ``child``; return the inputs it got there, and the copy."""
        variables = [variable(child, kind) for kind in self.kinds]
        child.enter(*variables)
        known = dict(zip(map(id, self.body.inputs), variables, strict=True))
        return variables, Differentiable(self.node, child, self.body, known)

    def carried(self, copy: Differentiable, variables: list[Tensor]) -> list[int]:
        """Return the states that wrt moves and that move an output which is differentiated."""
        lead, count, node = self.lead, self.count, self.node
        first = int(bool(lead))
        states = variables[lead : lead + count]
        slices = [v for i, v in enumerate(variables) if i >= lead + count and node.wants(i)]
        moving = {i for i in range(count) if node.wants(lead + i)}
        size = -1
        while size < len(moving):
            size = len(moving)
            by = copy.moved([*(states[i] for i in moving), *slices, *node.captures])
            moving |= {i for i in range(count) if by[first + i]}
        useful = {i for i, dy in enumerate(self.dys) if dy is not None}
        reach = {i: copy.moved([states[i]])[first:] for i in moving}
        size = -1
        while size < len(useful):
            size = len(useful)
            useful |= {i for i in moving if any(reach[i][j] for j in useful)}
        return sorted(moving & useful)


@dataclass
class Backward:
    """One iteration backwards.

    Attributes:
        graph: As a subgraph: its inputs are the carried gradients and then ``slices``, its outputs
            the carried gradients and then the ``stacked`` ones.
        carried: For each carried gradient the index of the loop's input that it is of.
        slices: What an iteration reads, each as the index of the body's input or, counted on
            from there, of a cotangent.
        stacked: For each stacked gradient the index of the loop's input that it is of.
    """

    graph: ir.Graph
    carried: list[int]
    slices: list[int]
    stacked: list[int]


def backward(op: Emitter, frame: Frame) -> Backward | None:
    """Write one iteration backwards; None where no gradient flows.

    Args:
        op: Emitter of the graph that the loop is in.
        frame: The loop.
    """
    node, lead, count = frame.node, frame.lead, frame.count
    child = op.body([], name="backward")
    variables, copy = frame.enter(child)
    ys = copy.outputs[bool(lead) :]
    states = [lead + i for i in frame.carried(copy, variables)]
    slices = [i for i in range(lead + count, len(variables)) if node.wants(i)]
    dys: list[Tensor | None] = [None] * len(frame.dys)
    for i in states:
        dys[i - lead] = variable(child, frame.kinds[i], "dy")
    for i in range(count, len(dys)):
        if frame.dys[i] is not None:
            dys[i] = variable(child, kind_of(ys[i]), "dy")
    child.enter(*(dy for dy in dys if dy is not None))
    wrt = [*(variables[i] for i in [*states, *slices]), *node.captures]
    found = copy.vjp([*[None] * bool(lead), *dys], wrt)
    dxs = dict(zip([*states, *slices, *range(node.explicit, len(node.inputs))], found, strict=True))

    carried = {i: dys[i - lead] for i in states}
    outputs = [dxs[i] or zeros(child, variables[i]) for i in states]
    for i in range(node.explicit, len(node.inputs)):
        if (dx := dxs[i]) is not None:
            carried[i] = total = variable(child, kind_of(node.inputs[i]), "sum")
            child.enter(total)
            outputs.append(add(child, total, dx))
    stacked = [i for i in slices if dxs[i] is not None]
    if not carried and not stacked:
        return None
    graph = finish(child, [*outputs, *(dx for i in stacked if (dx := dxs[i]) is not None)], node)
    used = {id(t) for t in captured(graph)}
    sources = [*variables, *[None] * count, *dys[count:]]
    read = [i for i, t in enumerate(sources) if t is not None and id(t) in used]
    if not lead and not read:
        read = [count]  # what a Scan reads tells it how often to run
    graph.inputs[:] = [t for t in (*carried.values(), *(sources[i] for i in read)) if t is not None]
    return Backward(graph, list(carried), read, stacked)
