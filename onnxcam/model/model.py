"""Load an ONNX file into an immutable :class:`Model`: checked, inlined, raised, hashed."""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from onnx import ModelProto, ValueInfoProto

from onnxcam.errors import InputError, ModelError, UsageError, bounded
from onnxcam.files import regular
from onnxcam.graph.emit import Dim, np_dtype, proto_shape
from onnxcam.graph.emit.walks import standard_opset
from onnxcam.model.external import Beside
from onnxcam.model.mapping import mapped, written_to
from onnxcam.model.passes.pipeline import prepared
from onnxcam.model.stream import Digest, digest_of, parse
from onnxcam.model.weights import Weights, detached

Libraries: TypeAlias = "str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None"


@dataclass(frozen=True)
class Port:
    """An input or output of a model.

    Attributes:
        name: Tensor name.
        dtype: Element type; None for what is no tensor (a sequence, a map).
        shape: Ints, symbol names and None; None where the rank is unknown.
    """

    name: str
    dtype: np.dtype[Any] | None
    shape: tuple[Dim, ...] | None


@dataclass(frozen=True)
class Model:
    """An ONNX model, ready to be read; nothing in onnxcam changes one after it was made.

    Attributes:
        light: Checked, functions inlined, at opset 20 or above where possible, with inferred
            shapes; its large initializers are in ``weights``. Treat as read-only.
        weights: Bytes of the large initializers.
        digest: The sha256 of the bytes that were loaded; with data in other files, of that of the
            file and of each of them by name. Or what finds it once somebody asks; see
            :attr:`sha256`.
        path: Where it came from, None for bytes and protos.
        notes: What was done to it and what could not be done.
        before: The model as it was, where what was done to it should be held against that by
            running both (:func:`onnxcam.run.faithful.held`); else None.
        libraries: Files of the custom operators that it needs, which the user named.
    """

    light: ModelProto = field(repr=False)
    weights: Weights = field(repr=False)
    digest: str | Digest
    path: Path | None = None
    notes: tuple[str, ...] = ()
    before: Model | None = field(default=None, repr=False)
    libraries: tuple[Path, ...] = ()

    @property
    def sha256(self) -> str:
        """Of the bytes that were loaded, external data included; empty for a borrowed proto.

        Raises:
            ModelError: A file was written to since it was read.
        """
        return self.digest if isinstance(self.digest, str) else self.digest.text

    @property
    def files(self) -> Mapping[str, str]:
        """The sha256 of each file that it was read from, by name; empty where there is none."""
        if self.path is None:
            return {}
        own = self.digest
        return {self.path.name: own} if isinstance(own, str) else own.files

    def check_unchanged(self) -> None:
        """Check that nobody wrote to the files that its weights lie in.

        Raises:
            ModelError: Somebody did: what is computed from now on is of no file.
        """
        changed = self.weights.changed()
        if changed is not None:
            raise written_to(changed)

    @property
    def proto(self) -> ModelProto:
        """A full copy of the model, weights and all."""
        return self.weights.attached(self.light)

    @cached_property
    def inputs(self) -> tuple[Port, ...]:
        """The inputs that a caller must feed."""
        given = {t.name for t in self.light.graph.initializer}
        return tuple(_port(v) for v in self.light.graph.input if v.name not in given)

    @cached_property
    def outputs(self) -> tuple[Port, ...]:
        """The outputs."""
        return tuple(_port(v) for v in self.light.graph.output)

    @cached_property
    def findings(self) -> dict[str, Any]:
        """What is found out about the model is kept here, so that it is found out once."""
        return {}

    @property
    def opset(self) -> int:
        """Version of the standard operator set."""
        return standard_opset(self.light)

    @property
    def metadata(self) -> Mapping[str, str]:
        """The model's ``metadata_props``."""
        return {p.key: p.value for p in self.light.metadata_props}


