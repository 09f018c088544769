"""Compiled models, kept on disk: the gradient is written behind a model once.

What is known of a model's tensors and layers is kept with them, so that it is found out once.

An entry is a *light* explained model: the graph without the large weights, which stay in the
model's own file (a few hundred kilobytes for a network of a hundred megabytes). Its name is a hash
of all that it depends on: the model with its weights, the options, the versions and the code of
onnxcam. Entries are written to a file beside their place and moved there, so another process sees
a whole entry or none; what is damaged is made again.

ONNXCAM_CACHE names another folder, or is "off"; ONNXCAM_CACHE_MB is the most that it may hold.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
import warnings
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto

from onnxcam import compose, version
from onnxcam.analysis import layers, record
from onnxcam.analysis.layers import Asked, Catalog
from onnxcam.autodiff import registry
from onnxcam.errors import UsageError
from onnxcam.files import PART, whole
from onnxcam.methods import GraphMethod, graph
from onnxcam.model.model import Model

FOLDER_VARIABLE, SIZE_VARIABLE = "ONNXCAM_CACHE", "ONNXCAM_CACHE_MB"
_OFF = ("", "0", "off")
_MEGABYTES = 2000
_SUFFIX = ".light"
_WRITING = 3600  # seconds; a part that is older was left by a process that was killed
_DIGEST = 32  # bytes in front of an entry: its own sha256


@dataclass(frozen=True)
class Store:
    """A folder of entries by key; the oldest go where it grows too large.

    Attributes:
        folder: Where they are; made when the first is written.
        limit: Bytes that all of them may take together.
    """

    folder: Path
    limit: int

    def get(self, key: str) -> bytes | None:
        """Return an entry, None where there is none or it is damaged; it counts as used now."""
        place = self._place(key)
        try:
            content = place.read_bytes()
        except OSError:
            return None
        with suppress(OSError):
            os.utime(place)
        data = content[_DIGEST:]
        return data if hashlib.sha256(data).digest() == content[:_DIGEST] else None

    def put(self, key: str, data: bytes) -> None:
        """Write an entry, and remove the ones that were not used for longest to make room.

        Where the folder cannot be written it warns, once, and nothing else happens.
        """
        content = hashlib.sha256(data).digest() + data
        if len(content) > self.limit:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with whole(self._place(key)) as part:
                part.write_bytes(content)
            self._shrink()
        except OSError as error:
            self._complain(error)

    def _place(self, key: str) -> Path:
        return self.folder / f"{key}{_SUFFIX}"

    def _shrink(self) -> None:
        """Remove files, those not used for longest first; another process may do the same."""
        found = []
        for path in self.folder.glob(f"*{_SUFFIX}*"):
            with suppress(FileNotFoundError):
                state = path.stat()
                if not path.name.endswith(PART) or state.st_mtime < time.time() - _WRITING:
                    found.append((state.st_mtime_ns, state.st_size, path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= self.limit:
                return
            path.unlink(missing_ok=True)
            total -= size

    def _complain(self, error: OSError) -> None:
        warnings.warn(
            f"{self.folder}: compiled models cannot be kept there ({error.strerror}); name another "
            f"folder in {FOLDER_VARIABLE}, or set it to off",
            stacklevel=2,
        )


def store() -> Store | None:
    """Return the store that the environment names, else the user's; None where it is off.

    Raises:
        UsageError: The size in the environment is no number.
    """
    folder = _folder()
    if folder is None:
        return None
    given = os.environ.get(SIZE_VARIABLE, str(_MEGABYTES))
    if not given.isdecimal():
        raise UsageError(f"{SIZE_VARIABLE}={given!r} is no number of megabytes", "write 2000")
    return Store(folder, int(given) * 1_000_000)


def _folder() -> Path | None:
    given = os.environ.get(FOLDER_VARIABLE)
    if given is not None:
        return None if given.lower() in _OFF else Path(given)
    try:
        home = Path.home()
    except RuntimeError:  # no home, as for some services
        return None
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "onnxcam" / "models"


def explained(model: Model, plan: compose.Plan, kept: Store | None) -> Model:
    """Return the model that an Explainer runs, from the store where it is there.

    Args:
        model: The model.
        plan: What it returns.
        kept: Where compiled models are kept; None makes the model every time.

    Raises:
        UnsupportedOp: No gradient between score and feature layer.
    """
    foreign = any(_is_foreign(m.graph) for m in plan.maps) or registry.is_foreign(type(plan.target))
    own = not foreign and not registry.extended()
    key = None
    if kept is not None and own and plan.key is not None:
        key = key_of(model, plan.key)
        light = _parsed(kept.get(key))
        if light is not None:
            return Model(light, model.weights, model.sha256)
    made = compose.plan_graph(model, plan, direct=True).model
    if kept is not None and key is not None and made.weights is model.weights:
        kept.put(key, made.light.SerializeToString())
    return made


def analysed(model: Model, asked: Asked, kept: Store | None) -> Catalog:
    """Return the layers of a model, from the store where they are there.

    Args:
        model: The model.
        asked: As for :func:`onnxcam.analysis.layers.catalog`.
        kept: Where what is known of a model is kept; None finds it out.

    Raises:
        OnnxcamError: As for :func:`onnxcam.analysis.layers.catalog`.
    """
    if kept is not None and not registry.extended():
        key = f"{key_of(model, [repr(asked)])}.layers"
        data = kept.get(key)
        if data is None or not record.read(model, asked, data):
            kept.put(key, record.written(model, asked))
    return layers.catalog(model, asked)


def _parsed(data: bytes | None) -> ModelProto | None:
    try:
        return None if data is None else ModelProto.FromString(data)
    except DecodeError:
        return None


def _is_foreign(method: GraphMethod) -> bool:
    """Tell whether a method is not onnxcam's own: nothing says when its code changes."""
    rules = [method.emit, *(o.rule for o in method.backward().items)]
    return any(map(registry.is_foreign, rules)) or any(_is_foreign(graph(m)) for m in method.maps)


def key_of(model: Model, options: list[str]) -> str:
    """Return the name of an entry: a hash of all that it depends on."""
    found = hashlib.sha256(_code() + _content(model))
    for text in (model.sha256, *options):
        found.update(f"{len(text)}:{text}".encode())
    return found.hexdigest()


def _content(model: Model) -> bytes:
    """Return a hash of the graph and of the weights that the model's own hash leaves out."""
    if "content" not in model.findings:
        found = hashlib.sha256(model.light.SerializeToString(deterministic=True))
        for name in sorted(model.weights.external):
            found.update(model.weights[name].data)
        model.findings["content"] = found.digest()
    content: bytes = model.findings["content"]
    return content


@cache
def _code() -> bytes:
    """Return a hash of the versions and of the state of onnxcam's own files."""
    found = hashlib.sha256(f"{version.__version__} {onnx.__version__}".encode())
    package = Path(version.__file__).parent
    for path in sorted(package.rglob("*.py")):
        state = path.stat()
        found.update(f"{path.relative_to(package)} {state.st_size} {state.st_mtime_ns};".encode())
    return found.digest()
