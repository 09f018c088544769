"""One cell of the table: a file in a form, against the exporter's own float file."""

from __future__ import annotations

import math
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from scipy.stats import spearmanr
from survey.tape import relative
from tables import verdicts
from tables.verdicts import NOT_MADE, REFUSED, RIGHT, WARNED, WRONG, one_line

import onnxcam
from forms.catalogue import FLOAT, HALF, INT8, Form
from forms.shares import Parts, cam, channel_axis, contrast
from forms.sources import Array, NotMadeError, Source
from onnxcam.errors import OnnxcamError

MAP = {FLOAT: 1e-6, HALF: 2e-3, INT8: 0.95}
# Float: nearer than this is the same tensor. Half: its rounding, 2^-11, over fifty layers.
FEATURE = {FLOAT: 1e-4, HALF: 2e-2}
OUTPUT = {FLOAT: 1e-5, HALF: 2e-3, INT8: 0.1}
ANOTHER = 1e-3  # a float form that moves the plain file's output by more is another function
OWN = 4.0  # a form that rounds otherwise (fused, another opset's operators) may move a map by this
# times what it moves the plain file's output


@dataclass
class Cell:
    """What came of a file in a form.

    Attributes:
        exporter: Who wrote the file.
        network: Which network.
        form: Its form.
        verdict: "right", "refused", "warned", "WRONG" (and nothing was said) or "not made".
        note: Why, in words.
        layer: The default feature layer.
        feature: Relative L2 distance of its values from those of the float file's.
        map: That of the map; for int8 Spearman's correlation of the maps before the ReLU.
        own: How far the form itself moves the plain file's output.
        output: How far the explained file's output is from the plain one's, relative.
        contrast: How much the float file's map varies: its deviation over the mean of its size.
        by_features: For int8, ``map`` of the file's feature layer under the float file's gradient.
        by_gradient: And of the float file's feature layer under the file's gradient.
    """

    exporter: str
    network: str
    form: str
    verdict: str = RIGHT
    note: str = ""
    layer: str = ""
    feature: float = math.nan
    map: float = math.nan
    own: float = math.nan
    output: float = math.nan
    contrast: float = math.nan
    by_features: float = math.nan
    by_gradient: float = math.nan

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return verdicts.plain(asdict(self))


@dataclass(frozen=True)
class Reference:
    """What the float file gives.

    Attributes:
        feature: The feature layer's values.
        raw: The map.
        signed: The map before its ReLU.
        parts: What the map is made of.
        scores: The plain file's outputs.
        target: The class that is explained.
    """

    feature: Array
    raw: Array
    signed: Array
    parts: Parts
    scores: Array
    target: int


def reference(source: Source) -> Reference:
    """Explain an exporter's float file.

    Raises:
        NotMadeError: ONNX Runtime does not run it.
        OnnxcamError: It cannot be explained.
    """
    try:
        scores = _run(str(source.path), source.feeds)[0]
    except Exception as error:  # noqa: BLE001  # ONNX Runtime's
        raise NotMadeError(f"ONNX Runtime does not run it: {one_line(error)[:200]}") from None
    target = int(scores.reshape(scores.shape[0], scores.shape[1], -1)[0].sum(-1).argmax())
    (_, x), *_ = source.feeds.items()
    said, parts = _explained(source.path, x, target)[:2]
    return Reference(parts.feature, said.raw_map, said.signed_map, parts, scores, target)


def cell(source: Source, form: Form, truth: Reference | None, folder: Path) -> Cell:
    """Put a file into a form and look at what comes of it."""
    found = Cell(source.exporter, source.network, form.name)
    if form.group == FLOAT and next(iter(source.feeds.values())).dtype == np.float16:
        form = replace(form, group=HALF)  # the file was published in half precision
    with tempfile.TemporaryDirectory(dir=folder) as own:
        path = Path(own) / "form.onnx"
        try:
            form.make(source, path)
            plain = _run(str(path), _fitting(path, source.feeds))
        except NotMadeError as error:
            found.verdict, found.note = NOT_MADE, str(error)
            return found
        except Exception as error:  # noqa: BLE001  # another tool's, or ONNX Runtime's
            said = one_line(error).replace(f"{own}/", "")[:120]
            found.verdict, found.note = NOT_MADE, f"{type(error).__name__}: {said}"
            return found
        found.own = math.nan if truth is None else relative(_first(plain[0]), _first(truth.scores))
        if truth is None or (form.group == FLOAT and found.own > ANOTHER):
            said = f"it computes something else: ONNX Runtime's own output is {found.own:.2g} off"
            found.verdict = NOT_MADE
            found.note = "the float file itself is refused" if truth is None else said
            return found
        try:
            _look(path, plain, source, form, truth, found)
        except OnnxcamError as error:
            found.verdict, found.note = REFUSED, one_line(error)
        except Exception as error:  # noqa: BLE001  # that is what is looked for
            found.verdict, found.note = WRONG, f"{type(error).__name__}: {one_line(error)}"
        found.note = found.note.replace(f"{own}/", "")
    return found


