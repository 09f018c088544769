"""LeGrad."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from onnxcam.graph.emit import Emitter, Tensor
from onnxcam.methods.needs import AttentionGradients
from onnxcam.methods.registry import Axes, graph_method


@graph_method(
    "legrad",
    needs=(AttentionGradients,),
    cite="Bousselham et al., LeGrad: An Explainability Method for Vision Transformers via Feature "
    "Formation Sensitivity, ICCV 2025, arXiv:2404.03214, equations 5 to 9",
    rectify=False,
    claim="Which patches would raise the score of each block if more attention were paid to them.",
    limits=(
        "What the values hold and where attention already lies is not counted, only what more of "
        "it would do. Transformers whose softmax is a node of its own. As coarse as the patches."
    ),
)
def legrad(op: Emitter, slopes: Sequence[Tensor], axes: Axes) -> Tensor:
    """M_j = sum_l mean over heads h and queries i of relu(ds_l / dA_l)_hij, key j a patch.

    A_l is what the softmax of block l gives, and s_l the score that the model's head gives to the
    tokens behind block l: what follows the last block, written once more for each. Class and
    register tokens are left out as keys, not as queries. The authors' code scales the map from 0
    to 1 afterwards.
    """
    each = [op.ReduceMean(op.Relu(g), axes=[1, 2], keepdims=0) for g in slopes]  # [N, keys]
    return op.Unsqueeze(reduce(op.Add, each), axes=[axes.channel])
