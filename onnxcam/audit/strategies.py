"""The ways in which a model sees a class: its maps, clustered.

Spectral relevance analysis (Lapuschkin et al., Unmasking Clever Hans predictors, Nature
Communications 2019): the maps of one class are clustered spectrally on the graph of their nearest
neighbours, as many clusters as the largest gap of the Laplacian's first eigenvalues says. A cluster
whose maps lie on a border or in a corner is what a Clever Hans looks like.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from onnxcam.audit.extras import needed
from onnxcam.audit.summary import reduced

Array: TypeAlias = np.ndarray[Any, Any]
GRID = 16  # places along an axis of a map that is clustered
LEAST = 8  # maps of a class below which they are not clustered
BORDER, CORNER = 0.6, 0.4  # shares of a cluster's maps that are pointed at
_MOST = 4  # clusters
_APART = 0.2  # silhouette below which clusters are one: of any maps a few gaps are the largest
_MAPS = 500  # of a class
_SHOWN = 6  # samples of a cluster


def grid(map: Array) -> Array | None:
    """Return a map's positive part on at most 16 places an axis, of sum 1; None of nothing."""
    values = np.maximum(np.nan_to_num(map.astype(np.float64), posinf=0), 0)
    for axis, length in enumerate(values.shape):
        values = reduced(values, axis, min(length, GRID))
    total = values.sum()
    return values / total if total > 0 else None


def strategies(maps: Array, ids: Sequence[str], rows: Sequence[dict[str, Any]]) -> list[Any]:
    """Cluster the maps of a class.

    Args:
        maps: float [N, *space], as :func:`grid` returns them.
        ids: Names of the samples.
        rows: Their records.

    Returns:
        For each cluster, the largest first: "share" of the class, "count", "map" (the mean), mean
        "border_share" and "corner_share", "accuracy", "samples" (those nearest to the mean) and
        "members" (all).
    """
    maps, ids, rows = maps[:_MAPS], ids[:_MAPS], rows[:_MAPS]
    labels = _clusters(maps.reshape(len(maps), -1))
    found = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        mean = maps[members].mean(0)
        away = np.abs(maps[members] - mean).reshape(len(members), -1).sum(1)
        nearest = members[np.argsort(away, kind="stable")[:_SHOWN]]
        own = [rows[int(k)] for k in members]
        border, corner = _mean(own, "border_share"), _mean(own, "corner_share")
        found.append(
            {
                "count": len(members), "share": len(members) / len(maps), "map": mean.tolist(),
                "border_share": border, "corner_share": corner, "accuracy": _mean(own, "correct"),
                "samples": [ids[int(k)] for k in nearest],
                "members": [ids[int(k)] for k in members],
            }
        )  # fmt: skip
    return sorted(found, key=lambda c: -int(c["count"]))


def flag(found: Mapping[str, Any], usual: Mapping[str, float]) -> str:
    """Return what maps look at that is hardly an object, in words; "" for nothing.

    Args:
        found: "border_share" and "corner_share" of a group or strategy.
        usual: The same of what is usual in the data set. More than thrice that and twice what an
            even map has, or more than BORDER and CORNER, is flagged.
    """
    for name, most, even, where in (
        ("corner_share", CORNER, 1 / 16, "in one corner"),
        ("border_share", BORDER, 0.36, "along the borders"),
    ):
        share = found[name]
        if share is not None and share > min(most, max(2 * even, 3 * usual.get(name, 1.0))):
            return f"{100 * share:.0f} % of the maps lies {where}"
    return ""


def _clusters(x: Array) -> Array:
    """Return the number of each map's cluster."""
    if len(x) < LEAST or np.ptp(x, axis=0).max() < 1e-9:
        return np.zeros(len(x), np.int64)
    needed("sklearn", "strategies")
    from scipy.sparse.csgraph import laplacian
    from sklearn.cluster import SpectralClustering
    from sklearn.metrics import silhouette_score
    from sklearn.neighbors import kneighbors_graph

    near = max(3, int(np.log2(len(x))))
    graph = kneighbors_graph(x, near, mode="connectivity", include_self=False).toarray()
    affinity = np.maximum(graph, graph.T)
    values = np.linalg.eigvalsh(laplacian(affinity, normed=True))[: _MOST + 1]
    count = int(np.argmax(np.diff(values))) + 1
    if count == 1:
        return np.zeros(len(x), np.int64)
    made = SpectralClustering(
        count, affinity="precomputed", random_state=0, assign_labels="cluster_qr"
    )
    labels: Array = made.fit_predict(affinity + 1e-6)  # so that its parts hang together
    apart = len(np.unique(labels)) > 1 and silhouette_score(x, labels) > _APART
    return labels if apart else np.zeros(len(x), np.int64)


def _mean(rows: Sequence[dict[str, Any]], name: str) -> float | None:
    values = [float(r[name]) for r in rows if r.get(name) is not None]
    return float(np.mean(values)) if values else None
