"""Nodes with subgraphs: If, Loop and Scan around random parts."""

from __future__ import annotations

import numpy as np

from support.fuzzing.graphs import Scope, UnfitError, control, grow


def _body(s: Scope, nodes: int) -> Scope:
    body = Scope(s.model, s)
    grow(body, nodes, nested=s.chance(0.3))
    return body


def _made(body: Scope, outer: Scope) -> list[str]:
    """Return the float tensors that a body made itself."""
    made = {n for node in body.nodes for n in node.output}
    return [n for n in body.pool if n in made and n not in outer.values]


@control
def _if(s: Scope) -> str:
    if s.chance(0.5):
        total = s.add("ReduceSum", [s.pick()], keepdims=0)
        condition = s.add("Greater", [total, s.const(np.float32(0))])
        if s.shape(condition):
            raise UnfitError
    else:
        condition = s.const(np.bool_(s.chance(0.5)))
    start = s.model.count
    then = _body(s, 2)
    after = s.model.count
    if s.chance(0.5):
        s.model.count = start  # the branches use the same names
    other = _body(s, 2)
    s.model.count = max(after, s.model.count)
    pairs = [(a, b) for a in _made(then, s) for b in _made(other, s)]
    alike = [(a, b) for a, b in pairs if then.shape(a) == other.shape(b)]
    names = s.one_of(alike or (pairs if s.chance(0.5) else []))
    return s.add("If", [condition], then_branch=then.closed("then", [], names[:1]),
                 else_branch=other.closed("else", [], names[1:]))  # fmt: skip


def _like(body: Scope, name: str, shape: tuple[int, ...], outer: Scope) -> str:
    """Return a tensor of a body, bounded and of this shape, for the next round."""
    fitting = [n for n in _made(body, outer) if body.shape(n) == shape and n != name]
    return body.add("Tanh", [body.one_of(fitting)])


@control
def _loop(s: Scope) -> str:
    x = s.pick(0, 4)
    body = Scope(s.model, s)
    step, going, state = (body.fresh() for _ in range(3))
    body.values |= {step: np.array(0), going: np.array(True), state: s.values[x]}
    body.pool.append(state)
    still = body.add("Identity", [going])
    body.add("Mul", [state, body.const(np.float32(0.8))])
    grow(body, 2, nested=s.chance(0.3))
    carried = _like(body, state, s.shape(x), s)
    made = [n for n in _made(body, s) if n != carried]
    scanned = [body.one_of(made)] if s.chance(0.5) else []
    graph = body.closed("body", [step, going, state], [still, carried, *scanned])
    trips = s.const(np.int64(s.one_of([1, 2, 3])))
    condition = s.one_of(["", s.const(np.bool_(True))])
    return s.add("Loop", [trips, condition, x], 1 + len(scanned), body=graph)


@control
def _scan(s: Scope) -> str:
    x = s.pick(2, 4)
    if s.opset < 9:
        raise UnfitError
    body = Scope(s.model, s)
    start = s.const(s.floats(*s.shape(x)[1:]))
    state, row = body.fresh(), body.fresh()
    body.values |= {state: s.values[start], row: s.values[x][0]}
    body.pool += [state, row]
    body.add("Add", [state, row])
    grow(body, 2, nested=s.chance(0.3))
    carried = _like(body, state, s.shape(start), s)
    # ONNX Runtime's Scan goes wrong where one tensor is both state and output.
    scanned = body.add("Identity", [body.one_of(_made(body, s))])
    graph = body.closed("body", [state, row], [carried, scanned])
    more = {"scan_input_directions": [int(s.chance(0.5))]}
    return s.add("Scan", [start, x], 2, body=graph, num_scan_inputs=1, **more)
