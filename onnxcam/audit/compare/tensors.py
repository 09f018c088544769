"""Where along their tensors two models diverge: signal to noise, tensor by matched tensor.

Tensors are matched by their names and sizes, as builds of one file keep them; where two models
share few names, by their values: the same number of elements in the same order along both graphs,
with the highest correlation, channels first or last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from onnxcam.inputs import Prepared
from onnxcam.model.draft import exposed
from onnxcam.model.model import Model
from onnxcam.run.session import Session

Array: TypeAlias = np.ndarray[Any, Any]
_SAME = 120.0  # dB that stand for no difference at all
_ALIKE = 0.5  # correlation below which two tensors are not matched by their values
_MOST = 400  # tensors of a model that are looked at
_COMMON = 0.2  # share of matched tensors below which two models are two networks
_FEW = 0.3  # share of matches by name below which values are asked
_BROKEN = 0.15  # fall of the correlation, or change of the factor, that no rounding makes at once
_CLOSE = 0.05  # of the signal, within which a difference is called a factor or a shift


@dataclass(frozen=True)
class Step:
    """Two tensors that were matched.

    Attributes:
        model: Name of the tensor in the model.
        baseline: Its name in the baseline.
        op: The operator that makes it, in the model.
        matched: "name" or "values".
        sqnr: Signal to quantisation noise, 10 log10(sum b^2 / sum (a - b)^2), in dB; at most 120.
        correlation: Of the two.
        factor: sum(a b) / sum(b b): what the baseline's is multiplied by, in the mean.
        elements: Of one sample.
    """

    model: str
    baseline: str
    op: str
    matched: str
    sqnr: float
    correlation: float
    factor: float
    elements: int


@dataclass(frozen=True)
class Divergence:
    """How two models diverge.

    Attributes:
        steps: The matched tensors in the order of the model's graph.
        first: Where the largest loss lies, as a place in ``steps``; None where all is alike.
        words: What is seen there.
        samples: Samples that it was measured on.
    """

    steps: tuple[Step, ...]
    first: int | None
    words: str
    samples: int


def divergence(
    model: Model,
    baseline: Model,
    inputs: Sequence[tuple[Prepared, Prepared]],
    names: tuple[str, str],
) -> Divergence:
    """Run two models on the same samples and compare what is between their inputs and outputs.

    Args:
        model: The model.
        baseline: The other.
        inputs: Of every sample what each of the two takes.
        names: The inputs' names.
    """
    new = [_values(model, names[0], [a for a, _ in inputs])]
    old = [_values(baseline, names[1], [b for _, b in inputs])]
    ops = {out: n.op_type for n in model.light.graph.node for out in n.output}
    pairs = matches(new[0], old[0])
    steps = tuple(
        _step(a, b, ops.get(a, ""), how, new[0][a], _like(old[0][b], new[0][a]))
        for a, b, how in pairs
    )
    fewer = min(len(new[0]), len(old[0]))
    first, words = _first(steps)
    if len(steps) < _COMMON * fewer:
        words = (
            f"{len(steps)} of {fewer} tensors have a counterpart: these are two networks, not two "
            "builds of one"
        )
        first = None
    return Divergence(steps, first, words, len(inputs))


def _values(model: Model, name: str, inputs: Sequence[Prepared]) -> dict[str, list[Array]]:
    """Return the floating tensors of a model: for each its values of every sample."""
    graph = model.light.graph
    made = [out for node in graph.node for out in node.output if out]
    typed = {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.output)}
    floats = [n for n in made if typed.get(n) in (1, 10, 11)]  # float, half, double
    step = max(1, -(-len(floats) // _MOST))
    wanted = list(dict.fromkeys([*floats[::step], *floats[-1:]]))
    rounded = _rounded(model)
    shown = [rounded.get(n, n) for n in wanted]
    session = Session(exposed(model, shown), optimise=False)
    found: dict[str, list[Array]] = {n: [] for n in wanted}
    for each in inputs:
        feeds = {name: each.tensor, **each.others}
        for key, value in zip(wanted, session.run(feeds, shown), strict=True):
            found[key].append(np.asarray(value, np.float32))
    return {n: v for n, v in found.items() if v and v[0].size > 1}


def _rounded(model: Model) -> dict[str, str]:
    """Return tensors that are only quantised, with the tensor in which they are floats again.

    A build in 8 bits leaves activations such as Clip to the range of what it rounds to: before
    the rounding the tensor of that name is another one.
    """
    takers: dict[str, list[Any]] = {}
    for node in model.light.graph.node:
        for name in node.input:
            takers.setdefault(name, []).append(node)
    found = {}
    for name, nodes in takers.items():
        if all(n.op_type == "QuantizeLinear" and n.input[0] == name for n in nodes):
            back = [t for n in nodes for t in takers.get(n.output[0], ())]
            floats = [t.output[0] for t in back if t.op_type == "DequantizeLinear"]
            if floats:
                found[name] = floats[0]
    return found


def matches(
    new: Mapping[str, list[Array]], old: Mapping[str, list[Array]]
) -> list[tuple[str, str, str]]:
    """Return the tensors that belong together: names in the model and the baseline, and how."""
    named = [(n, n, "name") for n in new if n in old and new[n][0].size == old[n][0].size]
    if len(named) >= max(1, _FEW * min(len(new), len(old))):
        return named
    return _by_values(new, old)


def _by_values(
    new: Mapping[str, list[Array]], old: Mapping[str, list[Array]]
) -> list[tuple[str, str, str]]:
    """Align two lists of tensors so that the sum of correlations is largest (as a diff does)."""
    a, b = list(new), list(old)
    score = np.zeros((len(a), len(b)))
    for j, name in enumerate(b):
        for i, other in enumerate(a):
            if old[name][0].size == new[other][0].size:
                score[i, j] = _correlation(new[other][0], _like(old[name], new[other])[0])
    score[score < _ALIKE] = 0
    best = np.zeros((len(a) + 1, len(b) + 1))
    for i in range(len(a)):
        for j in range(len(b)):
            both = best[i, j] + score[i, j]
            best[i + 1, j + 1] = max(best[i, j + 1], best[i + 1, j], both if score[i, j] else 0)
    found, i, j = [], len(a), len(b)
    while i and j:
        if score[i - 1, j - 1] and best[i, j] == best[i - 1, j - 1] + score[i - 1, j - 1]:
            found.append((a[i - 1], b[j - 1], "values"))
            i, j = i - 1, j - 1
        elif best[i, j] == best[i - 1, j]:
            i -= 1
        else:
            j -= 1
    return found[::-1]


def _like(values: list[Array], other: list[Array]) -> list[Array]:
    """Return values in the layout of another's: as they are, or channels first or last."""
    if values[0].shape == other[0].shape:
        return values
    rank = values[0].ndim
    if rank == other[0].ndim and rank > 2:
        for order in ((0, rank - 1, *range(1, rank - 1)), (0, *range(2, rank), 1)):
            if tuple(values[0].shape[k] for k in order) == other[0].shape:
                return [v.transpose(order) for v in values]
    return [v.reshape(o.shape) for v, o in zip(values, other, strict=True)]


