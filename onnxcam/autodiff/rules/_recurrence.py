"""What the gradients of RNN, GRU and LSTM share: one direction of a network, along time.

The forward operators put out no gates. They are computed again, for all times at once, from the
hidden states that the operator did put out; only what truly runs through time runs in a Scan.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxcam.autodiff.control.subgraphs import results
from onnxcam.autodiff.registry import NodeView
from onnxcam.graph.bodies import Kind, kind_of, stacked, stamp, variable
from onnxcam.graph.emit import Dim, Emitter, Tensor, dtype_of, shape_of

Function = Callable[[Emitter, Tensor], Tensor]
Step = Callable[..., tuple[list[Tensor], list[Tensor]]]

# Alpha and beta where the node gives none. For the last three the specification names none; these
# are what ONNX Runtime computes with.
_DEFAULTS = {
    "leakyrelu": (0.01, 0.0), "hardsigmoid": (0.2, 0.5), "elu": (1.0, 0.0),
    "affine": (0.0, 0.0), "thresholdedrelu": (0.0, 0.0), "scaledtanh": (0.0, 0.0),
}  # fmt: skip
_WITH_BETA = ("hardsigmoid", "affine", "scaledtanh")
_END = np.iinfo(np.int64).max


@dataclass
class Direction:
    """One direction of a recurrent operator: T times, N sequences, I inputs, H hidden states.

    Attributes:
        x: [T, N, I].
        w: Weights of the gates [gates * H, I].
        r: Their recurrent weights [gates * H, H].
        b: Their biases on the side of the input, then of the hidden state [2 * gates * H]; or None.
        p: Peepholes from the cell to the input, output and forget gates [3 * H]; or None.
        h0: First hidden state [N, H]; None is zero.
        c0: First cell state [N, H]; None is zero.
        h: Hidden states [T, N, H].
        dh: Their cotangent, or None.
        dh_end: Cotangent of the last hidden state [N, H], or None.
        dc_end: Cotangent of the last cell state [N, H], or None.
        lengths: Lengths of the sequences [N]; None where all are T.
        backward: Whether the network reads from the last time to the first.
        functions: Its activation functions; those of the gates clip what they are given.
    """

    x: Tensor
    w: Tensor
    r: Tensor
    b: Tensor | None
    p: Tensor | None
    h0: Tensor | None
    c0: Tensor | None
    h: Tensor
    dh: Tensor | None
    dh_end: Tensor | None
    dc_end: Tensor | None
    lengths: Tensor | None
    backward: bool
    functions: list[Function]

    def inside(self, op: Emitter) -> Tensor:
        """Tell which times belong to a sequence: bool [T, N, 1]."""
        count = op.Squeeze(op.dims(op.dim(self.x, 0)), axes=[0])
        times = op.Range(np.int64(0), count, np.int64(1))
        assert self.lengths is not None, "all sequences are whole"
        ends = op.Unsqueeze(op.cast(self.lengths, np.dtype(np.int64)), axes=[1])
        return op.Less(op.Unsqueeze(times, axes=[1, 2]), ends)

    def within(self, op: Emitter, series: Tensor, outside: Any = 0) -> Tensor:
        """Return a series with something else where its sequence has ended."""
        return series if self.lengths is None else op.Where(self.inside(op), series, outside)

    def held(self, op: Emitter) -> Tensor | None:
        """Return 1 where a sequence has ended and its state stays, else 0: [T, N, 1]."""
        return None if self.lengths is None else op.cast(op.Not(self.inside(op)), self.h)

    def last(self, op: Emitter, dy: Tensor | None) -> Tensor:
        """Return the cotangent of a last state: nothing is the last of an empty sequence."""
        if dy is None:
            return self.zero(op)
        if self.lengths is None:
            return dy
        return op.Where(op.Unsqueeze(op.Greater(self.lengths, 0), axes=[1]), dy, 0)

    def zero(self, op: Emitter) -> Tensor:
        """Return a state of zeros [N, H]."""
        size = op.dims(op.dim(self.x, 1), op.dim(self.r, 1))
        return op.Expand(np.zeros(1, dtype_of(self.h)), size)

    def before(self, op: Emitter, states: Tensor, first: Tensor | None) -> Tensor:
        """Return the states [T, N, H] that each time begins with."""
        first = op.Unsqueeze(self.zero(op) if first is None else first, axes=[0])
        states = self.within(op, states, first)  # a sequence read from its end starts there
        if self.backward:
            return op.Concat(op.Slice(states, [1], [_END], [0]), first, axis=0)
        return op.Concat(first, op.Slice(states, [0], [-1], [0]), axis=0)

    def scan(
        self,
        op: Emitter,
        step: Step,
        states: Sequence[Tensor],
        series: Sequence[Tensor | None],
        *,
        reverse: bool = False,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Run ``step(op, states, slices) -> (states, outputs)`` through time.

        Args:
            op: Emitter.
            step: One step; a slice is None where its series is.
            states: First states.
            series: What is read, along the first axis.
            reverse: Run against the direction of the network.

        Returns:
            Last states, and the outputs stacked along time.
        """
        given = [s for s in series if s is not None]
        inputs = [variable(op, _matrix(s, shape_of(s)), "state") for s in states]
        slices = [variable(op, _matrix(s, (shape_of(s) or ())[1:]), "slice") for s in given]
        child = op.body([*inputs, *slices], name="step")
        left = iter(slices)
        after, outputs = step(child, inputs, [s if s is None else next(left) for s in series])
        for y in [*after, *outputs]:
            stamp(y, _matrix(y, shape_of(y)))
        kinds = [*map(kind_of, inputs), *(stacked(kind_of(y)) for y in outputs)]
        way = [int(self.backward != reverse)]
        made = op.Scan(
            *states,
            *given,
            body=child.close([*after, *outputs]),
            num_scan_inputs=len(given),
            scan_input_directions=way * len(given),
            scan_output_directions=way * len(outputs) or None,
            _outputs=len(kinds),
        )
        found = results(made, kinds)
        return found[: len(states)], found[len(states) :]


