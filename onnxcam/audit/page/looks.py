"""Mean maps as pictures for the report, and what in them is to be looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from onnxcam.audit.page.gallery import uri
from onnxcam.output.render import overlay

_SIZE = 128  # pixels of a tile
_TILES = 40  # groups that are drawn, those with a flag first
_SAMPLES = 3  # that are named


def looks(groups: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return groups with the mean map of each, and of each of its strategies, as a "picture"."""
    ranked = sorted(groups, key=lambda g: not _flagged(g))[:_TILES]
    return [
        {
            **g,
            "picture": _tile(g["map"]),
            "strategies": [{**s, "picture": _tile(s["map"])} for s in g["strategies"]],
        }
        for g in ranked
    ]


def flags(groups: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what looks at borders and corners: groups as a whole, else their strategies."""
    found = []
    for group in groups:
        parts = [(0, group)] if group["flag"] else list(enumerate(group["strategies"], 1))
        for number, part in parts:
            if part["flag"]:
                names = part.get("samples") or [s for c in part["strategies"] for s in c["samples"]]
                found.append(
                    {
                        "group": group["group"], "strategy": number, "flag": part["flag"],
                        "share": part.get("share"), "samples": names[:_SAMPLES],
                    }
                )  # fmt: skip
    return found


def _flagged(group: Mapping[str, Any]) -> bool:
    return bool(group["flag"] or any(s["flag"] for s in group["strategies"]))


def _tile(values: Any) -> str:
    grey = np.full((_SIZE, _SIZE, 3), 60, np.uint8)
    return uri(overlay(grey, np.asarray(values, np.float32), alpha=0.9))
