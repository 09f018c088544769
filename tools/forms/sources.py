"""The files that the forms are made of: MobileNetV2 and a ViT by each exporter."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import exporting
import numpy as np
import onnx
from envs import interpreter
from exporting import quiet
from survey.networks import pictures
from torch import Tensor, nn

from forms import torch_nets

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "models"
SHAPE = (3, 192, 256)
Array = np.ndarray[Any, Any]
EXPORTERS = (
    "torch script", "torch dynamo", "keras3", "tf2onnx", "tflite", "tfjs", "Paddle", "MXNet",
    "MATLAB", "Caffe2", "CNTK", "skl2onnx",
)  # fmt: skip
# Where the exporter cannot be had from a package registry, a file by it stands in: another network.
STAND_INS = {
    "MATLAB": "opendenoising_dncnn_from_matlab.onnx",
    "Caffe2": "squeezenet_fp16_winml_caffe2.onnx",
    "CNTK": "mnist_cntk_opset7.onnx",
}
ABSENT = {
    "tfjs": "tensorflowjs, which writes what it reads, has no release for the TensorFlow at hand",
    "skl2onnx": "scikit-learn has neither network, and nothing to lay a map over",
}


class NotMadeError(Exception):
    """A file could not be made; the message says why."""


@dataclass
class Source:
    """A file that an exporter wrote.

    Attributes:
        exporter: Who.
        network: "MobileNetV2", "ViT", or the stand-in's file name.
        path: The file.
        feeds: An input.
        target: The class that is explained: the one with the highest score.
        more: Ways to export again otherwise: "batch 8", "opset 9" ...
    """

    exporter: str
    network: str
    path: Path
    feeds: dict[str, Array]
    target: int = 0
    more: dict[str, Callable[[Path], None]] = field(default_factory=dict)


def source(exporter: str, network: str, folder: Path) -> Source:
    """Write (or find) an exporter's file of a network.

    Raises:
        NotMadeError: It cannot be made here.
    """
    if exporter in ABSENT:
        raise NotMadeError(ABSENT[exporter])
    if exporter in STAND_INS:
        path = SHARED / STAND_INS[exporter]
        if network != "MobileNetV2":
            raise NotMadeError(
                "no registry has the exporter, and no file of a ViT by it is at hand"
            )
        if not path.exists():
            raise NotMadeError(f"no registry has the exporter, and {path.name} is not at hand")
        return Source(exporter, path.name, path, _feeds(path))
    path = folder / f"{exporter.replace(' ', '-')}.{network}.onnx"
    if exporter.startswith("torch"):
        return _torch(exporter, network, path)
    if exporter == "keras3":
        return _keras(network, path)
    return _elsewhere(exporter, network, path)


def _torch(exporter: str, network: str, path: Path) -> Source:
    net, x = torch_nets.network(network), pictures(SHAPE, 1, seed=11)
    write = partial(exporting.write, dynamo=exporter == "torch dynamo")
    two, eight = x.repeat(2, 1, 1, 1), x.repeat(8, 1, 1, 1)
    if not path.exists():
        write(net, two, path)
    more = {
        "batch 1": lambda p: write(net, x, p, dynamic=False),
        "batch 8": lambda p: write(net, eight, p, dynamic=False),
        "fp16 torch half": lambda p: write(_half(net), two.half(), p),
        "no batch": lambda p: write(_Single(net).eval(), x[0], p, dynamic=False),
    }
    # dynamo writes opset 18 and lets onnx's converter do the rest, as the catalogue does
    numbers = range(7, 21) if exporter == "torch script" else range(18, 19)
    for number in numbers:
        more[f"opset {number}"] = lambda p, n=number: write(net, two, p, opset=n)  # type: ignore[misc]
    return Source(exporter, network, path, {"input": x.numpy()}, more=more)


class _Single(nn.Module):
    """A network of one picture, without a batch axis."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """Map [3, H, W] to [C]."""
        y: Tensor = self.net(x[None])[0]
        return y


def _half(net: nn.Module) -> nn.Module:
    import copy

    return copy.deepcopy(net).half()


def _keras(network: str, path: Path) -> Source:
    os.environ["KERAS_BACKEND"] = "torch"
    height, width = SHAPE[1:]
    x = pictures((height, width, 3), 1, seed=11)
    if not path.exists():
        net = torch_nets.keras_network(network, (height, width, 3))
        try:
            with quiet():
                net(x)
                net.export(str(path), format="onnx", verbose=False)
        except Exception as error:  # noqa: BLE001  # the exporter's
            said = " ".join(str(error).split())[:120]
            raise NotMadeError(f"keras: {type(error).__name__}: {said}") from None
    return Source("keras3", network, path, {_input(path): x.numpy()})


def _elsewhere(exporter: str, network: str, path: Path) -> Source:
    """Let the Python of another environment write the file; see makers.py."""
    name = {"tf2onnx": "tensorflow", "tflite": "tensorflow"}.get(exporter, exporter.lower())
    python = interpreter(name)
    if not path.exists():
        if not python.is_file():
            raise NotMadeError(f"no environment: python tools/envs.py {name}")
        maker = Path(__file__).with_name("makers.py")
        command = [str(python), str(maker), exporter, network, str(path)]
        others = {k: v for k, v in os.environ.items() if k not in ("KERAS_BACKEND", "PYTHONPATH")}
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=600, env=others
        )
        if done.returncode:
            raise NotMadeError(done.stderr.strip().splitlines()[-1][:200])
    return Source(exporter, network, path, _feeds(path))


def _feeds(path: Path) -> dict[str, Array]:
    graph = onnx.load(str(path), load_external_data=False).graph
    weights = {t.name for t in graph.initializer}
    port = next(i for i in graph.input if i.name not in weights)
    sizes = [d.dim_value for d in port.type.tensor_type.shape.dim]
    dtype = onnx.helper.tensor_dtype_to_np_dtype(port.type.tensor_type.elem_type)
    shape = tuple(d if d > 0 else s for d, s in zip(sizes, (1, *SHAPE), strict=True))
    return {port.name: pictures(shape[1:], 1, seed=11).numpy().astype(dtype)}


def _input(path: Path) -> str:
    return str(onnx.load(str(path)).graph.input[0].name)


@cache
def networks() -> tuple[str, ...]:
    """Return the networks' names."""
    return ("MobileNetV2", "ViT")


def every(folder: Path) -> Iterator[tuple[str, str, Source | str]]:
    """Yield exporter, network, and the source or why there is none."""
    for network in networks():
        for exporter in EXPORTERS:
            try:
                yield exporter, network, source(exporter, network, folder)
            except NotMadeError as error:
                yield exporter, network, str(error)
