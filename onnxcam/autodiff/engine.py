"""The walk: from cotangents of outputs to gradients of any tensors, written as ONNX nodes.

Reverse-mode differentiation over a static graph. The engine finds the nodes between ``wrt`` and
the outputs, asks each node's rule for its vector-Jacobian product, sums where a tensor has
several consumers and sums back over broadcast dimensions. It knows no operator.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from onnx.shape_inference import InferenceError

from onnxcam.autodiff import cotangents, few_rows
from onnxcam.autodiff.broadcast import unbroadcast
from onnxcam.autodiff.checks import check_arity, check_gradient, contradiction, unsupported
from onnxcam.autodiff.overrides import Rules, overriding
from onnxcam.autodiff.registry import (
    Entry,
    NodeView,
    fallback_for,
    is_discrete,
    lookup,
    nondiff_reason,
    schema_of,
)
from onnxcam.autodiff.route import Route, topological
from onnxcam.autodiff.view import Override, Overrides
from onnxcam.graph import ir
from onnxcam.graph.bodies import captures
from onnxcam.graph.emit import (
    Emitter,
    Tensor,
    const_value,
    dtype_of,
    is_float,
    is_sequence,
    is_small_float,
)


def vjp(
    op: Emitter,
    outputs: Sequence[tuple[Tensor, Tensor]],
    wrt: Sequence[Tensor],
    *,
    overrides: Rules | None = None,
    stops: Sequence[Tensor] = (),
) -> list[Tensor | None]:
    """Write the vector-Jacobian products of a graph and return them.

    Args:
        op: Emitter of the graph (or of a subgraph that sees it).
        outputs: Pairs of a tensor and its cotangent (same shape and dtype).
        wrt: Tensors to differentiate with respect to. One may lie before another; nothing is
            differentiated that lies before all of them.
        overrides: Other rules: a list of which the first that matches a node is taken, or a
            mapping from names of nodes or operator types, where a node's name goes first.
        stops: Further tensors that nothing is walked before; they count as constant.

    Returns:
        One gradient per ``wrt`` tensor with its shape and dtype (summed over the outputs); None
        where no output depends on it.

    Raises:
        UnsupportedOp: A differentiated value flows through an operator without a rule.
    """
    return _Walk(op, outputs, wrt, overrides, stops).run()


def moved(
    op: Emitter,
    outputs: Sequence[Tensor],
    wrt: Sequence[Tensor],
    *,
    overrides: Rules | None = None,
    stops: Sequence[Tensor] = (),
) -> set[int]:
    """Return the ids of the tensors, of those the outputs need, that a change of ``wrt`` moves.

    The arguments are those of :func:`vjp`.
    """
    return _Walk(op, [(t, None) for t in outputs], wrt, overrides, stops).active


class _Walk:
    def __init__(
        self,
        op: Emitter,
        outputs: Sequence[tuple[Tensor, Tensor | None]],
        wrt: Sequence[Tensor],
        overrides: Rules | None,
        stops: Sequence[Tensor],
    ) -> None:
        self.op, self.wrt, self.overrides = op, wrt, overriding(overrides)
        self._revives = any(o.revives for o in self.overrides.items)
        self.parts: dict[int, list[Any]] = {}
        for tensor, cotangent in outputs:
            self.parts.setdefault(id(tensor), []).append(cotangent)
        self.order = list(topological([t for t, _ in outputs], {id(t) for t in stops}))
        self.captures = {id(n): captures(n) for n in self.order if _has_body(n)}
        self.active = cotangents.filled(wrt)
        self.route = Route(self.order, self.moving)
        self._forward()
        self.route = Route(self.order, self.moving)  # the first may know less

    def run(self) -> list[Tensor | None]:
        for node in reversed(self.order):
            if self.moving(node):
                self._backward(node)
        return [self._total(t) for t in self.wrt]

    def moving(self, node: ir.Node) -> set[int]:
        """Return the ids of what the gradient of a node may flow to."""
        return set() if self._is_zero(node) else {id(t) for t in self._carrying(node)}

    def _carrying(self, node: ir.Node) -> list[Tensor]:
        """Return what of a node's sources is moved and moves it: no indices, counts, conditions."""
        moved = [(i, t) for i, t in enumerate(node.inputs) if id(t) in self.active]
        captured = [t for t in self.captures.get(id(node), ()) if id(t) in self.active]
        return [t for i, t in moved if not self._is_discrete(node, i, t)] + captured

    def _is_discrete(self, node: ir.Node, index: int, tensor: Tensor, side: str = "inputs") -> bool:
        if is_float(tensor):
            return False
        schema = schema_of(node.domain, node.op, self._opset(node))
        return is_sequence(tensor) or is_discrete(schema, side, index)

    def _forward(self) -> None:
        """Find the tensors that a change of ``wrt`` can move."""
        for node in self.order:
            moving = self._carrying(node)
            if not moving or self._is_zero(node):
                continue
            entry = lookup(node.domain or "", node.op, self._opset(node))
            through = entry is not None and entry.straight_through
            through = through or any(not is_float(t) for t in moving)
            for i, t in enumerate(node.outputs):
                real = is_float(t) or is_small_float(t)
                if t.name and (real or (through and not self._is_discrete(node, i, t, "outputs"))):
                    self.active.add(id(t))

    def _is_zero(self, node: ir.Node) -> bool:
        if nondiff_reason(node.domain or "", node.op) is None:
            return False
        return not self._revives or self._override(self._view(node)) is None

    def _opset(self, node: ir.Node) -> int:
        domain = "" if node.domain in (None, "ai.onnx") else node.domain
        return self.op.opsets.get(domain, 1)

    def _view(self, node: ir.Node) -> NodeView:
        captured = [t for t in self.captures.get(id(node), ()) if id(t) in self.active]
        view = NodeView(node, self._opset(node), captured)
        view.overrides, view.route = self.overrides, self.route
        view.asked = frozenset(id(t) for t in self.wrt)
        return view

    def _override(self, view: NodeView) -> Override | None:
        zero = nondiff_reason(view.domain, view.op_type) is not None
        return self.overrides.first(view, zero=zero)

    def _backward(self, node: ir.Node) -> None:
        dys = [self._total(t) if t.name and id(t) in self.active else None for t in node.outputs]
        if all(dy is None for dy in dys):
            return
        view = self._view(node)
        carrying = {id(t) for t in self._carrying(node)}
        view._wanted = {i for i, t in enumerate(view.inputs) if id(t) in carrying}
        entry = self._entry(view)
        if entry.straight_through:
            self.op.straight_through.add(view.op_type)
        sources = list(view.inputs)
        self._as_floats(view, dys)
        try:
            with self.op.scope(view.name):
                grads = few_rows.through(self.op, view, dys, entry)
                check_arity(view, grads)
                for i, dx in enumerate(grads):
                    if dx is not None and view.wants(i):
                        self._accumulate(sources[i], view, i, dx, entry.broadcasts)
        except (AssertionError, InferenceError, ValueError) as error:
            misfit = contradiction(view, error)
            if misfit is None:
                raise
            raise misfit from error

    def _as_floats(self, view: NodeView, dys: Sequence[Tensor | None]) -> None:
        """Show a rule the quantised values that carry a gradient, and their likes, as floats."""
        kind = next(dy for dy in dys if dy is not None)
        wanted = [i for i, x in enumerate(view.inputs) if view.wants(i) and not is_float(x)]
        types = {view.type_of(i) for i in wanted} - {None}
        for i, x in enumerate(view.inputs):
            if x is not None and (i in wanted or view.type_of(i) in types):
                view.inputs[i] = self._as_float(x, kind)
        for i, y in enumerate(view.outputs):
            if dys[i] is not None and not is_float(y):
                view.outputs[i] = self.op.cast(y, kind)

    def _as_float(self, x: Tensor, kind: Tensor) -> Tensor:
        value = const_value(x)
        if value is None or value.size > 1:
            return self.op.cast(x, kind)
        return self.op.const(value, dtype_of(kind) or np.float32)

    def _entry(self, view: NodeView) -> Entry:
        override = self._override(view) if self.overrides else None
        if override is not None:
            return Entry(partial(override.rule, **override.parameters), 1)
        entry = lookup(view.domain, view.op_type, view.opset) or fallback_for(view)
        if entry is None:
            raise unsupported(view)
        return entry

    def _accumulate(
        self, x: Tensor, view: NodeView, index: int, dx: Tensor, broadcasts: bool
    ) -> None:
        if broadcasts:
            dx = unbroadcast(self.op, dx, x)
        check_gradient(view, index, dx)
        if is_float(x):
            dx = self.op.cast(dx, x)
        self.parts.setdefault(id(x), []).append(self.op.typed(dx, x))

    def _total(self, tensor: Tensor) -> Tensor | None:
        """Sum the contributions to a tensor's gradient."""
        parts = self.parts.get(id(tensor))
        if not parts:
            return None
        while len(parts) > 1:
            both = few_rows.add(self.op, parts[0], parts[1])
            parts[:2] = [self.op.typed(both, tensor)]
        total: Tensor | None = parts[0]
        return total


