"""Loop backwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onnxcam.autodiff.control.loops import Backward, Frame, backward
from onnxcam.autodiff.control.sequences import zeros
from onnxcam.autodiff.control.subgraphs import finish, results
from onnxcam.autodiff.registry import NodeView, limit, vjp
from onnxcam.errors import UnsupportedOp
from onnxcam.graph import ir
from onnxcam.graph.bodies import Copy, Kind, enter, kind_of, stacked, variable
from onnxcam.graph.emit import Emitter, Tensor, elem_type, is_sequence

limit("Loop", why="for states of an optional type")


@vjp("Loop")
def loop(op: Emitter, node: NodeView, *dys: Tensor | None) -> list[Tensor | None]:
    """dx = a Loop over the iterations in reverse order, each giving its part of the gradient."""
    frame = _frame(op, node, dys)
    grads: list[Tensor | None] = [None] * len(node.inputs)
    back = backward(op, frame)
    if back is None:
        return grads
    tape = _tape(op, frame, back)
    starts = [_start(op, frame, tape, i) for i in back.carried]
    iteration, going = op.variable("iteration", np.int64, []), op.variable("going", np.bool_, [])
    carried = [variable(op, kind_of(t)) for t in back.graph.inputs[: len(starts)]]
    outer = op.body([iteration, going, *carried], name="backwards")
    place = outer.Sub(outer.Sub(tape.length, 1), iteration)
    slices = [_slice(outer, frame, tape, i, place) for i in back.slices]
    known = dict(zip(map(id, back.graph.inputs), [*carried, *slices], strict=True))
    graph = finish(outer, [going, *Copy(outer, back.graph, known).outputs], node)
    made = op.Loop(tape.length, None, *starts, body=graph, _outputs=len(starts))
    kinds = [kind_of(node.inputs[i]) for i in back.carried]
    for i, dx in zip(back.carried, results(made, kinds), strict=True):
        grads[i] = dx
    return grads


@dataclass
class Tape:
    """What a Loop left for its way back.

    Attributes:
        length: How many iterations it ran: int64, a scalar.
        states: By state, its values before each iteration: stacked, or a sequence where their
            shape may change.
        finals: The states after the last iteration; empty where the Loop did not run again.
    """

    length: Tensor
    states: dict[int, Tensor]
    finals: list[Tensor]


def _frame(op: Emitter, node: NodeView, dys: Sequence[Tensor | None]) -> Frame:
    body = node.attr("body")
    _refuse_optional(node)
    kinds = enter(op, node.raw, node.inputs[: node.explicit], body, {}).kinds
    return Frame(node, body, 2, len(kinds) - 2, kinds, list(dys))


def _refuse_optional(node: NodeView) -> None:
    for i, x in enumerate(node.inputs[: node.explicit]):
        if isinstance(x, ir.Variable) and x.type == "optional_type" and node.wants(i):
            raise UnsupportedOp(
                f"no gradient for Loop, node {node.name!r}: its state {x.name!r} is optional",
                "give the loop the value itself",
            )


def _lasts(kind: Kind) -> bool:
    """Tell whether a state is known to have the same shape in every iteration."""
    return not kind.sequence and kind.shape is not None and None not in kind.shape


def _tape(op: Emitter, frame: Frame, back: Backward) -> Tape:
    """Run the Loop again where the way back needs more than its outputs tell."""
    node, count = frame.node, frame.count
    taped = [i - 2 for i in back.slices if 2 <= i < 2 + count and not frame.kinds[i].sequence]
    final = all(_final(frame, i - 2) is not None for i in back.carried if i < node.explicit)
    written = next((y for y in node.outputs[count:] if y is not None), None)
    if written is not None and final and not taped:
        return Tape(_scalar(op, op.dim(written, 0)), {}, [])
    child = op.body([], name="tape")
    variables, copy = frame.enter(child)
    grown = [i for i in taped if not _lasts(frame.kinds[2 + i])]
    kept = [i for i in taped if i not in grown]
    befores = [variable(op, Kind(frame.kinds[2 + i].dtype, None, sequence=True)) for i in grown]
    child.enter(*befores)
    pairs = zip(befores, grown, strict=True)
    afters = [child.SequenceInsert(before, variables[2 + i]) for before, i in pairs]
    rows = [*(variables[2 + i] for i in kept), variables[0]]
    graph = finish(child, [*copy.outputs[: 1 + count], *afters, *rows], node)
    starts = [op.SequenceEmpty(dtype=elem_type(frame.kinds[2 + i].dtype)) for i in grown]
    kinds = [*frame.kinds[2:], *map(kind_of, befores), *(stacked(kind_of(x)) for x in rows)]
    inputs = node.inputs[: node.explicit]
    made = results(op.Loop(*inputs, *starts, body=graph, _outputs=len(kinds)), kinds)
    states = dict(zip([*grown, *kept], made[count:], strict=False))
    return Tape(_scalar(op, op.dim(made[-1], 0)), states, made[:count])


def _scalar(op: Emitter, length: int | Tensor) -> Tensor:
    return op.const(np.int64(length)) if isinstance(length, int) else op.Squeeze(length, axes=[0])


def _final(frame: Frame, state: int) -> Tensor | None:
    """Return a tensor of the shape of a state after the last iteration, where there is one."""
    before = frame.node.inputs[2 + state]
    return frame.node.output(state) or (before if _lasts(frame.kinds[2 + state]) else None)


def _start(op: Emitter, frame: Frame, tape: Tape, index: int) -> Tensor:
    """Return what a carried gradient starts with: the cotangent of a final state, else zeros."""
    if index >= frame.node.explicit:
        return zeros(op, frame.node.inputs[index])
    state = index - 2
    dy = frame.dys[state]
    return dy if dy is not None else zeros(op, _final(frame, state) or tape.finals[state])


def _slice(op: Emitter, frame: Frame, tape: Tape, index: int, place: Tensor) -> Tensor:
    """Return what the body or its gradient reads in the iteration of number ``place``."""
    inputs = len(frame.kinds)
    if index >= inputs:
        return op.Gather(frame.dys[index - inputs], place, axis=0)
    kind = frame.kinds[index]
    if index == 0:
        return op.Reshape(place, list(kind.shape)) if kind.shape else place
    if index == 1:
        return op.const(np.ones(kind.shape or (), np.bool_))
    if kind.sequence:
        return _run_again(op, frame, place)[index - 2]
    state = tape.states[index - 2]
    return op.SequenceAt(state, place) if is_sequence(state) else op.Gather(state, place, axis=0)


def _run_again(op: Emitter, frame: Frame, trips: Tensor) -> list[Tensor]:
    """Return all states after so many iterations: there are no sequences of sequences to tape."""
    child = op.body([], name="again")
    variables, copy = frame.enter(child)
    graph = finish(child, [variables[1], *copy.outputs[1 : 1 + frame.count]], frame.node)
    states = frame.node.inputs[2 : frame.node.explicit]
    made = op.Loop(trips, None, *states, body=graph, _outputs=len(states))
    return results(made, frame.kinds[2:])
