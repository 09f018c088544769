"""Scan backwards."""

from __future__ import annotations

from onnxcam.autodiff.control.loops import Backward, Frame, backward
from onnxcam.autodiff.control.sequences import zeros
from onnxcam.autodiff.control.subgraphs import finish, results
from onnxcam.autodiff.registry import NodeView, limit, vjp
from onnxcam.errors import UnsupportedOp
from onnxcam.graph.bodies import input_kinds, kind_of, stacked
from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.graph.scans import ScanLayout


@vjp("Scan", since=9)
def scan(op: Emitter, node: NodeView, *dys: Tensor | None) -> list[Tensor | None]:
    """dx = a Scan over the same slices in reverse order, each giving its part of the gradient."""
    layout, body = ScanLayout(node.raw), node.attr("body")
    kinds = input_kinds(op, node.raw, node.inputs[: node.explicit], body)
    frame = Frame(node, body, 0, layout.states, kinds, list(dys))
    grads: list[Tensor | None] = [None] * len(node.inputs)
    back = backward(op, frame)
    if back is None:
        return grads
    feeds = _feeds(frame, layout, back, _tape(op, frame, back))
    starts = [
        frame.dys[i] if i < frame.count and frame.dys[i] is not None else zeros(op, node.inputs[i])
        for i in back.carried
    ]
    made = op.Scan(
        *starts,
        *(tensor for tensor, _, _ in feeds),
        body=back.graph,
        num_scan_inputs=len(feeds),
        scan_input_axes=[axis for _, axis, _ in feeds],
        scan_input_directions=[1 - direction for _, _, direction in feeds],
        scan_output_axes=[layout.axes[i - layout.states] for i in back.stacked] or None,
        scan_output_directions=[1 - layout.directions[i - layout.states] for i in back.stacked]
        or None,
        _outputs=len(back.carried) + len(back.stacked),
    )
    places = [*back.carried, *back.stacked]
    for i, dx in zip(places, results(made, [kind_of(node.inputs[i]) for i in places]), strict=True):
        grads[i] = dx
    return grads


limit("Scan", why="at opset 8, where every entry of a batch runs by itself")


@vjp("Scan", since=1)
def scan_of_batches(op: Emitter, node: NodeView, *dys: Tensor | None) -> list[Tensor | None]:
    """Refused: opset 8 runs the body for every entry of a batch by itself."""
    raise UnsupportedOp(
        f"no gradient for Scan of opset {node.opset}, node {node.name!r}: it runs its body for "
        "every entry of a batch by itself, which no later opset does",
        "export the model again at opset 9 or newer",
    )


def _feeds(
    frame: Frame, layout: ScanLayout, back: Backward, tape: dict[int, Tensor]
) -> list[tuple[Tensor, int, int]]:
    """Return what the Scan backwards reads: tensor, axis, direction in the forward Scan."""
    inputs, states = len(frame.kinds), layout.states
    found: list[tuple[Tensor, int, int]] = []
    for i in back.slices:
        if i < states:
            found.append((tape[i], 0, 0))
        elif i < inputs:
            k = i - states
            found.append((frame.node.inputs[i], layout.axes[k], layout.directions[k]))
        else:
            k = i - inputs - states
            dy = frame.dys[i - inputs]
            assert dy is not None, "what is read has a cotangent"
            found.append((dy, layout.output_axes[k], layout.output_directions[k]))
    return found


def _tape(op: Emitter, frame: Frame, back: Backward) -> dict[int, Tensor]:
    """Run the Scan again and write down the states that an iteration backwards needs."""
    taped = [i for i in back.slices if i < frame.count]
    if not taped:
        return {}
    node = frame.node
    child = op.body([], name="tape")
    variables, copy = frame.enter(child)
    graph = finish(child, [*copy.outputs[: frame.count], *(variables[i] for i in taped)], node)
    settings = {
        name: node.attr(name)
        for name in ("num_scan_inputs", "scan_input_axes", "scan_input_directions")
        if node.attr(name) is not None
    }
    count = frame.count + len(taped)
    made = op.Scan(*node.inputs[: node.explicit], body=graph, _outputs=count, **settings)
    kinds = [*frame.kinds[: frame.count], *(stacked(frame.kinds[i]) for i in taped)]
    return dict(zip(taped, results(made, kinds)[frame.count :], strict=True))
