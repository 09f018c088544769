"""If backwards."""

from __future__ import annotations

from typing import Any

from onnxcam.autodiff.control.sequences import zeros
from onnxcam.autodiff.control.subgraphs import Differentiable, finish, refuse_random, results
from onnxcam.autodiff.registry import NodeView, vjp
from onnxcam.graph.bodies import kind_of, needed
from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.graph.folding import known_value


@vjp("If")
def if_(op: Emitter, node: NodeView, *dys: Tensor | None) -> list[Tensor | None]:
    """dx = an If of the gradients of both branches, which compute again what they need."""
    sources, branches = node.captures, {}
    decided = known_value(op, node.inputs[0])
    if decided is not None:
        branch = node.attr("then_branch" if decided.all() else "else_branch")
        written = len(op.nodes)
        found = Differentiable(node, op, branch, {}).vjp(dys, sources)
        used = needed(op.nodes[written:], [dx for dx in found if dx is not None])
        refuse_random(used, node)
        return [*[None] * node.explicit, *found]
    for name in ("then_branch", "else_branch"):
        child = op.body([], name=name)
        child.hoist = False
        branch = Differentiable(node, child, node.attr(name), {})
        branches[name] = child, branch.vjp(dys, sources)
    moving = [
        i for i in range(len(sources)) if any(dx[i] is not None for _, dx in branches.values())
    ]
    grads: list[Tensor | None] = [None] * (node.explicit + len(sources))
    if not moving:
        return grads
    bodies: dict[str, Any] = {}
    for name, (child, dxs) in branches.items():
        outputs = [dxs[i] or zeros(child, sources[i]) for i in moving]
        bodies[name] = finish(child, outputs, node)
    made = op.If(node.inputs[0], _outputs=len(moving), **bodies)
    for i, dx in zip(moving, results(made, [kind_of(sources[i]) for i in moving]), strict=True):
        grads[node.explicit + i] = dx
    return grads
