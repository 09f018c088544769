"""The same nodes on other inputs: what a tensor would be, written into the graph."""

from __future__ import annotations

from collections.abc import Iterable

from onnxcam.autodiff.route import topological
from onnxcam.errors import UnsupportedOp
from onnxcam.graph import ir
from onnxcam.graph.emit import Emitter, Tensor, const_value
from onnxcam.graph.ops import Trait, has


def is_random(node: ir.Node) -> bool:
    """Tell whether a node draws numbers anew at each run; a Dropout does where it trains."""
    if node.op != "Dropout":
        return has(node, Trait.RANDOM)
    training = node.inputs[2] if len(node.inputs) > 2 and node.inputs[2].name else None
    return training is not None and bool(const_value(training) is None or const_value(training))


class Replay:
    """Writes what depends on some tensors once more, with other ones in their place.

    Args:
        pairs: Tensors, and what takes their place, of the same shape and dtype.
    """

    def __init__(self, pairs: Iterable[tuple[Tensor, Tensor]] = ()) -> None:
        self._twins: dict[int, Tensor] = {}
        self._kept: list[Tensor] = []  # an id is one as long as its tensor lives
        for old, new in pairs:
            self.learn(old, new)

    def learn(self, old: Tensor, new: Tensor) -> None:
        """Say what takes the place of a tensor."""
        self._twins[id(old)] = new
        self._kept += [old, new]

    def knows(self, tensor: Tensor) -> bool:
        """Tell whether it is known what takes the place of a tensor."""
        return id(tensor) in self._twins

    def twin(self, op: Emitter, tensor: Tensor) -> Tensor:
        """Return what takes the place of a tensor; itself where it depends on none of them.

        Args:
            op: Emitter of the graph, or of a subgraph in which the other tensors are.
            tensor: Any tensor of the model.

        Raises:
            UnsupportedOp: It depends on them through a subgraph, or is random.
        """
        for node in topological([tensor], set(self._twins)):
            twins = [self._twins.get(id(t), t) for t in node.inputs]
            changed = any(a is not b for a, b in zip(twins, node.inputs, strict=True))
            outputs = list(node.outputs)
            if changed and not has(node, Trait.READS_SHAPE):
                if has(node, Trait.HAS_BODY) or is_random(node):
                    raise UnsupportedOp(
                        f"{node.op}, node {node.name!r}, cannot be written a second time, for "
                        "another input",
                        "use a method that needs the gradient at one input, as input-x-gradient",
                    )
                given = [t if t.name else None for t in twins]
                outputs = list(op.again(node, given, node.attrs))
            for old, new in zip(node.outputs, outputs, strict=True):
                self.learn(old, op.typed(new, old) if new is not old else old)
        return self._twins.get(id(tensor), tensor)
