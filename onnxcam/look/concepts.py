"""Channels of a layer, and the pictures that excite them most: what a channel stands for."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from onnxcam.errors import OnnxcamError, UsageError, bounded, plain
from onnxcam.explain import Explainer
from onnxcam.files import write_whole
from onnxcam.look.scan import Scan
from onnxcam.output.explanation import Explanation
from onnxcam.output.panel import panel
from onnxcam.output.render import Figure, save_image

Array: TypeAlias = np.ndarray[Any, Any]
By: TypeAlias = Literal["activation", "relevance"]


@dataclass(frozen=True, eq=False)
class Concept:
    """A channel, or a concept of several, and the pictures that excite it most.

    Attributes:
        channel: Its number.
        pictures: Explanations of it (of a channel by CRP), that of the strongest picture first.
        values: How strong it is in each: its largest activation, or its relevance.
        share: Its relevance in the picture that channels were chosen by, None without one; of a
            concept its importance.
        error: Standard error of that; None where it is no mean.
    """

    channel: int
    pictures: tuple[Explanation, ...]
    values: tuple[float, ...]
    share: float | None = None
    error: float | None = None


@dataclass(frozen=True, eq=False)
class Concepts:
    """The channels of a layer that were looked at.

    Attributes:
        layer: Name of the layer.
        by: What the pictures are ordered by.
        found: The channels.
        failed: Pictures that could not be explained, and why.
        of: What they are: "channel" or "concept".
        bank: The features of each concept of several channels, float [concepts, channels]; else
            None.
    """

    layer: str
    by: By
    found: tuple[Concept, ...]
    failed: tuple[tuple[str, str], ...] = ()
    of: str = "channel"
    bank: Array | None = None

    def sheet(self, size: int = 160) -> Figure:
        """Return a contact sheet: a row for each channel, its strongest picture first.

        Args:
            size: Longer side of a picture, pixels.
        """
        columns = max(len(each.pictures) for each in self.found)
        shown, names = [], []
        for each in self.found:
            for e, value in zip(each.pictures, each.values, strict=True):
                shown.append(e)
                names.append(plain(f"{self.of} {each.channel}: {value:.3g}"))
        title = f"Pictures by {self.by} of {self.of}s"
        return panel(shown, names=names, columns=columns, size=size, title=title, style="overlay")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the contact sheet; the path's ending says in which format.

        Raises:
            OnnxcamError: The file cannot be written.
        """
        save_image(self.sheet(), path)

    def save_bank(self, path: str | os.PathLike[str]) -> None:
        """Write the concepts' features as .npy, which the method ``craft`` takes as its ``bank``.

        Raises:
            UsageError: They are channels.
            OnnxcamError: The file cannot be written.
        """
        if self.bank is None:
            raise UsageError(
                "channels have no features of their own", "find concepts by `onnxcam craft`"
            )
        data = io.BytesIO()
        np.save(data, self.bank)
        write_whole(Path(path), data.getvalue())

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {
            "layer": self.layer,
            "by": self.by,
            f"{self.of}s": [
                {
                    self.of: each.channel,
                    "share": each.share,
                    **({} if each.error is None else {"error": each.error}),
                    "pictures": [
                        {"source": e.source, "value": value, "label": e.label, "target": e.target}
                        for e, value in zip(each.pictures, each.values, strict=True)
                    ],
                }
                for each in self.found
            ],
            "failed": [{"source": source, "why": why} for source, why in self.failed],
        }


@bounded("the concepts cannot be shown")
def concepts(
    model: Any,
    pictures: Iterable[str | os.PathLike[str]],
    *,
    channels: Sequence[int] = (),
    explained: str | os.PathLike[str] | None = None,
    layer: str | None = None,
    most: int = 5,
    each: int = 6,
    by: By = "activation",
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> Concepts:
    """Find the pictures that excite channels of a layer most, and where.

    Achtibat et al., From Attribution Maps to Human-Understandable Explanations through Concept
    Relevance Propagation, Nature Machine Intelligence 2023: activation maximisation and relevance
    maximisation over a set of pictures, and CRP of the channel in each. Deviation: relevance is of
    first order, the sum over positions of A_k dy/dA_k for the picture's own top class, so that one
    run of a picture serves all channels.

    Args:
        model: Path, bytes or proto of an ONNX model, or as :class:`onnxcam.Explainer` takes it.
        pictures: The set. Each is run once; then the strongest of each channel once more.
        channels: Numbers of the channels; none takes the ones that count most.
        explained: A picture whose `most` channels of the largest relevance are shown; None takes
            those that are strongest in any picture.
        layer: The layer; None takes the default.
        most: Channels, where none are named.
        each: Pictures of a channel.
        by: "activation" (the largest over positions) or "relevance".
        progress: Told how many pictures are done, of how many.
        options: As of :class:`onnxcam.Explainer` (preprocess, labels, device ...).

    Raises:
        OnnxcamError: No picture can be explained, or as of :class:`onnxcam.Explainer`.
    """
    if by not in get_args(By) or most < 1 or each < 1:
        raise UsageError(
            f"{each} pictures of {most} channels by {by!r}", "1 or more, activation or relevance"
        )
    explain = Explainer(model, "crp", feature_layer=layer, **options)
    scan = Scan(explain)
    paths = [Path(p) for p in pictures]
    rows, failed = [], []
    for done, path in enumerate(paths, 1):
        try:
            rows.append((path, _strength(scan, path)))
        except OnnxcamError as error:
            failed.append((str(path), str(error)))
        if progress is not None:
            progress(done, len(paths))
    if not rows:
        why = failed[0][1] if failed else "there is none"
        raise UsageError(f"no picture of the set can be explained: {why}", "give others")
    table = np.stack([strength[by] for _, strength in rows])  # [pictures, channels]
    shares = None if explained is None else _strength(scan, Path(explained))["relevance"]
    wanted = list(channels) or _largest(table.max(0) if shares is None else shares, most)
    _check(wanted, table.shape[1])
    found = [
        _concept(explain, k, table[:, k], [row[0] for row in rows], each, shares) for k in wanted
    ]
    return Concepts(scan.layer, by, tuple(found), tuple(failed))


def _strength(scan: Scan, path: Path) -> dict[By, Array]:
    """Return activation and relevance of each channel, float [C] each."""
    a, slopes = scan(path)
    return {"activation": a.max(1), "relevance": (a * slopes).sum(1)}


def _concept(
    explain: Explainer[Any], channel: int, strength: Array, paths: Sequence[Path], each: int,
    shares: Array | None,
) -> Concept:  # fmt: skip
    order = np.argsort(-strength, kind="stable")[:each]
    one = Explainer(
        explain.model, "crp", feature_layer=explain.maps[0].feature.name,
        parameters={"channel": channel}, **same(explain),
    )  # fmt: skip
    found = one([str(paths[i]) for i in order])
    share = None if shares is None else float(shares[channel])
    return Concept(channel, tuple(found), tuple(float(strength[i]) for i in order), share)


def same(explain: Explainer[Any]) -> dict[str, Any]:
    """Return the options that another explainer of the same inputs needs."""
    return {"preprocess": explain._preprocess, "labels": explain.labels, "device": "cpu"}


def _largest(values: Array, most: int) -> list[int]:
    return [int(i) for i in np.argsort(-values, kind="stable")[:most]]


def _check(channels: Sequence[int], count: int) -> None:
    wrong = [k for k in channels if not 0 <= k < count]
    if wrong:
        raise UsageError(f"there is no channel {wrong[0]}", f"the layer has 0 to {count - 1}")