def directions(op: Emitter, node: NodeView, dys: Sequence[Tensor | None]) -> list[Direction]:
    """Return the directions of a recurrent operator, time first whatever its layout.

    Args:
        op: Emitter.
        node: The operator.
        dys: Cotangents of its outputs.
    """
    way, batch_first = node.attr("direction") or "forward", int(node.attr("layout") or 0)
    count = 2 if way == "bidirectional" else 1
    x, h, lengths = node.inputs[0], hidden_states(op, node), node.input(4)
    dh, dh_end, dc_end = [*dys, None, None][:3]
    if batch_first:
        x, h = op.Transpose(x, perm=[1, 0, 2]), op.Transpose(h, perm=[1, 2, 0, 3])
        dh = None if dh is None else op.Transpose(dh, perm=[1, 2, 0, 3])
    series = {"h": h, "dh": dh}
    weights = {"w": node.inputs[1], "r": node.inputs[2], "b": node.input(3), "p": node.input(7)}
    states = {"h0": node.input(5), "c0": node.input(6), "dh_end": dh_end, "dc_end": dc_end}
    functions = _functions(node, count)
    found = []
    for d in range(count):
        parts: dict[str, Any] = {k: _pick(op, t, d, count, 1) for k, t in series.items()}
        parts |= {k: _pick(op, t, d, count, 0) for k, t in weights.items()}
        parts |= {k: _pick(op, t, d, count, batch_first) for k, t in states.items()}
        per = len(functions) // count
        found.append(
            Direction(
                x=x,
                **parts,
                lengths=lengths,
                backward=way == "reverse" or d == 1,
                functions=functions[d * per : (d + 1) * per],
            )
        )
    return found


def hidden_states(op: Emitter, node: NodeView) -> Tensor:
    """Return all hidden states, from the operator or from running it again."""
    if node.outputs[0] is not None:
        return node.outputs[0]
    inputs = node.inputs[: node.explicit]
    return op.call(node.op_type, inputs, node.raw.attrs, outputs=1, domain=node.domain)


def parts(op: Emitter, x: Tensor, count: int, axis: int = -1) -> list[Tensor]:
    """Return a tensor in so many equal parts along an axis."""
    new = "num_outputs" in op.schema("Split").attributes
    return list(op.Split(x, axis=axis, num_outputs=count if new else None, _outputs=count))


def summed_products(op: Emitter, a: Tensor, b: Tensor) -> Tensor:
    """Return sum over times and sequences of a b^T: [T, N, A], [T, N, B] -> [A, B]."""
    return op.Gemm(op.Flatten(a, axis=2), op.Flatten(b, axis=2), transA=1)


def _matrix(x: Tensor, shape: Sequence[Dim] | None) -> Kind:
    """Return the type of one time of a series, [N, H], however little is known of it."""
    return Kind(dtype_of(x), tuple(shape or (None, None)))


def _pick(op: Emitter, x: Tensor | None, index: int, count: int, axis: int) -> Tensor | None:
    if x is None:
        return None
    return op.Squeeze(x, axes=[axis]) if count == 1 else op.Gather(x, np.int64(index), axis=axis)


def _functions(node: NodeView, count: int) -> list[Function]:
    """Return the activation functions, those of the first direction first."""
    usual = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}
    default = usual[node.op_type] * count
    names = [n.lower() for n in (node.attr("activations") or default)[: len(default)]]
    alphas = list(node.attr("activation_alpha") or [])
    betas = list(node.attr("activation_beta") or [])
    clip = float(node.attr("clip") or 0)
    functions = []
    for i, name in enumerate(names):
        alpha, beta = _DEFAULTS.get(name, (0.0, 0.0))
        if name in _DEFAULTS and alphas:
            alpha = alphas.pop(0)
        if name in _WITH_BETA and betas:
            beta = betas.pop(0)
        shows_cell = node.op_type == "LSTM" and i % 3 == 2  # what a cell shows is not clipped
        functions.append(_function(name, alpha, beta, 0.0 if shows_cell else clip))
    return functions


def _function(name: str, alpha: float, beta: float, clip: float) -> Function:
    table: dict[str, Function] = {
        "relu": lambda op, z: op.Relu(z),
        "tanh": lambda op, z: op.Tanh(z),
        "sigmoid": lambda op, z: op.Sigmoid(z),
        "affine": lambda op, z: op.Add(op.Mul(z, alpha), beta),
        "leakyrelu": lambda op, z: op.LeakyRelu(z, alpha=alpha),
        "thresholdedrelu": lambda op, z: op.Where(op.Greater(z, alpha), z, 0),
        "scaledtanh": lambda op, z: op.Mul(op.Tanh(op.Mul(z, beta)), alpha),
        "hardsigmoid": lambda op, z: op.HardSigmoid(z, alpha=alpha, beta=beta),
        "elu": lambda op, z: op.Elu(z, alpha=alpha),
        "softsign": lambda op, z: op.Softsign(z),
        "softplus": lambda op, z: op.Softplus(z),
    }
    function = table[name]
    if not clip:
        return function
    return lambda op, z: function(op, op.Clip(z, min=-clip, max=clip))