def _step(name: str, other: str, op: str, how: str, new: list[Array], old: list[Array]) -> Step:
    a = np.concatenate([v.ravel() for v in new]).astype(np.float64)
    b = np.concatenate([v.ravel() for v in old]).astype(np.float64)
    signal, noise = float(b @ b), float(((a - b) ** 2).sum())
    sqnr = _SAME if noise == 0 else 10 * float(np.log10(max(signal, 1e-300) / noise))
    factor = float(a @ b) / signal if signal else 1.0
    return Step(
        name, other, op, how, min(sqnr, _SAME), _correlation(a, b), factor, int(new[0].size)
    )


def _correlation(a: Array, b: Array) -> float:
    x, y = a.ravel().astype(np.float64), b.ravel().astype(np.float64)
    x, y = x - x.mean(), y - y.mean()
    scale = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / scale if scale else float(np.array_equal(a, b))


def _first(steps: Sequence[Step]) -> tuple[int | None, str]:
    """Return the place where most is lost, and what is seen there.

    It is the first tensor that is another one, or is multiplied, as none before it; where rounding
    is all that happens it is the largest fall below all that came before.
    """
    if not steps or min(s.sqnr for s in steps) >= _SAME:
        return None, "no tensor that was matched differs"
    broken = _broken(steps)
    floor, worst, place = _SAME, 0.0, 0
    for k, step in enumerate(steps):
        # A loss from very good to good is that of rounding: above 40 dB all is alike.
        fall = min(floor, 40.0) - step.sqnr
        if fall > worst:
            worst, place = fall, k
        floor = min(floor, step.sqnr)
    place, worst = (place, worst) if broken is None else (broken, 1.0)
    step = steps[place]
    before = min((s.sqnr for s in steps[:place]), default=_SAME)
    if worst <= 0:
        return None, f"every matched tensor keeps {floor:.0f} dB or more"
    name = step.model if step.model == step.baseline else f"{step.model} ({step.baseline})"
    said = f"{name}, made by {step.op}, has {step.sqnr:.1f} dB; before it {before:.1f} dB or more"
    return place, f"{said}. {_kind(step)}"


def _broken(steps: Sequence[Step]) -> int | None:
    """Return the first tensor that differs in kind from all before it, None where none does."""
    alike, moved = 1.0, 0.0
    for k, step in enumerate(steps):
        change = abs(step.factor - 1)
        if alike - step.correlation > _BROKEN or change - moved > _BROKEN:
            return k
        alike, moved = min(alike, step.correlation), max(moved, change)
    return None


def _kind(step: Step) -> str:
    """Return what the difference at a tensor looks like, in words."""
    if step.factor == 0 and step.correlation == 0:
        return "It is 0, or does not depend on its input any more"
    if abs(step.correlation) > 1 - _CLOSE / 5 and abs(step.factor - 1) > _CLOSE:
        return f"It is what it was, times {step.factor:.3g}"
    if step.correlation > 0.9:
        return "It is nearly what it was: noise, as rounding makes it"
    return f"It is another tensor: the correlation is {step.correlation:.2f}"
