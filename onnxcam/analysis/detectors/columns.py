"""What the columns of the rows behind a suppression are: box, score, class, in which order.

Libraries write them as they like: [box, score, class] (Ultralytics, YOLOv10), [class, score, box]
(PaddleDetection), [input, box, class, score] (YOLOv7), [input, class, score, box] (Caffe and
OpenVINO), [box, anything, score, class] (YOLOX). Where the graph joins the columns it shows which
are whole numbers, and that is mostly enough; where it does not, the usual order is taken and held
against every run (:mod:`onnxcam.run.settling`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from onnxcam.errors import UsageError
from onnxcam.graph import ir
from onnxcam.graph.emit import Tensor, const_value, is_float, shape_of
from onnxcam.graph.ops import Trait, has

WORDS = {"box": "bbbb", "score": "s", "class": "c", "anything": "a", "input": "i", "other": "o"}
ORDERS = ("bbbbsc", "csbbbb", "ibbbbcs", "icsbbbb", "bbbbasc", "bbbbcs")  # the likeliest first
WIDTH = 4  # of a box
_FAR = 64  # operators between an output and the join of its columns
_VIEWS = (
    "Identity", "Cast", "Unsqueeze", "Squeeze", "Reshape", "Flatten", "Slice", "Gather", "GatherND",
    "GatherElements", "Transpose", "Expand", "Pad", "Compress", "Tile",
)  # fmt: skip


@dataclass(frozen=True)
class Order:
    """What each column of a row is.

    Attributes:
        letters: One a column: ``b`` box, ``s`` score, ``c`` class, ``a`` the probability that
            there is anything, ``i`` the number of the input, ``o`` something else.
        sure: Whether the graph, or a caller, says so.
    """

    letters: str
    sure: bool

    @property
    def words(self) -> str:
        """The columns in words."""
        return ", ".join(spelt(self.letters))


def order_of(tensor: Tensor, size: int) -> Order | None:
    """Return what the columns of rows are, None where these are no findings.

    Args:
        tensor: The rows, columns last.
        size: How many columns there are.
    """
    parts = _parts(tensor)
    said = "?" * size if parts is None else "".join(_kind(*part) for part in parts)
    if len(said) != size:
        return None
    for shown in (said, said.replace("f", "?")):  # a class may be computed in fractions
        fitting = [o for o in _orders(size) if all(map(_agrees, o, shown))]
        if fitting:
            return Order(fitting[0], sure=len(fitting) == 1 and shown == said)
    return None


def of_one_function(tensor: Tensor) -> bool:
    """Tell whether a Sigmoid makes the four numbers, one like the other: they are no corners."""
    source = _source(tensor)
    return bool(source.inputs) and source.inputs[0].op in ("Sigmoid", "HardSigmoid")


def _source(tensor: Tensor) -> Tensor:
    """Return what a tensor is a view, or a choice of rows, of."""
    while tensor.inputs and tensor.inputs[0].op in _VIEWS:
        tensor = tensor.inputs[0].inputs[0]
    return tensor


def declared_order(said: object, size: int) -> Order:
    """Return what a caller says that the columns are.

    Args:
        said: Words of :data:`WORDS`, in a list or with commas.
        size: How many columns there are.

    Raises:
        UsageError: A word is unknown, or they are not as many, or box and score are not among them.
    """
    words = said.split(",") if isinstance(said, str) else [str(w) for w in said]  # type: ignore
    names = [w.strip() for w in words]
    letters = "".join(WORDS.get(w, "?") for w in names)
    letters += "o" * (size - len(letters))
    once = all(letters.count(x) == n for x, n in (("b", 4), ("s", 1))) and letters.count("c") < 2
    if "?" in letters or len(letters) != size or not once:
        raise UsageError(
            f"`detector` says columns {', '.join(names)}, and a row of the output has {size}",
            f"give {', '.join(WORDS)} in the order that they stand in; a box is four of them",
        )
    return Order(letters, sure=True)


def spelt(letters: str) -> list[str]:
    """Return the words of columns, that of a box once."""
    names = {v[0]: k for k, v in WORDS.items()}
    words: list[str] = []
    for i, letter in enumerate(letters):
        if letter != "b" or letters[i - 1 : i] != "b":
            words.append(names[letter])
    return words


def _orders(size: int) -> Iterator[str]:
    """Yield the known orders of so many columns; behind a box in front more may follow."""
    yield from (o for o in ORDERS if len(o) == size)
    yield from (o + "o" * (size - len(o)) for o in ORDERS if len(o) < size and o[0] == "b")


def _agrees(column: str, said: str) -> bool:
    """Tell whether a column may be what the graph shows: "b", a whole number, a fraction or any."""
    allowed = {"b": "bo", "o": "o", "n": "cio", "0": "io", "1": "co", "f": "bsao"}
    return said == "?" or column in allowed[said]


def _parts(tensor: Tensor) -> list[tuple[Tensor, int]] | None:
    """Return the parts that rows are joined of along their last axis, with their widths."""
    for _ in range(_FAR):
        if not tensor.inputs:
            return None
        node = tensor.inputs[0]
        rank = len(shape_of(tensor) or ())
        if has(node, Trait.JOINS):
            if int(node.attrs.get("axis", 0)) % max(rank, 1) == rank - 1:
                return _flat(node, rank - 1)
            moving = [t for t in node.inputs if const_value(t) is None and t.inputs]
        elif node.op.startswith("Scatter"):
            moving = [node.inputs[2]]
        elif node.op in ("Where", "Mul"):
            moving = [t for t in node.inputs if is_float(t) and const_value(t) is None]
        else:
            moving = [node.inputs[0]] if node.op in _VIEWS else []
        if not moving:
            return None
        tensor = max(moving, key=lambda t: len(shape_of(t) or ()))
    return None


def _flat(node: ir.Node, axis: int) -> list[tuple[Tensor, int]] | None:
    """Return the parts of a join along the last axis, those of joins in it too."""
    found: list[tuple[Tensor, int]] = []
    for part in node.inputs:
        inner, shape = part.inputs[0] if part.inputs else None, shape_of(part) or ()
        joins = inner is not None and has(inner, Trait.JOINS) and len(shape) == axis + 1
        if joins and int(inner.attrs.get("axis", 0)) % len(shape) == axis:  # type: ignore[union-attr]
            deeper = _flat(inner, axis)  # type: ignore[arg-type]
            if deeper is None:
                return None
            found += deeper
        elif shape and isinstance(shape[-1], int):
            found.append((part, shape[-1]))
        else:
            return None
    return found


def _kind(part: Tensor, width: int) -> str:
    """Return what the graph shows of a part, one letter a column."""
    if width != 1:
        return ("b" if width == WIDTH else "o") * width
    picked: list[int] = []
    current, whole = part, False
    for _ in range(_FAR):
        whole = whole or not is_float(current)
        if not current.inputs:
            break
        node = current.inputs[0]
        if node.op == "NonMaxSuppression":
            return {0: "0", 1: "1"}.get(picked[-1] if picked else -1, "n")
        if node.op not in _VIEWS and node.op != "Split":
            break
        if node.op == "Gather" and (index := const_value(node.inputs[1])) is not None:
            picked += [int(index.ravel()[0])] if index.size == 1 else []
        current = node.inputs[0]
    return "n" if whole else "f"
