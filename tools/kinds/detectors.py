"""Detectors of eight families, as far as their outputs go: one body, their heads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from kinds.kind import Kind, Outputs
from kinds.networks import CLASSES, body, first, kind, logits, picture

_ANCHORS = 36  # of a grid of 6 x 6


class Head(nn.Module):
    """A body, and a 1 x 1 convolution for the boxes and one for the classes.

    Args:
        classes: How many.
        boxes: How many numbers a box has.
        nothing: Whether class 0 stands for nothing: it is the likeliest nearly everywhere.
    """

    def __init__(self, classes: int, boxes: int = 4, *, nothing: bool = False) -> None:
        super().__init__()
        self.body = body()
        self.cls, self.box = nn.Conv2d(8, classes, 1), nn.Conv2d(8, boxes, 1)
        if nothing:
            nn.init.constant_(self.cls.bias[:1], 1.0)  # type: ignore[index]

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return classes and boxes, [N, C, A]."""
        a = self.body(x)
        self.logits = self.cls(a).flatten(2)
        return self.logits, self.box(a).flatten(2)


def _on_grid(parts: Tensor) -> Tensor:
    """Return middle and size of boxes [N, A, 4] in pixels, from numbers between 0 and 1."""
    grid = torch.arange(float(_ANCHORS))[None, :, None] % 6
    xy, wh = (parts[..., :2] * 2 + grid - 0.5) * 2, (parts[..., 2:] * 2) ** 2 * 3
    return torch.cat([xy, wh], 2)


class YoloV5(Head):
    """[N, A, 4 + 1 + C]: boxes on a grid, whether there is anything, and what."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the rows."""
        classes, boxes = self.parts(x)
        del self.logits  # one tensor holds all rows: probabilities are explained
        y = torch.cat([boxes, classes], 1).transpose(1, 2).sigmoid()
        return torch.cat([_on_grid(y[..., :4]), y[..., 4:]], 2)


class YoloV8(Head):
    """[N, 4 + C, A]."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the columns."""
        classes, boxes = self.parts(x)
        placed = _on_grid(boxes.sigmoid().transpose(1, 2)).transpose(1, 2)
        return torch.cat([placed, classes.sigmoid()], 1)


class Ssd(Head):
    """Boxes, and scores behind a Softmax with a class for nothing."""

    def forward(self, x: Tensor) -> Outputs:
        """Return scores and boxes."""
        classes, boxes = self.parts(x)
        return classes.transpose(1, 2).softmax(2), boxes.transpose(1, 2)


class RetinaNet(Head):
    """Boxes, and scores behind a Sigmoid."""

    def forward(self, x: Tensor) -> Outputs:
        """Return scores and boxes."""
        classes, boxes = self.parts(x)
        return classes.transpose(1, 2).sigmoid(), boxes.transpose(1, 2)


class Fcos(Head):
    """Boxes, scores, and how central a position is, as convolutions leave them."""

    def forward(self, x: Tensor) -> Outputs:
        """Return scores and boxes."""
        a = self.body(x)
        self.logits = self.cls(a)
        return self.logits.sigmoid(), self.box(a).exp()


class UltraFace(Head):
    """Boxes, and scores of background and face."""

    def forward(self, x: Tensor) -> Outputs:
        """Return scores and boxes."""
        classes, boxes = self.parts(x)
        return classes.transpose(1, 2).softmax(2), boxes.transpose(1, 2)


class BlazeFace(Head):
    """Boxes with key points, and one logit of a face."""

    def forward(self, x: Tensor) -> Outputs:
        """Return boxes and scores."""
        classes, boxes = self.parts(x)
        return boxes.transpose(1, 2), classes.transpose(1, 2)


