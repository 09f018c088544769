"""The whole way for one input or a batch: :class:`Explainer` and what it does."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar, Unpack, overload

import numpy as np
from onnx import ModelProto

from onnxcam.analysis.layers import Asked
from onnxcam.compose import Wishes
from onnxcam.errors import OnnxcamError
from onnxcam.inputs import Input, InputSpec, class_names
from onnxcam.inputs.description import Labels
from onnxcam.inputs.tensor import as_given
from onnxcam.model.model import Libraries, Model, load
from onnxcam.output.explanation import Explanation
from onnxcam.run.answers import Answers
from onnxcam.run.asking import asking
from onnxcam.run.cache import looked_through
from onnxcam.run.described import Described
from onnxcam.run.engine import Engine
from onnxcam.run.faithful import held
from onnxcam.run.feeds import Feeds
from onnxcam.run.nothing import told
from onnxcam.run.options import Call, Options, checked_budget, checked_seed, checked_upsampling
from onnxcam.run.predict import Predicts
from onnxcam.run.progress import Progress
from onnxcam.run.refusal import answered_for
from onnxcam.run.runner import Upsampling
from onnxcam.run.session import Device
from onnxcam.run.store import store
from onnxcam.run.traced import sized
from onnxcam.targets import Wanted

if TYPE_CHECKING:
    from onnxcam.metrics.comparison import Comparison

Array: TypeAlias = np.ndarray[Any, Any]
Source: TypeAlias = "str | os.PathLike[str] | bytes | ModelProto | Model"
Named: TypeAlias = dict[str, Explanation]
Inputs: TypeAlias = "list[Any] | tuple[Any, ...]"  # each an Input
Many: TypeAlias = "Sequence[Wanted] | Sequence[Sequence[Wanted]]"  # of all inputs, or of each
Extra: TypeAlias = "Mapping[str, Array] | None"
Fusion: TypeAlias = Literal["sum", "mean", "max", "product"]
X = TypeVar("X", bound=Input)
Result = TypeVar("Result", Explanation, Named)


class Explainer(Predicts, Described, Generic[Result]):
    """Explains one model; loads it once.

    Args:
        model: Path, bytes or proto of an ONNX model.
        method: Name of the method, see :func:`onnxcam.methods.names`; or a list of them: they
            share one forward pass. None takes Grad-CAM, of a detector's box HiResCAM.
        feature_layer: Name of the tensor that the map is made of, or a list of them; None takes
            the default, of a detector's box the layers of its scales, fused.
        fuse: One map of all feature layers: "sum", "mean", "max" or "product", see
            :mod:`onnxcam.compose.fused`; None makes one of each.
        reduction_layer: Name of the tensor with the scores; None takes the logits.
        class_axis: Axis of the classes in it; None reads it off the graph.
        input: Name of the input that maps are laid over; None takes the first with space, or that
            on whose way alone ``feature_layer`` lies.
        input_format: The meaning of its axes, where the graph does not tell: a letter for each, B
            or N the batch, C channels, S space, T time, or D, H, W (MATLAB's and others').
        feature_format: The same of the feature layers.
        device: "auto", "cpu" or "gpu".
        preprocess: How a picture becomes the input tensor: a preset's name, a TOML file, an
            :class:`InputSpec`; None looks beside and into the model.
        labels: Names of the classes, or a file with them; None takes those of the description.
        detector: What the outputs of a detector are, where the graph does not tell, see
            :mod:`onnxcam.analysis.detectors.declared`; None takes what the description says.
        upsampling: How the map comes to the input's size.
        parameters: Values for parameters of the method, by name; the others have their defaults.
        seed: Of the random numbers that some methods draw; it is in the explanation.
        progress: Called while a method runs the model many times, with the number of runs done
            and of all runs (None where that is not known).
        batch_size: Inputs per run where the model's batch is dynamic.
        threads: Threads of ONNX Runtime; None lets it decide.
        budget: The most runs of a method that runs the model many times, for one input: behind
            them the map so far is taken, as on Ctrl-C, and says so; None for as many as it takes.
        cache: Keep what is written behind the model on disk, and take it from there; see
            :mod:`onnxcam.run.cache` for the place.
        op_library: File of a library with the custom operators of the model (such as that of
            onnxruntime-extensions), or several. Its code runs in this process.

    Attributes:
        model: The loaded model.
        catalog: Its layers.
        maps: What is explained: a method and its feature layer each.
        maps_of: Returns the maps of a target: those of a detector's box may be others.

    Raises:
        OnnxcamError: Of the kind that fits: the model, a name or the device cannot be used.
    """

    @overload
    def __init__(
        self: Explainer[Explanation],
        model: Source,
        method: str | None = None,
        *,
        feature_layer: str | None = None,
        **options: Unpack[Options],
    ) -> None: ...
    @overload
    def __init__(
        self: Explainer[Named],
        model: Source,
        method: str | Sequence[str] | None = None,
        *,
        feature_layer: str | Sequence[str] | None = None,
        **options: Unpack[Options],
    ) -> None: ...
    @answered_for("the model cannot be explained")
    def __init__(
        self,
        model: Source,
        method: str | Sequence[str] | None = None,
        *,
        feature_layer: str | Sequence[str] | None = None,
        fuse: Fusion | None = None,
        reduction_layer: str | None = None,
        class_axis: int | None = None,
        input: str | None = None,
        input_format: str | None = None,
        feature_format: str | None = None,
        device: Device = "auto",
        preprocess: str | os.PathLike[str] | InputSpec | None = None,
        labels: Labels = None,
        detector: Mapping[str, Any] | None = None,
        upsampling: Upsampling = "bicubic",
        parameters: Mapping[str, Any] | None = None,
        seed: int = 0,
        progress: Progress | None = None,
        batch_size: int = 8,
        threads: int | None = None,
        budget: int | None = None,
        cache: bool = True,
        op_library: Libraries = None,
    ) -> None:
        self.upsampling, self.batch_size = checked_upsampling(upsampling), batch_size
        said, kept = Asked(reduction_layer, class_axis, input), store() if cache else None
        self.model = sized(held(load(model, op_library=op_library), kept), said, kept)
        named = input_format, feature_format, feature_layer, preprocess
        self._fed, self.catalog = looked_through(self.model, said, *named, kept)
        self._labels, self._preprocess = class_names(labels), preprocess
        of_detector = lambda: self.description.of_detector(detector)  # noqa: E731
        self.catalog = told(self.model, self.catalog, of_detector, kept)
        self._take(Engine(
            self.model, self.catalog, Wishes(method, feature_layer, parameters, fuse), upsampling,
            device, threads, kept, checked_seed(seed), batch_size, progress,
            checked_budget(budget), of_detector,
        ))  # fmt: skip
        self._engine.check()  # what cannot be explained shows now

    @overload
    def __call__(  # type: ignore[overload-overlap]  # a str is one label, no list of them
        self, x: Input, target: Wanted = None, **how: Unpack[Call]
    ) -> Result: ...
    @overload
    def __call__(self, x: Input, target: Sequence[Wanted], **how: Unpack[Call]) -> list[Result]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, x: Inputs, target: Wanted = None, **how: Unpack[Call]
    ) -> list[Result]: ...
    @overload
    def __call__(self, x: Inputs, target: Many, **how: Unpack[Call]) -> list[list[Result]]: ...
    def __call__(
        self,
        x: Input | Inputs,
        target: Wanted | Many = None,
        *,
        extra_inputs: Extra = None,
        method: str | None = None,
    ) -> Any:
        """Explain one input or a list of them.

        Args:
            x: Path, PIL image, uint8 picture [H, W, 3] or ready tensor; or a list of these.
            target: Class index or label, None for the top class; a target of
                :mod:`onnxcam.targets`, such as ``Margin("cat", "dog")``; a function, such as
                ``lambda y: y[:, 208]`` (:class:`onnxcam.targets.Function`); a list of these; or
                such a list for each input.
            extra_inputs: Ready arrays for the model's other inputs, by name.
            method: Another method than the explainer's, for this call; all else is shared.

        Returns:
            One :class:`Explanation`; where methods or layers are given as a list, a dict of
            them by the name of the map ("gradcam", "gradcam.relu"). A list of these when
            ``target`` is a list; for a list of inputs a list with one of these per input, and
            so for an array that holds several.

        Raises:
            OnnxcamError: The input or the target cannot be used.
        """
        several = isinstance(x, list | tuple)
        results: list[Any] = []
        inputs: Iterable[Any] = x if several else [x]  # type: ignore[assignment]
        explainer = self.of(method)
        for _, result in explainer._stream(inputs, target, extra_inputs, single=not several):
            if isinstance(result, OnnxcamError):
                raise result
            results.append(result)
        return results if several else results[0]

    @overload
    def stream(  # type: ignore[overload-overlap]
        self, inputs: Iterable[X], target: Wanted = None, **how: Unpack[Call]
    ) -> Iterator[tuple[X, Result | OnnxcamError]]: ...
    @overload
    def stream(
        self, inputs: Iterable[X], target: Many, **how: Unpack[Call]
    ) -> Iterator[tuple[X, list[Result] | OnnxcamError]]: ...
    def stream(
        self,
        inputs: Iterable[X],
        target: Wanted | Many = None,
        *,
        extra_inputs: Extra = None,
        method: str | None = None,
    ) -> Iterator[tuple[X, Any]]:
        """Explain many inputs, in batches where the model's batch is dynamic.

        Yields:
            (input, result): as :meth:`__call__` returns it, or the :class:`OnnxcamError` of an
            input that could not be explained. The order is that of ``inputs``.
        """
        yield from self.of(method)._stream(inputs, target, extra_inputs)

    def compare(
        self, x: Input, methods: Sequence[str] | None = None, target: Wanted = None, **options: Any
    ) -> Comparison:
        """Compare methods on one input: maps, what each measures, and whether they agree.

        Args:
            x: One input, as in a call.
            methods: Their names, with default parameters; None takes those of this explainer.
            target: As in a call.
            options: See :func:`onnxcam.metrics.compare`.
        """
        from onnxcam.metrics.comparison import compare  # late: few calls want numbers

        return compare(self if methods is None else self.by(methods), x, target, **options)

    def _stream(
        self, inputs: Iterable[X], target: Any, extra_inputs: Extra, *, single: bool = False
    ) -> Iterator[tuple[X, Any]]:
        asked = asking(
            target,
            self._engine.reduction_of,
            lambda: self.description.labels,
            lambda x: self.scores(x, extra_inputs=extra_inputs),
        )
        given = {name: np.asarray(as_given(a)) for name, a in (extra_inputs or {}).items()}
        feeds = Feeds(self.model, self.catalog, self._fed)
        labels = lambda: self.labels or self.description.labels  # noqa: E731
        answers = Answers(self._engine, self.description, feeds, labels, asked, single, given)
        for x, found in answers.of(inputs):
            yield (
                x,
                found if self._named else answers.mapped(found, lambda m: next(iter(m.values()))),
            )