@bounded("the model cannot be read")
def load(
    source: str | os.PathLike[str] | bytes | ModelProto | Model,
    *,
    borrow: bool = False,
    opset: int | None = None,
    op_library: Libraries = None,
) -> Model:
    """Load a model.

    Args:
        source: Path of an ONNX file (with its external data beside it), its bytes, or a proto.
            It is never modified.
        borrow: Do not copy the weights of a proto, nor hash it; it must not change while the model
            is used.
        opset: The opset to bring the model to, up or down, with the IR version that
            came with it; None raises to 20 what is below.
        op_library: File of a library with the custom operators of the model, or several: their
            code runs in this process. None is ever taken that only a model names.

    Returns:
        The model: local functions inlined, weights of subgraphs moved to the main graph, raised
        to opset 20 when below, kept at its own opset with a note when the converter fails, shapes
        inferred.

    Raises:
        ModelError: It is missing, no ONNX model, truncated, invalid, its external data is
            missing or lies outside the model's folder, or it cannot be brought to ``opset``.
        UsageError: There is no such library.
    """
    libraries = _libraries(op_library)
    if isinstance(source, Model):
        kept = libraries or source.libraries
        if opset in (None, source.opset):
            return source if kept == source.libraries else replace(source, libraries=kept)
        other = load(source.proto, opset=opset)
        return replace(other, digest=source.digest, path=source.path, libraries=kept)
    proto, weights, found, path = _read(source, borrow)
    if not proto.HasField("graph") or not proto.opset_import:
        raise ModelError(f"{path or 'the bytes'}: no ONNX model", "give a file exported to ONNX")
    made = prepared(proto, weights, str(path or "the model"), opset)
    before = None
    if made.before is not None:
        before = Model(made.before, weights, found, path, libraries=libraries)
    return Model(made.light, made.weights, found, path, tuple(made.notes), before, libraries)


def _libraries(given: Libraries) -> tuple[Path, ...]:
    """Return the files of operator libraries.

    Raises:
        UsageError: One is not there.
    """
    each = [given] if isinstance(given, str | os.PathLike) else list(given or ())
    found = tuple(Path(library) for library in each)
    for path in found:
        if not path.is_file():
            raise UsageError(
                f"{path}: no such operator library",
                "give the library's file (.so, .dll, .dylib); onnxruntime-extensions says its own "
                "by onnxruntime_extensions.get_library_path()",
            )
    return found


def _port(info: ValueInfoProto) -> Port:
    kind = info.type
    if not kind.HasField("tensor_type"):
        return Port(info.name, None, None)
    shape = proto_shape(kind)
    return Port(
        info.name,
        np_dtype(kind.tensor_type.elem_type),
        None if shape is None else tuple(shape),
    )


# ---- reading


def _read(
    source: str | os.PathLike[str] | bytes | ModelProto, borrow: bool
) -> tuple[ModelProto, Weights, str | Digest, Path | None]:
    if isinstance(source, ModelProto):
        light, weights = detached(source, borrow=borrow)
        Beside(None).taken(light)
        return light, weights, "" if borrow else _digest(light, weights), None
    if isinstance(source, bytes):
        light, weights = _parsed(source, "the bytes")
        Beside(None).taken(light)
        return light, weights, digest_of("", source), None
    path = Path(source)
    try:
        if path.is_dir():
            raise ModelError(f"{path}: is a folder", "give the .onnx file")
        regular(path)
        data = mapped(path)
    except InputError as error:
        raise ModelError(error.message, error.hint) from None
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file", "check the path") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})", "check it") from None
    light, weights = _parsed(data, str(path))
    beside = Beside(path)
    external = beside.taken(light)
    several = beside.is_used
    found = Digest(path.name, data, beside.digests) if several else digest_of(path.name, data)
    return light, Weights({**weights, **external}, external), found, path


def _parsed(data: bytes | mmap.mmap, name: str) -> tuple[ModelProto, Weights]:
    if not data:
        raise ModelError(f"{name}: is empty", "export or copy the model again")
    if data[4:8] == b"ORTM":
        raise ModelError(
            f"{name}: is in ONNX Runtime's own format",
            "give the .onnx file that it was made of, or let ONNX Runtime write it as one: by a "
            "session with `optimized_model_filepath` and session.save_model_format=ONNX",
        )
    return parse(data, name)


def _digest(light: ModelProto, weights: Weights) -> str:
    """Hash a proto piece by piece: as one string it may exceed protobuf's 2 GB."""
    found = hashlib.sha256(light.SerializeToString(deterministic=True))
    for name in sorted(weights):
        found.update(weights[name].data)
    return found.hexdigest()