class Detr(nn.Module):
    """Queries that look at the picture: logits with a class for nothing, and boxes."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.queries = body(), nn.Parameter(torch.randn(1, 5, 8))
        self.cls, self.box = nn.Linear(8, CLASSES + 1), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Outputs:
        """Return logits and boxes."""
        a = self.body(x).flatten(2).transpose(1, 2)
        found = (self.queries @ a.transpose(1, 2) / 3).softmax(-1) @ a
        return self.cls(found), self.box(found).sigmoid()


def _detector(
    name: str,
    what: str,
    module: nn.Module,
    outputs: tuple[str, ...],
    places: Callable[[Outputs], Tensor],
    final: str,
    sure: Callable[[Outputs], Tensor],
    boxes: Callable[[Outputs], Tensor] | None = None,
    tensor: Callable[[Outputs], Tensor] | None = None,
) -> Kind:
    given = {"images": picture()}
    how: dict[str, Any] = {"final": final, "sure": sure, "boxes": boxes, "tensor": tensor}
    return Kind(name, what, module, given, outputs, places, "body", **how)


def _corners(middle: Tensor) -> Tensor:
    """Return the corners of boxes [..., 4] that are middle and size."""
    half = middle[..., 2:] / 2
    return torch.cat([middle[..., :2] - half, middle[..., :2] + half], -1)


def _something(y: Outputs) -> Tensor:
    """Return the probabilities of the first output; that of class 0 stands for nothing."""
    found = y[0].transpose(1, 2).clone()
    found[:, 0] = -1
    return found


def _transposed(at: int) -> Callable[[Outputs], Tensor]:
    return lambda y: y[at].transpose(1, 2)


@kind("YOLOv5")
def yolov5() -> Kind:
    return _detector(
        "YOLOv5", "[N, A, 5 + C]: boxes, objectness, classes", YoloV5(CLASSES + 1), ("output0",),
        lambda y: y[0][:, :, 5:].transpose(1, 2), "",
        lambda y: (y[0][:, :, 5:] * y[0][:, :, 4:5]).transpose(1, 2),
        lambda y: _corners(y[0][:, :, :4]), tensor=first,
    )  # fmt: skip


@kind("YOLOv8")
def yolov8() -> Kind:
    return _detector(
        "YOLOv8", "[N, 4 + C, A]", YoloV8(CLASSES), ("output0",), logits,
        "sigmoid", lambda y: y[0][:, 4:], lambda y: _corners(y[0][:, :4].transpose(1, 2)),
    )  # fmt: skip


@kind("SSD")
def ssd() -> Kind:
    return _detector(
        "SSD", "boxes, and a Softmax with a class for nothing", Ssd(CLASSES, nothing=True),
        ("scores", "boxes"), logits, "softmax", _something,
    )  # fmt: skip


@kind("RetinaNet")
def retinanet() -> Kind:
    return _detector(
        "RetinaNet", "boxes, and a Sigmoid of every class", RetinaNet(CLASSES), ("scores", "boxes"),
        logits, "sigmoid", _transposed(0),
    )  # fmt: skip


@kind("FCOS")
def fcos() -> Kind:
    return _detector(
        "FCOS", "maps of scores and of boxes", Fcos(CLASSES), ("scores", "boxes"),
        logits, "sigmoid", lambda y: y[0].flatten(2),
    )  # fmt: skip


@kind("UltraFace")
def ultraface() -> Kind:
    return _detector(
        "UltraFace", "background and face", UltraFace(2, nothing=True), ("scores", "boxes"),
        logits, "softmax", _something,
    )  # fmt: skip


@kind("BlazeFace")
def blazeface() -> Kind:
    return _detector(
        "BlazeFace", "boxes with key points, one logit", BlazeFace(1, 16),
        ("regressors", "classificators"), lambda y: y[1].transpose(1, 2), "",
        lambda y: y[1].transpose(1, 2).sigmoid(),
    )  # fmt: skip


@kind("DETR")
def detr() -> Kind:
    return _detector(
        "DETR", "queries, a class for nothing", Detr(), ("logits", "pred_boxes"),
        lambda y: y[0].transpose(1, 2), "", lambda y: y[0].transpose(1, 2).sigmoid(),
        lambda y: 12 * _corners(y[1]),
    )  # fmt: skip