def _has_body(node: ir.Node) -> bool:
    return any(isinstance(v, ir.Graph) for v in node.attrs.values())


def path(
    op: Emitter, outputs: Sequence[Tensor], wrt: Sequence[Tensor], stops: Sequence[Tensor] = ()
) -> tuple[list[ir.Node], set[int]]:
    """Return the nodes that a gradient passes, producers first, and the ids of what carries it.

    The arguments are those of ``vjp``; ``wrt`` and ``outputs`` are among the ids where they do.
    """
    walk = _Walk(op, [(t, t) for t in outputs], wrt, None, stops)
    carrying = {id(t) for t in outputs} & walk.active
    nodes = []
    for node in reversed(walk.order):
        if walk.moving(node) and any(id(t) in carrying for t in node.outputs):
            nodes.append(node)
            carrying |= walk.moving(node)
    return nodes[::-1], carrying


def overridden(
    op: Emitter, outputs: Sequence[Tensor], wrt: Sequence[Tensor], overrides: Overrides
) -> bool:
    """Tell whether a gradient passes a node that one of the overrides is for.

    The arguments are those of ``vjp``.
    """
    walk = _Walk(op, [(t, None) for t in outputs], wrt, overrides, ())
    return any(walk.moving(n) and walk._override(walk._view(n)) is not None for n in walk.order)
