"""Linear models, support vectors and scalings of ai.onnx.ml."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxcam.errors import UnsupportedOp
from onnxcam.graph.contrib.definitions import define, rank_of
from onnxcam.graph.emit import Emitter, Tensor, dtype_of

ML = "ai.onnx.ml"


def _floats(op: Emitter, x: Tensor) -> Tensor:
    return x if dtype_of(x) == np.float64 else op.cast(x, np.dtype(np.float32))


def _array(op: Emitter, values: Sequence[float], like: Tensor, *shape: int) -> Tensor:
    array = np.array(values, np.float32)
    return op.cast(op.const(array.reshape(shape) if shape else array), like)


def _transformed(op: Emitter, scores: Tensor, post_transform: str, count: int) -> Tensor:
    """Return the scores after the post-transform; ONNX Runtime leaves a single one as it is."""
    if post_transform == "NONE" or count == 1:
        return scores
    if post_transform == "LOGISTIC":
        return op.Sigmoid(scores)
    if post_transform == "SOFTMAX":
        return op.Softmax(scores, axis=-1)
    raise UnsupportedOp(
        f"the post-transform {post_transform} has no gradient", "use LOGISTIC, SOFTMAX or NONE"
    )


def _linear(
    op: Emitter, x: Tensor, coefficients: Sequence[float], intercepts: Sequence[float], rows: int
) -> Tensor:
    """Return x w^T + b, for one sample [C] too."""
    w = _array(op, coefficients, x, rows, -1)
    y = op.MatMul(x, op.Transpose(w, perm=[1, 0]))
    return op.Add(y, _array(op, intercepts, x)) if len(intercepts) else y


@define("LinearRegressor", domain=ML)
def linear_regressor(
    op: Emitter, x: Tensor, *, coefficients: Sequence[float], intercepts: Sequence[float] = (),
    targets: int = 1, post_transform: str = "NONE",
) -> Tensor:  # fmt: skip
    """y = post(x w^T + b)."""
    y = _linear(op, _floats(op, x), coefficients, intercepts, targets)
    return _transformed(op, op.cast(y, np.dtype(np.float32)), post_transform, targets)


@define("LinearClassifier", domain=ML)
def linear_classifier(
    op: Emitter, x: Tensor, *, coefficients: Sequence[float], intercepts: Sequence[float] = (),
    classlabels_ints: Sequence[int] = (), classlabels_strings: Sequence[str] = (),
    multi_class: int = 0, post_transform: str = "NONE",
) -> tuple[None, Tensor]:  # fmt: skip
    """scores = post(x w^T + b); the label has no gradient."""
    rows = max(len(intercepts), 1)
    x = op.Unsqueeze(x, axes=[0]) if rank_of(x) == 1 else x
    y = op.cast(_linear(op, _floats(op, x), coefficients, intercepts, rows), np.dtype(np.float32))
    if rows == 1 and max(len(classlabels_ints), len(classlabels_strings)) == 2:
        second = op.Sigmoid(y) if post_transform == "LOGISTIC" else y
        return None, op.Concat(op.Sub(1.0, second), second, axis=-1)
    return None, _transformed(op, y, post_transform, rows)


@define("Scaler", domain=ML)
def scaler(
    op: Emitter, x: Tensor, *, offset: Sequence[float] = (), scale: Sequence[float] = ()
) -> Tensor:
    """y = (x - offset) scale."""
    y = op.cast(x, np.dtype(np.float32))
    return op.Mul(op.Sub(y, _array(op, offset, y)), _array(op, scale, y))


@define("Normalizer", domain=ML)
def normalizer(op: Emitter, x: Tensor, *, norm: str = "MAX") -> Tensor:
    """y = x / norm(x) of each row: its maximum, sum of magnitudes, or length."""
    y = op.cast(x, np.dtype(np.float32))
    if norm == "MAX":
        size = op.ReduceMax(y, axes=[-1])
    elif norm == "L1":
        size = op.ReduceSum(op.Abs(y), axes=[-1])
    else:
        size = op.ReduceSum(op.Mul(y, y), axes=[-1])
    # A row of zeros stays: the 1 comes before the root, which has no slope at 0.
    size = op.Where(op.Equal(size, 0.0), op.const(np.float32(1)), size)
    return op.Div(y, op.Sqrt(size) if norm == "L2" else size)


@define("Imputer", domain=ML)
def imputer(
    op: Emitter, x: Tensor, *, imputed_value_floats: Sequence[float] = (),
    replaced_value_float: float = 0.0, imputed_value_int64s: Sequence[int] = (),
    replaced_value_int64: int = 0,
) -> Tensor:  # fmt: skip
    """y = x, with the values that mean "missing" replaced."""
    if not imputed_value_floats:
        missing = op.Equal(x, op.const(replaced_value_int64, np.int64))
        return op.Where(missing, op.const(np.array(imputed_value_int64s, np.int64)), x)
    nan = np.isnan(replaced_value_float)
    missing = op.IsNaN(x) if nan else op.Equal(x, replaced_value_float)
    return op.Where(missing, _array(op, imputed_value_floats, x), x)


@define("FeatureVectorizer", domain=ML)
def feature_vectorizer(op: Emitter, *parts: Tensor, inputdimensions: Sequence[int]) -> Tensor:
    """The columns of all inputs side by side."""
    return op.Concat(*[op.cast(x, np.dtype(np.float32)) for x in parts], axis=1)


@define("ArrayFeatureExtractor", domain=ML)
def array_feature_extractor(op: Emitter, x: Tensor, indices: Tensor) -> Tensor:
    """The chosen columns of x."""
    return op.Gather(x, op.Reshape(indices, op.dims([-1])), axis=-1)


@define("SVMRegressor", domain=ML)
def svm_regressor(
    op: Emitter, x: Tensor, *, coefficients: Sequence[float], rho: Sequence[float],
    kernel_type: str = "LINEAR", kernel_params: Sequence[float] = (), n_supports: int = 0,
    support_vectors: Sequence[float] = (), one_class: int = 0, post_transform: str = "NONE",
) -> Tensor:  # fmt: skip
    """y = sum_i coefficient_i kernel(x, support_i) + rho; a single score is not transformed."""
    if one_class:
        raise UnsupportedOp("the class of a one-class SVM has no gradient", "explain its score")
    x = _floats(op, x)
    if n_supports:
        vectors = np.array(support_vectors, np.float32).reshape(n_supports, -1)
        features = kernel(op, x, vectors, kernel_type, kernel_params)
    else:
        features = x
    y = op.MatMul(features, _array(op, coefficients, x, -1, 1))
    return op.cast(op.Add(y, float(rho[0])), np.dtype(np.float32))


def kernel(
    op: Emitter, x: Tensor, vectors: np.ndarray, kind: str, params: Sequence[float]
) -> Tensor:
    """Return the kernel of each row of x with each support vector.

    Args:
        op: Emitter.
        x: [N, C].
        vectors: Support vectors [V, C].
        kind: LINEAR, POLY, RBF or SIGMOID.
        params: gamma, coefficient 0 and degree.
    """
    gamma, shift, degree = (*params, 0.0, 0.0, 0.0)[:3]
    if kind == "RBF":
        apart = op.Sub(op.Unsqueeze(x, axes=[1]), op.cast(op.const(vectors), x))
        return op.Exp(op.Mul(op.ReduceSum(op.Mul(apart, apart), axes=[2], keepdims=0), -gamma))
    product = op.MatMul(x, op.cast(op.const(np.ascontiguousarray(vectors.T)), x))
    if kind == "LINEAR":
        return product
    inner = op.Add(op.Mul(product, float(gamma)), float(shift))
    return op.Tanh(inner) if kind == "SIGMOID" else op.Pow(inner, float(degree))
