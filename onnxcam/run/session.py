"""ONNX Runtime: the only place that imports it. Providers, sessions, thread counts."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import onnx
from onnx import ModelProto, TensorProto

from onnxcam.errors import ModelError, OnnxcamError, UsageError
from onnxcam.model.model import Model
from onnxcam.model.weights import detached, in_files, is_light
from onnxcam.run.advice import line, not_loaded, not_run
from onnxcam.run.hardware import Provider, has_gpu
from onnxcam.run.trial import crash, may_crash

Device: TypeAlias = Literal["auto", "cpu", "gpu"]
Array: TypeAlias = np.ndarray[Any, Any]

_LOG = logging.getLogger(__name__)
_FOLDER = "session.model_external_initializers_file_folder_path"
_READS_FILES = (1, 21)  # from this version on a model in memory may have its weights in files
_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
_SHAREABLE = frozenset(
    {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.INT64,
     TensorProto.INT32, TensorProto.INT8, TensorProto.UINT8, TensorProto.INT16,
     TensorProto.UINT16, TensorProto.BOOL}
)  # fmt: skip


def runtime() -> Any:
    """Return the onnxruntime module.

    Raises:
        OnnxcamError: Neither of its two builds is installed.
    """
    # It would keep a list of what is run in the user's home and send it to its makers.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        raise OnnxcamError(
            f"ONNX Runtime is not installed ({error})",
            "install one of its two builds: pip install 'onnxcam[cpu]' or 'onnxcam[gpu]'",
        ) from None
    return onnxruntime


def choose_provider(device: Device) -> Provider:
    """Choose where to run.

    Args:
        device: "gpu" (CUDA, or an error), "cpu", or "auto" (CUDA where it can be used).

    Raises:
        UsageError: The device is unknown, or "gpu" is asked for and CUDA cannot be used.
    """
    if device not in ("auto", "cpu", "gpu"):
        raise UsageError(f"no device {device!r}", "choose auto, cpu or gpu")
    if device == "cpu":
        return Provider(_CPU, "asked for")
    problem = _cuda_problem()
    if problem is None:
        return Provider(_CUDA, "asked for" if device == "gpu" else "a CUDA device is usable")
    if device == "gpu":
        raise UsageError(
            f"no usable CUDA device: {problem}",
            "install it: pip install 'onnxcam[gpu]', or use `device='cpu'`",
        )
    return Provider(_CPU, f"no usable CUDA device: {problem}" if has_gpu() else "there is no GPU")


def available_devices() -> tuple[Device, ...]:
    """Return the devices that can be used here: "cpu", and "gpu" where CUDA works."""
    return ("cpu",) if choose_provider("auto").name == _CPU else ("cpu", "gpu")


def _cuda_problem() -> str | None:
    """Return why CUDA cannot be used, None when it can: a session is made to see."""
    ort = runtime()
    if _CUDA not in ort.get_available_providers():
        return "this onnxruntime is built without CUDA"
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["x"], ["y"])],
        "probe",
        [value],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])],
    )
    model = onnx.helper.make_model(
        graph, ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 13)]
    )
    try:
        session = ort.InferenceSession(
            model.SerializeToString(), _options(ort, None, True), providers=[_CUDA]
        )
    except Exception as error:  # noqa: BLE001 - ONNX Runtime raises its own and RuntimeError
        return " ".join(str(error).split())[:160]
    return None if _CUDA in session.get_providers() else "the CUDA libraries cannot be loaded"


class Session:
    """A model loaded into ONNX Runtime.

    Args:
        model: The model; a file, or the bytes of one, ONNX Runtime reads by itself.
        device: See :func:`choose_provider`.
        threads: Threads inside one operator; None lets ONNX Runtime decide.
        optimise: False turns ONNX Runtime's graph optimisations off.
        sparing: Take little memory rather than little time: weights are read from the files they
            lie in, and not packed. For a session that runs once.
        early: Run nodes as soon as they can, see :func:`onnxcam.run.early.best_early`.
        libraries: Files of custom operators, beside those that a :class:`Model` needs.

    Attributes:
        provider: Where it runs and why.
        outputs: Names of the outputs.
        threads: Threads inside one operator, about.

    Raises:
        ModelError: ONNX Runtime cannot load the model.
    """

    def __init__(
        self,
        model: Model | ModelProto | Path | bytes,
        *,
        device: Device = "auto",
        threads: int | None = None,
        optimise: bool = True,
        sparing: bool = False,
        early: bool = False,
        libraries: Sequence[Path] = (),
    ) -> None:
        ort = runtime()
        self.provider, self.threads = choose_provider(device), threads or os.cpu_count() or 1
        providers = list(dict.fromkeys([self.provider.name, _CPU]))
        wanted = model.libraries if isinstance(model, Model) else tuple(libraries)
        options = with_libraries(_options(ort, threads, optimise), wanted)
        if early:
            options.execution_order = ort.ExecutionOrder.PRIORITY_BASED
        self._alone: Callable[..., None] | None = None
        if isinstance(model, Model) and may_crash(model):
            self._alone = partial(_alone, ort, model, optimise)
        self._try({}, [])
        try:
            # ONNX Runtime borrows the weights: they must live as long as the session.
            self._session, self._weights = _load(ort, model, options, providers, sparing)
        except Exception as error:
            raise not_loaded(error, wanted) from error
        _LOG.info("session made on %s, threads %s", self.provider.name, threads or "as it likes")
        self.outputs = tuple(o.name for o in self._session.get_outputs())

    def run(self, feeds: Mapping[str, Array], outputs: Sequence[str] | None = None) -> list[Array]:
        """Run the model.

        Args:
            feeds: Arrays by input name.
            outputs: Names of the outputs wanted, None for all.

        Raises:
            InputError: ONNX Runtime refuses the input or fails on it.
            ModelError: Memory does not hold what the model makes.
        """
        names = list(self.outputs if outputs is None else outputs)
        self._try(feeds, names)
        _LOG.debug("run of %s", {name: np.shape(value) for name, value in feeds.items()})
        try:
            return list(self._session.run(names, dict(feeds)))
        except Exception as error:
            raise not_run(error) from error

    def _try(self, feeds: Mapping[str, Array], names: list[str]) -> None:
        """Load and run in a copy of the process what may crash this one.

        Raises:
            ModelError: ONNX Runtime crashes.
        """
        if self._alone is None:
            return
        ended = crash(partial(self._alone, dict(feeds), names))
        if ended is not None:
            raise ModelError(
                f"ONNX Runtime crashes on the model ({ended})",
                "it gives an operator something it does not check, such as an index without a "
                "value; look at its operators on sequences and its empty weights",
            )
        if names:  # once is enough
            self._alone = None


def _alone(
    ort: Any, model: Model, optimise: bool, feeds: Mapping[str, Array], names: list[str]
) -> None:
    """Load a model on the CPU, in one thread, and run it where there is something to feed."""
    options = with_libraries(_options(ort, 1, optimise), model.libraries)
    session, _weights = _load(ort, model, options, [_CPU], False)
    if names:
        session.run(names, feeds)


def with_libraries(options: Any, libraries: Sequence[Path]) -> Any:
    """Return session options with custom operators registered.

    Raises:
        ModelError: ONNX Runtime does not take a library.
    """
    for library in libraries:
        try:
            options.register_custom_ops_library(str(library.resolve()))
        except Exception as error:
            raise ModelError(
                f"{library}: ONNX Runtime cannot load this operator library: {line(error)}",
                "give one that was built for this system and this version of ONNX Runtime",
            ) from error
    return options


def _options(ort: Any, threads: int | None, optimise: bool) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = 4  # what goes wrong comes as an exception
    # Threads that wait for the next run in a loop take the processor from what is done between.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if threads is not None:
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not optimise:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return options


def _load(
    ort: Any,
    model: Model | ModelProto | Path | bytes,
    options: Any,
    providers: list[str],
    sparing: bool,
) -> tuple[Any, list[Any]]:
    """Hand the graph over as bytes and the large weights as they lie in memory, or in files."""
    if isinstance(model, Path | bytes):
        return ort.InferenceSession(_named(model), options, providers=providers), []
    light, weights = (model.light, model.weights) if isinstance(model, Model) else detached(model)
    if sparing:
        options.add_session_config_entry("session.disable_prepacking", "1")
        placed = in_files(light, weights) if _version(ort) >= _READS_FILES else None
        if placed is not None:
            light = placed[0]
            options.add_session_config_entry(_FOLDER, str(placed[1]))
    tensors = [t for t in light.graph.initializer if is_light(t)]
    if any(t.data_type not in _SHAREABLE for t in tensors):  # NumPy knows no bfloat16
        full = weights.attached(light)
        return ort.InferenceSession(full.SerializeToString(), options, providers=providers), []
    values = [ort.OrtValue.ortvalue_from_numpy(weights.array(t)) for t in tensors]
    options.add_external_initializers([t.name for t in tensors], values)
    session = ort.InferenceSession(light.SerializeToString(), options, providers=providers)
    return session, values


def _version(ort: Any) -> tuple[int, ...]:
    return tuple(int(part) for part in ort.__version__.split(".")[:2])


def _named(model: Path | bytes) -> str | bytes:
    """Return a file as ONNX Runtime takes it: its name where that is text, else what is in it."""
    if isinstance(model, bytes):
        return model
    try:
        str(model).encode()
    except UnicodeEncodeError:
        return model.read_bytes()
    return str(model)
