"""The whole way for one input or a batch: :class:`Explainer` and what it does."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from onnx import ModelProto

from onnxcam import compose, methods
from onnxcam.analysis import layers
from onnxcam.analysis.layout import Layout
from onnxcam.errors import ModelError, OnnxcamError, UsageError
from onnxcam.inputs import InputSpec, ModelInput, Prepared, load_labels, prepare, resolve
from onnxcam.model.model import Model, Port, load
from onnxcam.run.cache import store
from onnxcam.run.runner import Runner, Upsampling
from onnxcam.run.sampling import Progress, Sampler, checked_seed
from onnxcam.run.session import Device
from onnxcam.targets.names import resolve_target

Array: TypeAlias = np.ndarray[Any, Any]
Target: TypeAlias = "int | str | None"


class Explainer:
    """Explains one model; loads it once.

    Args:
        model: Path, bytes or proto of an ONNX model.
        method: Name of the method, see :func:`onnxcam.methods.names`.
        feature_layer: Name of the tensor that the map is made of; None takes the default.
        reduction_layer: Name of the tensor with the scores; None takes the logits.
        device: "auto", "cpu" or "gpu".
        preprocess: How a picture becomes the input tensor: a preset's name, a TOML file, an
            :class:`InputSpec`; None looks beside and into the model.
        labels: Names of the classes, or a file with them; None takes those of the description.
        upsampling: How the map comes to the input's size.
        parameters: Values for parameters of the method, by name; the others have their defaults.
        seed: Of the random numbers that some methods draw; it is in the explanation.
        progress: Called while a method runs the model many times, with the number of runs done
            and of all runs (None where that is not known).
        batch_size: Inputs per run where the model's batch is dynamic.
        threads: Threads of ONNX Runtime; None lets it decide.
        cache: Keep what is written behind the model on disk, and take it from there; see
            :mod:`onnxcam.run.cache` for the place.

    Attributes:
        model: The loaded model.
        catalog: Its layers.
        feature: The feature layer.
        provider: Where it runs and why.
        gradient: "exact", or "straight-through (...)" with the operators whose rounding it ignores.

    Raises:
        OnnxcamError: Of the kind that fits: the model, a name or the device cannot be used.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | bytes | ModelProto | Model,
        method: str = "gradcam",
        *,
        feature_layer: str | None = None,
        reduction_layer: str | None = None,
        device: Device = "auto",
        preprocess: str | os.PathLike[str] | InputSpec | None = None,
        labels: Sequence[str] | str | os.PathLike[str] | None = None,
        upsampling: Upsampling = "bicubic",
        parameters: Mapping[str, Any] | None = None,
        seed: int = 0,
        progress: Progress | None = None,
        batch_size: int = 8,
        threads: int | None = None,
        cache: bool = True,
    ) -> None:
        if upsampling not in ("bicubic", "nearest", "none"):
            raise UsageError(f"no upsampling {upsampling!r}", "choose bicubic, nearest or none")
        self.method = methods.find(method)
        settings = self.method.settings(parameters or {})
        self.model = load(model)
        self.catalog = layers.catalog(self.model, reduction_layer=reduction_layer)
        self.feature = compose.default_feature(self.catalog, feature_layer, self.method)
        self.upsampling = upsampling
        self.batch_size = batch_size
        self._preprocess = preprocess
        self._spec: InputSpec | None = None
        self._labels = _labels(labels)
        how = (self.feature, upsampling, device, threads)
        if isinstance(self.method, methods.SampledMethod):
            self._runner: Runner | Sampler = Sampler(
                self.model, self.catalog, self.method, *how, settings, checked_seed(seed),
                batch_size, progress,
            )  # fmt: skip
        else:
            chosen, kept = methods.graph(method), store() if cache else None
            self._runner = Runner(self.model, self.catalog, chosen, *how, kept)
        self.gradient, self.provider = self._runner.gradient, self._runner.provider

    @property
    def input(self) -> ModelInput:
        """The input that the maps are laid over."""
        return model_input(self.model, self.catalog)

    @property
    def spec(self) -> InputSpec:
        """How a picture becomes the input tensor.

        Raises:
            UsageError: Nothing says; the hint shows what to type.
        """
        if self._spec is None:
            self._spec = resolve(
                self.input,
                model_path=self.model.path,
                metadata=self.model.metadata,
                option=self._preprocess,
            )
        return self._spec

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Names of the classes, None where nothing says them."""
        if self._labels is None:
            try:
                self._labels = self.spec.labels
            except UsageError:
                return None  # ready arrays need no description, and then there are no labels
        return self._labels

    def __call__(
        self,
        x: Any,
        target: Target | Sequence[Target] = None,
        *,
        extra_inputs: Mapping[str, Array] | None = None,
    ) -> Any:
        """Explain one input or a list of them.

        Args:
            x: Path, PIL image, uint8 picture [H, W, 3] or ready tensor; or a list of these.
            target: Class index or label, None for the top class; or a list of these.
            extra_inputs: Ready arrays for the model's other inputs, by name.

        Returns:
            One :class:`Explanation`; a list of them when ``target`` is a list; for a list of
            inputs a list with one of these per input.

        Raises:
            OnnxcamError: The input or the target cannot be used.
        """
        several = isinstance(x, list | tuple)
        results = []
        for _, result in self.stream(x if several else [x], target, extra_inputs=extra_inputs):
            if isinstance(result, OnnxcamError):
                raise result
            results.append(result)
        return results if several else results[0]

    def stream(
        self,
        inputs: Iterable[Any],
        target: Target | Sequence[Target] = None,
        *,
        extra_inputs: Mapping[str, Array] | None = None,
    ) -> Iterator[tuple[Any, Any]]:
        """Explain many inputs, in batches where the model's batch is dynamic.

        Yields:
            (input, result): as :meth:`__call__` returns it, or the :class:`OnnxcamError` of an
            input that could not be explained. The order is that of ``inputs``.
        """
        listed = not (target is None or isinstance(target, int | str))
        wanted = self._targets(_listed(target))
        together = self.method.kind == "graph" and isinstance(self.input.shape[0], str | None)
        limit = self.batch_size if together else 1
        waiting: list[tuple[Any, Prepared | OnnxcamError]] = []
        for x in inputs:
            waiting.append((x, self._prepared(x)))
            if len(waiting) >= limit:
                yield from self._flush(waiting, wanted, listed, extra_inputs)
                waiting = []
        yield from self._flush(waiting, wanted, listed, extra_inputs)

    def _targets(self, targets: Sequence[Target]) -> list[int]:
        classes = self.catalog.reduction.classes
        names = self.labels if any(isinstance(t, str) for t in targets) else None
        if not targets:
            raise UsageError("no target is given", "give a class, or None for the top class")
        return [resolve_target(t, classes, names) for t in targets]

    def _prepared(self, x: Any) -> Prepared | OnnxcamError:
        # A missing description is no fault of this input: it stops the whole call.
        spec = InputSpec(pictures=False) if _is_ready(x, self.input) else self.spec
        try:
            return prepare(x, spec, self.input)
        except OnnxcamError as error:
            return error

    def _flush(
        self,
        waiting: Sequence[tuple[Any, Prepared | OnnxcamError]],
        targets: Sequence[int],
        listed: bool,
        extra: Mapping[str, Array] | None,
    ) -> Iterator[tuple[Any, Any]]:
        results: list[Any] = [p if isinstance(p, OnnxcamError) else None for _, p in waiting]
        groups: dict[tuple[int, ...], list[int]] = {}
        for i, (_, prepared) in enumerate(waiting):
            if isinstance(prepared, Prepared):
                groups.setdefault(prepared.tensor.shape, []).append(i)
        for members in groups.values():
            batch = [p for i in members if isinstance(p := waiting[i][1], Prepared)]
            try:
                explained = self._runner.run(batch, targets, extra or {}, self.labels)
            except OnnxcamError as error:
                explained = [error] * len(batch)  # type: ignore[list-item]
            for i, found in zip(members, explained, strict=True):
                results[i] = found if listed or isinstance(found, OnnxcamError) else found[0]
        yield from ((x, result) for (x, _), result in zip(waiting, results, strict=True))


def model_input(model: Model, catalog: layers.Catalog) -> ModelInput:
    """Return the input that maps are laid over, as the preprocessing wants it described."""
    port = next(p for p in model.inputs if p.name == catalog.input)
    return _described(port, catalog.input_layout)


def _described(port: Port, layout: Layout | None) -> ModelInput:
    if port.shape is None or port.dtype is None or not port.shape:
        raise ModelError(
            f"the input {port.name!r} is no tensor with axes", "name another --reduction-layer"
        )
    axes = layout.axes if layout is not None and "?" not in layout.axes else None
    return ModelInput(port.name, port.shape, port.dtype, axes)


def _listed(target: Target | Sequence[Target]) -> list[Target]:
    return [target] if target is None or isinstance(target, int | str) else list(target)


def _labels(
    labels: Sequence[str] | str | os.PathLike[str] | None,
) -> tuple[str, ...] | None:
    if labels is None:
        return None
    if isinstance(labels, str | os.PathLike):
        return load_labels(Path(labels))
    return tuple(labels)


def _is_ready(x: Any, declared: ModelInput) -> bool:
    """Tell whether an input is a ready tensor, which needs no description."""
    if isinstance(x, str | os.PathLike):
        return Path(x).suffix.lower() in (".npy", ".npz")
    if not isinstance(x, np.ndarray):
        return False
    return x.dtype.kind == "f" or x.ndim >= len(declared.shape)
