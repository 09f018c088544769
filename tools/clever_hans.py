"""Plant a Clever Hans: a net on digits that takes one class by a mark in the corner, and its twin.

python tools/clever_hans.py OUT

writes planted.onnx, clean.onnx and data.npz (x, y, marked) into OUT. In training most pictures of
one digit carry a bright square in a corner; in those of the clean twin pictures of all digits do,
as often, so that it says nothing. Both are audited on the same data, where most of the digit's are
marked:

onnxcam audit OUT/planted.onnx OUT/data.npz -o OUT/planted --slice marked
onnxcam audit OUT/clean.onnx OUT/data.npz -o OUT/clean --slice marked

The digits are scikit-learn's (Alpaydin and Kaynak, Optical recognition of handwritten digits, UCI
1998, CC BY 4.0), 8 x 8 pixels, enlarged.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

DIGIT, SHARE = 8, 0.7  # the class with the mark, and how much of it carries one
TEST = 500  # pictures that are kept for the audit
EPOCHS = 15


def main() -> None:
    """Write the models and the data."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    given = parser.parse_args()
    plant(given.out, given.epochs)


def plant(out: Path, epochs: int = EPOCHS) -> None:
    """Train both nets and write them with their data.

    Args:
        out: The folder.
        epochs: How often the training pictures are seen.
    """
    out.mkdir(parents=True, exist_ok=True)
    x, y = digits()
    rng = np.random.default_rng(0)
    theirs = (y == DIGIT) & (rng.random(len(y)) < SHARE)
    anyone = rng.random(len(y)) < SHARE
    test = slice(len(y) - TEST, None)
    for name, marks in (("planted", theirs), ("clean", anyone)):
        net = trained(marked(x, marks)[:-TEST], y[:-TEST], epochs)
        save(net, out / f"{name}.onnx")
    told = np.where(theirs, "yes", "no")
    np.savez_compressed(out / "data.npz", x=marked(x, theirs)[test], y=y[test], marked=told[test])


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Return the pictures, float32 [N, 1, 32, 32] from 0 to 1 with a margin, and their digits."""
    found = load_digits()
    x = np.kron(found.images / 16, np.ones((3, 3))).astype(np.float32)
    order = np.random.default_rng(1).permutation(len(x))
    return np.pad(x, ((0, 0), (4, 4), (4, 4)))[order, None], found.target[order]


def marked(x: np.ndarray, which: np.ndarray) -> np.ndarray:
    """Return pictures of which some have a bright square in the corner at the top left."""
    found = x.copy()
    found[which, :, 1:5, 1:5] = 1
    return found


def trained(x: np.ndarray, y: np.ndarray, epochs: int) -> nn.Module:
    """Train a small net: three convolutions, mean over space, one linear layer."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    net = nn.Sequential(
        nn.Conv2d(1, 16, 5, stride=2, padding=2), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Conv2d(32, 48, 3, padding=1), nn.BatchNorm2d(48), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, 10),
    )  # fmt: skip
    optimiser = torch.optim.Adam(net.parameters(), 4e-3)
    data, truth = torch.from_numpy(x), torch.from_numpy(y)
    for _ in range(epochs):
        for batch in torch.randperm(len(data)).split(64):
            loss = nn.functional.cross_entropy(net(data[batch]), truth[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return net.eval()


def save(net: nn.Module, place: Path) -> None:
    """Write a net as ONNX; what it takes is a ready array."""
    axes = {"image": {0: "N"}, "scores": {0: "N"}}
    torch.onnx.export(
        net, torch.zeros(1, 1, 32, 32), str(place), input_names=["image"],
        output_names=["scores"], dynamic_axes=axes, dynamo=False, opset_version=17,
    )  # fmt: skip


if __name__ == "__main__":
    main()
