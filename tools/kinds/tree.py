"""An ensemble of trees: a file without a gradient, and the same by hand."""

from __future__ import annotations

from typing import Any

import onnx
import torch
from onnx import helper
from torch import Tensor, nn

# Two trees of one split each: feature, threshold, scores below and above it.
_TREES = ((0, 0.2, (1.0, 0.0, 0.5), (0.0, 2.0, 0.25)), (3, -0.1, (0.5, 0.25, 0.0), (0.0, 0.5, 1.5)))
_CLASSES = 3


class Trees(nn.Module):
    """The sum of the leaves that an input falls into."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores [N, C]."""
        total = torch.zeros(len(x), _CLASSES)
        for feature, edge, below, above in _TREES:
            low = (x[:, feature] <= edge)[:, None]
            total = total + torch.where(low, torch.tensor(below), torch.tensor(above))
        return total


def file() -> onnx.ModelProto:
    """Return the file."""
    nodes: dict[str, list[Any]] = {key: [] for key in _KEYS}
    for number, (feature, edge, below, above) in enumerate(_TREES):
        for node, mode in enumerate(("BRANCH_LEQ", "LEAF", "LEAF")):
            row = (number, node, feature, edge if node == 0 else 0.0, mode, 1 * (node == 0))
            for key, value in zip(_KEYS, (*row, 2 * (node == 0)), strict=True):
                nodes[key].append(value)
        for leaf, scores in ((1, below), (2, above)):
            for c, weight in enumerate(scores):
                for key, value in zip(_LEAVES, (number, leaf, c, weight), strict=True):
                    nodes.setdefault(key, []).append(value)
    made = [
        helper.make_node(
            "TreeEnsembleRegressor", ["x"], ["scores"], domain="ai.onnx.ml", n_targets=_CLASSES,
            post_transform="NONE", **nodes,
        )
    ]  # fmt: skip
    graph = helper.make_graph(
        made,
        "trees",
        [helper.make_tensor_value_info("x", 1, ["N", 5])],
        [helper.make_tensor_value_info("scores", 1, ["N", _CLASSES])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


_KEYS = (
    "nodes_treeids", "nodes_nodeids", "nodes_featureids", "nodes_values", "nodes_modes",
    "nodes_truenodeids", "nodes_falsenodeids",
)  # fmt: skip
_LEAVES = ("target_treeids", "target_nodeids", "target_ids", "target_weights")