def _look(
    path: Path, plain: list[Array], source: Source, form: Form, truth: Reference, found: Cell
) -> None:
    (_, x), *_ = source.feeds.items()
    said, parts, outputs, warned = _explained(path, x, truth.target)
    problems: list[str] = []
    feature, found.contrast = parts.feature, contrast(truth.signed)
    found.layer = said.feature_layer
    feature = feature.reshape(-1, *feature.shape[-truth.feature.ndim + 1 :])[:1]
    if feature.size != truth.feature.size:
        problems.append(f"another layer: {feature.shape}, not {truth.feature.shape}")
    elif form.group == INT8:
        found.feature = float(np.corrcoef(feature.ravel(), truth.feature.ravel())[0, 1])
        problems += [] if found.feature > 0.9 else ["another layer, or another order of its axes"]
    else:
        found.feature = relative(feature, truth.feature)
        limit = max(FEATURE[form.group], OWN * found.own)
        problems += [] if found.feature <= limit else ["the feature layer has other values"]
    found.map, problem = _map(said, truth, form, found.own)
    if problem and form.group == INT8 and parts.feature.shape == truth.feature.shape:
        problem = [*problem, *_shared(parts, truth, found)]
    problems += problem
    found.output = max(map(relative, outputs, plain))
    if found.output > OUTPUT[form.group]:
        problems.append(f"the explained file's output is {found.output:.2g} off")
    if problems:
        found.verdict, found.note = (WARNED if warned else WRONG), "; ".join(problems)


def _map(said: Any, truth: Reference, form: Form, own: float) -> tuple[float, list[str]]:
    if said.raw_map.shape != truth.raw.shape:
        return math.inf, [f"a map of {said.raw_map.shape}, not {truth.raw.shape}"]
    if form.group == INT8:
        like = _alike(said.signed_map, truth.signed)
        return like, [] if like >= MAP[INT8] else [f"Spearman {like:.2f}"]
    off = relative(said.signed_map, truth.signed)
    limit = max(MAP[form.group], OWN * own)
    return off, [] if off <= limit else [f"the map is {off:.2g} off"]


def _shared(parts: Parts, truth: Reference, found: Cell) -> list[str]:
    """Say what of a map's distance its feature layer makes, and what its gradient."""
    axis, shape = channel_axis(truth.parts, truth.signed), truth.signed.shape
    if axis is None:
        return []
    mixed = [(parts.feature, truth.parts.gradient), (truth.feature, parts.gradient)]
    found.by_features, found.by_gradient = (
        _alike(cam(*pair, axis, shape), truth.signed) for pair in mixed
    )
    return [
        f"of the rounded feature layer under the float gradient {found.by_features:.2f}, of the "
        f"float feature layer under this file's gradient {found.by_gradient:.2f}; the float map "
        f"varies by {100 * found.contrast:.1f} % of its mean"
    ]


def _alike(a: Array, b: Array) -> float:
    """Return Spearman's correlation; 0 where one of them is constant."""
    like = float(spearmanr(a.ravel(), b.ravel()).statistic) if a.std() and b.std() else 0.0
    return like


def _explained(path: Path, x: Array, target: int) -> tuple[Any, Parts, list[Array], bool]:
    """Explain and convert: explanation, its parts, the explained file's outputs, warned."""
    explain = onnxcam.Explainer(str(path), cache=False, threads=1, upsampling="none")
    port = explain.input
    shown = x if port.dtype is None else x.astype(port.dtype)
    shape = port.shape or ()
    batched = len(shape) == x.ndim
    said = explain(shown if batched else shown[0], target=target)
    output = path.with_name("explained.onnx")
    try:
        onnxcam.convert(
            str(path), str(output), target=target, expose=["feature", "gradient"],
            upsampling="none",
        )  # fmt: skip
        names = [o.name for o in _session(str(output)).get_outputs()]
        values = dict(zip(names, _run(str(output), _fitting(path, {port.name: x})), strict=True))
    finally:
        output.unlink(missing_ok=True)
    plain = [values[n] for n in names if not n.startswith("onnxcam.")]
    feature = values["onnxcam.feature"].astype(np.float32)
    gradient = values["onnxcam.gradient"].astype(np.float32)
    parts = Parts(feature, gradient.reshape(-1, *feature.shape)[0])
    own_map = values["onnxcam.map"]
    own_map = own_map.reshape(-1, *own_map.shape[-said.raw_map.ndim :])[0]
    off = relative(own_map, said.raw_map)
    if off > 0.02:
        raise AssertionError(f"the converted file's map is {off:.2g} off the explainer's")
    warned = bool(said.diagnosis) or "nothing is known" in explain.catalog.feature_reason
    return said, parts, plain, warned


def _fitting(path: Path, feeds: dict[str, Array]) -> dict[str, Array]:
    """Return feeds in the dtype and batch that a file wants."""
    port = _session(str(path)).get_inputs()[0]
    (_, x), *_ = feeds.items()
    if len(port.shape) == x.ndim - 1:
        x = x[0]
    elif isinstance(port.shape[0], int) and port.shape[0] > 1:
        x = np.repeat(x, port.shape[0], axis=0)
    half = port.type == "tensor(float16)"
    return {port.name: x.astype(np.float16 if half else np.float32)}


def _first(values: Array) -> Array:
    """Return the scores of the first picture."""
    return values[:1].reshape(-1) if values.ndim > 1 else values


def _session(path: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _run(path: str, feeds: dict[str, Array]) -> list[Array]:
    session = _session(path)
    name = session.get_inputs()[0].name
    return list(session.run(None, dict.fromkeys([name], next(iter(feeds.values())))))
