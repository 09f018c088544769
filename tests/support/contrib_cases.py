"""Nodes of the operators that ``onnxcam.contrib`` defines, but attention and quantised ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from support.contrib_case import ML, Case, bytes_, f32, i32, normal

# ---- floats

_ACTIVATIONS = {
    "Relu": {}, "Sigmoid": {}, "Tanh": {}, "Softplus": {}, "Softsign": {},
    "LeakyRelu": {"activation_alpha": 0.1}, "Elu": {"activation_alpha": 0.5},
    "HardSigmoid": {"activation_alpha": 0.3, "activation_beta": 0.4},
    "ThresholdedRelu": {"activation_alpha": 0.5},
    "Selu": {"activation_alpha": 1.2, "activation_gamma": 1.3},
}  # fmt: skip
_CONV_ACTIVATIONS = {
    "Relu": [], "Sigmoid": [], "Tanh": [], "LeakyRelu": [0.1], "Clip": [-0.5, 0.7],
    "HardSigmoid": [0.3, 0.4],
}  # fmt: skip


def _floats() -> list[Case]:
    f = normal
    conv = {"group": 2, "pads": [1, 0, 1, 2], "strides": [2, 1]}
    fused = [
        Case("FusedConv", {"x": f(1, 4, 6, 5), "w": f(6, 2, 3, 3), "b": f(6)},
             {**conv, "activation": a, **({"activation_params": p} if p else {})})
        for a, p in _CONV_ACTIVATIONS.items()
    ]  # fmt: skip
    gemm = [
        Case("FusedGemm", {"a": f(3, 4), "b": f(4, 5), "c": f(5)}, {"activation": a, **more})
        for a, more in _ACTIVATIONS.items()
    ]
    return [
        Case("Gelu", {"x": f(3, 5)}),
        Case("FastGelu", {"x": f(3, 5)}),
        Case("FastGelu", {"x": f(2, 3, 5), "b": f(5)}),
        Case("QuickGelu", {"x": f(3, 5)}),
        Case("QuickGelu", {"x": f(3, 5)}, {"alpha": 0.7}),
        Case("BiasGelu", {"x": f(2, 3, 5), "b": f(5)}),
        Case("ScaledSiLU", {"x": f(2, 3)}, {"alpha": 0.3}),
        Case("ScaledSiLU", {"x": f(2, 3), "s": f32(0.7)}, {"alpha": 0.3}),
        Case("GatedAdd", {"x": f(2, 3, 5), "y": f(2, 3, 5), "g": f(2, 3, 1)}, outputs=("out",)),
        *gemm,
        Case("FusedGemm", {"a": f(4, 3), "b": f(5, 4)},
             {"activation": "Relu", "transA": 1, "transB": 1, "alpha": 0.5}),
        *fused,
        Case("FusedConv", {"x": f(1, 4, 5, 4), "w": f(3, 4, 1, 1), "b": None, "z": f(1, 3, 5, 4)},
             {"activation": "Relu"}),
        Case("FusedConv", {"x": f(1, 4, 7), "w": f(6, 4, 3), "b": f(6)},
             {"activation": "Relu", "auto_pad": "SAME_UPPER"}),
        Case("FusedMatMul", {"a": f(3, 4), "b": f(4, 5)}, {"alpha": 0.5}),
        Case("FusedMatMul", {"a": f(2, 4, 3), "b": f(2, 4, 5)}, {"transA": 1}),
        Case("FusedMatMul", {"a": f(2, 3, 4), "b": f(5, 4)}, {"transB": 1}),
        Case("FusedMatMul", {"a": f(4), "b": f(2, 4, 5)}, {"transA": 1}),
        Case("FusedMatMul", {"a": f(2, 3, 4), "b": f(4)}, {"transB": 1, "alpha": 2.0}),
        Case("FusedMatMul", {"a": f(3, 2, 4), "b": f(2, 4, 5)}, {"transBatchA": 1}),
        Case("FusedMatMul", {"a": f(4, 2, 2, 3), "b": f(2, 2, 4, 5)},
             {"transBatchA": 1, "transA": 1}),
        Case("FusedMatMul", {"a": f(3, 2, 4), "b": f(5, 2, 4)},
             {"transBatchA": 1, "transBatchB": 1, "transB": 1}),
        Case("TransposeMatMul", {"a": f(2, 4, 3), "b": f(2, 4, 5)}, {"transA": 1, "alpha": 0.3}),
        *_norms(),
        Case("Trilu", {"x": f(2, 3, 4)}),
        Case("Trilu", {"x": f(2, 3, 4), "k": np.array(1)}, {"upper": 0}),
        Case("Pad", {"x": f(2, 3), "p": np.array([[1, 0, 2, 1]]), "v": f32([0.5])}),
        Case("Pad", {"x": f(4, 3), "p": np.array([1, 0, 2, 1])}, {"mode": "reflect"}),
        Case("GatherND", {"x": f(4, 3), "i": i32([[1, 2], [0, 0]])}),
        Case("ExpandDims", {"x": f(4, 3), "i": i32(-1)}),
        Case("GridSample", {"x": f(1, 2, 4, 3), "g": f(1, 3, 3, 2) / 2}),
        Case("GridSample", {"x": f(1, 2, 4, 3), "g": f(1, 3, 3, 2) / 2},
             {"mode": "bicubic", "align_corners": 1, "padding_mode": "border"}),
        Case("CDist", {"a": f(4, 3), "b": f(2, 3)}),
        Case("CDist", {"a": f(4, 3), "b": f(2, 3)}, {"metric": "euclidean"}),
        Case("UnfoldTensor", {"x": f(2, 9)}, {"size": 3, "step": 2}),
        Case("UnfoldTensor", {"x": f(2, 9, 3)}, {"size": 4, "dim": 1}),
    ]  # fmt: skip


def _norms() -> list[Case]:
    f = normal
    ids, segments = i32([[1, 2, 0], [3, 0, 1]]), i32([[0, 1, 0], [1, 1, 1]])
    tables = {"w": f(5, 8), "p": f(4, 8), "e": f(2, 8), "g": f(8), "b": f(8)}
    bare = {**tables, "e": None}
    mask, places = i32([[1, 1, 0], [1, 1, 1]]), i32([[3, 2, 1]])
    four, embedded = ("y", "", "", "total"), ("y", "index")
    x, skip = f(2, 3, 8), f(2, 3, 8)
    vectors = {"g": f(8), "b": f(8), "c": f(8)}
    return [
        Case("SkipLayerNormalization", {"x": x, "s": skip, **vectors}, {"epsilon": 0.1}, four),
        Case("SkipLayerNormalization", {"x": x, "s": skip, "g": f(8)}),
        Case("SkipLayerNormalization", {"x": x, "s": f(1, 3, 8), "g": f(8), "b": f(8)}),
        Case("SkipLayerNormalization", {"x": x, "s": f(3, 8), "g": f(8), "b": f(8)}),
        Case("SkipSimplifiedLayerNormalization", {"x": x, "s": skip, "g": f(8), "c": f(8)},
             {"epsilon": 0.1}, four),
        Case("SkipSimplifiedLayerNormalization", {"x": f(5, 8), "s": f(5, 8), "g": f(8)}),
        Case("SimplifiedLayerNormalization", {"x": x, "s": f(8)}, {}, ("y", "inverse"), ""),
        Case("SimplifiedLayerNormalization", {"x": x, "s": f(3, 8)}, {"axis": 1, "epsilon": 0.2},
             domain=""),
        Case("GatedRMSNorm", {"x": x, "s": f(4), "g": f(2, 3, 8)}),
        Case("GatedRMSNorm", {"x": x, "s": f(4), "g": f(2, 3, 8)},
             {"activation": "sigmoid", "epsilon": 0.1}),
        Case("EmbedLayerNormalization", {"i": ids, "s": segments, **tables, "m": mask}, {},
             ("y", "index", "total"), fixed=True),
        Case("EmbedLayerNormalization", {"i": ids, "s": None, **bare}, {}, embedded, fixed=True),
        Case("EmbedLayerNormalization", {"i": ids, "s": None, **bare, "m": None, "pi": places}, {},
             embedded, fixed=True),
    ]  # fmt: skip


# ---- weights of a few bits


def _blockwise() -> list[Case]:
    f, n = normal, 3
    cases = []
    for bits in (2, 4, 8):
        for k, block in ((32, 16), (40, 16)):
            blocks = -(-k // block)
            settings = {"K": k, "N": n, "block_size": block, "bits": bits}
            feeds = {"a": f(2, 2, k), "b": bytes_(n, blocks, block * bits // 8),
                     "s": f(n, blocks)}  # fmt: skip
            zeros = bytes_(n, -(-blocks * bits // 8))
            cases += [
                Case("MatMulNBits", feeds, settings, fixed=True, tolerance=1e-4),
                Case("MatMulNBits", {**feeds, "z": zeros, "g": None, "bias": f(n)}, settings,
                     fixed=True, tolerance=1e-4),
            ]  # fmt: skip
            if bits != 8:
                cases.append(Case("MatMulNBits", {**feeds, "z": f(n, blocks)}, settings,
                                  fixed=True, tolerance=1e-4))  # fmt: skip
    ids = np.array([[1, 0], [3, 2]])
    return [
        *cases,
        *[Case("MatMulBnb4", {"a": f(3, 32), "b": bytes_(n * 16), "s": f(n * 2)},
               {"K": 32, "N": n, "block_size": 16, "quant_type": kind}) for kind in (0, 1)],
        Case("GatherBlockQuantized", {"d": bytes_(5, 16), "i": ids, "s": f(5, 2)},
             {"block_size": 16}, fixed=True),
        Case("GatherBlockQuantized", {"d": bytes_(5, 16), "i": ids, "s": f(5, 2),
                                      "z": bytes_(5, 1)}, {"block_size": 16}, fixed=True),
        Case("GatherBlockQuantized", {"d": bytes_(5, 32), "i": ids, "s": f(5, 2),
                                      "z": bytes_(5, 2)}, {"block_size": 16, "bits": 8},
             fixed=True),
    ]  # fmt: skip


# ---- classical models and withdrawn operators


def _classical() -> list[Case]:
    f = normal

    def numbers(count: int) -> list[float]:
        return [float(v) for v in f(count)]

    def ml(op_type: str, x: np.ndarray, outputs: tuple[str, ...] = ("y",), **more: Any) -> Case:
        return Case(op_type, {"x": x}, more, outputs, ML, tolerance=1e-4)

    three = {"coefficients": numbers(9), "intercepts": numbers(3), "classlabels_ints": [0, 1, 2]}
    two = {"coefficients": numbers(3), "intercepts": [0.5], "classlabels_strings": ["a", "b"]}
    svm = {"coefficients": numbers(5), "rho": [0.3], "n_supports": 5,
           "support_vectors": numbers(15), "kernel_params": [0.5, 0.2, 3.0]}  # fmt: skip
    posts = ("NONE", "LOGISTIC", "SOFTMAX")
    return [
        ml("LinearRegressor", f(4, 3), coefficients=numbers(6), intercepts=[1.0, 2.0], targets=2),
        *[ml("LinearRegressor", f(4, 3), coefficients=numbers(3), post_transform=p) for p in posts],
        *[ml("LinearClassifier", x, ("l", "y"), **three, post_transform=p) for p in posts
          for x in (f(4, 3), f(3), f(4, 3).astype(np.float64))],
        *[ml("LinearClassifier", f(4, 3), ("l", "y"), **two, post_transform=p) for p in posts],
        ml("Scaler", f(4, 3), offset=[1.0, 2.0, 3.0], scale=[0.5, 1.0, 2.0]),
        ml("Scaler", f(4, 3), offset=[1.0], scale=[0.5]),
        *[ml("Normalizer", x, norm=n) for n in ("MAX", "L1", "L2")
          for x in (f(4, 3), f(4, 3).astype(np.float64), np.zeros((2, 3), np.float32))],
        ml("Imputer", f32([[1, np.nan, 3], [np.nan, 1, 2]]), imputed_value_floats=[7.0, 8.0, 9.0],
           replaced_value_float=float("nan")),
        ml("Imputer", f32([[1, 0, 3], [0, 1, 2]]), imputed_value_floats=[7.0]),
        Case("FeatureVectorizer", {"x": f(4, 3), "z": f(4, 2)}, {"inputdimensions": [3, 2]},
             domain=ML),
        Case("ArrayFeatureExtractor", {"x": f(4, 3), "i": np.array([2, 0])}, domain=ML),
        *[ml("SVMRegressor", f(4, 3), kernel_type=kind, **svm)
          for kind in ("LINEAR", "POLY", "RBF", "SIGMOID")],
        ml("SVMRegressor", f(4, 3), coefficients=numbers(3), rho=[0.3], kernel_type="LINEAR",
           kernel_params=[0.5, 0.2, 3.0]),
        *_withdrawn(),
    ]  # fmt: skip


def _withdrawn() -> list[Case]:
    f, old = normal, {"domain": "", "opset": 9}
    both = {"alpha": 0.5, "beta": 0.2}
    return [
        Case("Affine", {"x": f(4, 3)}, both, **old),
        Case("Scale", {"x": f(4, 3)}, {"scale": 0.2}, **old),
        Case("ScaledTanh", {"x": f(4, 3)}, both, **old),
        Case("ParametricSoftplus", {"x": f(4, 3)}, both, **old),
        Case("ImageScaler", {"x": f(1, 3, 4, 3)}, {"scale": 0.5, "bias": [1.0, 2.0, 3.0]}, **old),
        Case("Crop", {"x": f(1, 2, 7, 8)}, {"border": [1, 2, 3, 1]}, **old),
        Case("Crop", {"x": f(1, 2, 7, 8)}, {"border": [1, 2, 3, 1], "scale": [3, 4]}, **old),
        Case("Crop", {"x": f(1, 2, 7, 8)}, {"border": [1, 2, 0, 0]}, **old),
    ]


SMOOTH = [*_floats(), *_blockwise(), *_classical()]
