"""RefineCAM: Grad-CAM++ of several layers, multiplied."""

from __future__ import annotations

import numpy as np
from support import nets

from onnxcam import Explainer

X = np.random.default_rng(5).normal(size=(1, 2, 6, 6)).astype("f4")


def test_the_product_of_two_layers_is_what_both_mark() -> None:
    """Both layers have the size of the input: nothing is interpolated."""
    layers, options = ["conv", "relu"], {"device": "cpu", "threads": 1}
    apart = Explainer(nets.cnn(), "gradcam++", feature_layer=layers, **options)(X, target=1)
    fused = Explainer(nets.cnn(), "gradcam++", feature_layer=layers, fuse="product", **options)
    want = np.prod([e.raw_map / e.raw_map.max() for e in apart.values()], 0)
    found = fused(X, target=1)
    np.testing.assert_allclose(found.raw_map, want, rtol=1e-4, atol=1e-6)
    assert found.raw_map.max() <= 1 + 1e-5


def test_what_is_negative_does_not_become_positive() -> None:
    """CAM is signed: of two maps that speak against a class nothing is left."""
    layers, options = ["conv", "relu"], {"device": "cpu", "threads": 1}
    proto = nets.cnn()
    apart = Explainer(proto, "hirescam", feature_layer=layers, **options)(X, target=1)
    found = Explainer(proto, "hirescam", feature_layer=layers, fuse="product", **options)
    against = np.logical_and(*(e.signed_map <= 0 for e in apart.values()))
    assert against.any() and not found(X, target=1).raw_map[against].any()
