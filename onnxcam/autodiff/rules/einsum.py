"""Einsum: the gradient of a sum of products is one of the same kind."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_letters

from onnxcam.autodiff.cotangents import repeated
from onnxcam.autodiff.registry import NodeView, vjp
from onnxcam.autodiff.rules._moves import arange
from onnxcam.autodiff.rules.shaping import unknown_rank
from onnxcam.graph.emit import Dim, Emitter, Tensor, shape_of


@vjp("Einsum", broadcasts=True)
def einsum(op: Emitter, node: NodeView, dy: Tensor) -> list[Tensor | None]:
    """dx_i = einsum of dy and the other operands, to the subscripts of x_i."""
    terms, result = _subscripts(node)
    grads: list[Tensor | None] = []
    for i, x in enumerate(node.inputs):
        others = [(t, s) for j, (t, s) in enumerate(zip(node.inputs, terms, strict=True)) if j != i]
        wanted = node.wants(i)
        grads.append(_gradient(op, x, terms[i], [(dy, result), *others]) if wanted else None)
    return grads


def _gradient(
    op: Emitter, x: Tensor, subscripts: str, factors: Sequence[tuple[Tensor, str]]
) -> Tensor:
    """Multiply the factors, sum to the subscripts of x, and spread over those of x alone."""
    labels = "".join(dict.fromkeys(subscripts))
    present = "".join(c for c in labels if any(c in s for _, s in factors))
    dx = _product(op, factors, present)
    if present != labels:  # summed over x alone: the gradient is the same all along it
        dx = op.Unsqueeze(dx, axes=[i for i, c in enumerate(labels) if c not in present])
    axes = [subscripts.index(c) for c in labels]
    got, shape = shape_of(dx), shape_of(x)
    want = None if shape is None else [shape[i] for i in axes]
    if _narrower(got, want):
        dx = repeated(op, dx, op.dims(*(op.dim(x, i) for i in axes)))
    return _on_diagonal(op, x, dx, subscripts, labels)


def _narrower(got: Sequence[Dim] | None, want: Sequence[Dim] | None) -> bool:
    """Tell whether some dimension of a gradient may be 1 where its tensor's is not."""
    if got is None or want is None:
        return True
    return any(w is None or w not in (g, 1) for g, w in zip(got, want, strict=True))


def _product(op: Emitter, factors: Sequence[tuple[Tensor, str]], result: str) -> Tensor:
    equation = ",".join(s for _, s in factors) + "->" + result
    if len(factors) == 1 and factors[0][1] == result:
        return factors[0][0]
    return op.Einsum(*(t for t, _ in factors), equation=equation)


def _on_diagonal(op: Emitter, x: Tensor, dx: Tensor, subscripts: str, labels: str) -> Tensor:
    """Give a label that x has twice a dimension for each: dx lies on their diagonal."""
    free = [c for c in ascii_letters if c not in subscripts]
    target, masks = "", []
    for i, label in enumerate(subscripts):
        if label not in target:
            target += label
            continue
        target += free.pop()
        positions = arange(op, op.dim(x, i))
        same = op.Equal(op.Unsqueeze(positions, axes=[0]), op.Unsqueeze(positions, axes=[1]))
        masks.append((op.cast(same, dx), label + target[-1]))
    return _product(op, [(dx, labels), *masks], target) if masks else dx


def _subscripts(node: NodeView) -> tuple[list[str], str]:
    """Return the subscripts of the operands and of the result, with letters for ellipses."""
    equation = str(node.attr("equation")).replace(" ", "")
    left, arrow, result = equation.partition("->")
    terms = left.split(",")
    used = set(equation)
    free = [c for c in ascii_letters if c not in used]
    widths = [_hidden(node, x, t) for x, t in zip(node.inputs, terms, strict=True) if "..." in t]
    width = max(widths, default=0)
    hidden = "".join(free[:width])
    if not arrow:
        letters = sorted(c for c in used - set(".,") if left.count(c) == 1)
        result = ("..." if "..." in left else "") + "".join(letters)
    filled = iter(widths)
    for i, term in enumerate(terms):
        if "..." in term:
            own = next(filled)
            terms[i] = term.replace("...", hidden[width - own :])
    return terms, result.replace("...", hidden)


def _hidden(node: NodeView, x: Tensor, term: str) -> int:
    """Return how many dimensions the ellipsis of an operand stands for."""
    shape = shape_of(x)
    if shape is None:
        raise unknown_rank(node)
    return len(shape) - len(term.replace("...", ""))
