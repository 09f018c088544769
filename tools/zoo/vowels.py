"""Who is speaking? A causal 1-D convolutional network on the Japanese Vowels data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from zoo.export import deterministic
from zoo.nodes import Nodes
from zoo.sources import AEON, read

Series = list[NDArray[np.float32]]

_FOLDER = "aeon/datasets/data/JapaneseVowels/"
_SEED, _EPOCHS, _BATCH = 0, 60, 27
_WIDTH = 5  # frames that a convolution sees


def load(part: str, cache: Path) -> tuple[Series, NDArray[np.int64]]:
    """Return the utterances of one part of the data, and who spoke them.

    Args:
        part: "TRAIN" (270) or "TEST" (370).
        cache: Folder that keeps the downloads.

    Returns:
        Arrays float32 [12 cepstrum coefficients, 7..29 frames]; speakers 0..8.

    Raises:
        BuildError: The data cannot be fetched or is not what was pinned.
    """
    text = read(AEON, f"{_FOLDER}JapaneseVowels_{part}.ts", cache).decode()
    lines = text.split("@data\n")[1].splitlines()
    rows = [line.split(":") for line in lines if line]
    series = [
        np.array([channel.split(",") for channel in row[:-1]], dtype=np.float32) for row in rows
    ]
    return series, np.array([int(row[-1]) - 1 for row in rows], dtype=np.int64)


class _Causal(nn.Module):
    """A convolution that sees no later frame, layer norm over the channels, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, _WIDTH)
        self.norm = nn.LayerNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, inputs, T] to [N, outputs, T]."""
        y = self.conv(nn.functional.pad(x, (_WIDTH - 1, 0)))
        return torch.relu(self.norm(y.transpose(1, 2)).transpose(1, 2))


class _SpeakerNet(nn.Module):
    """Two causal blocks, the mean over time, one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.block1 = _Causal(12, 32)
        self.block2 = _Causal(32, 64)
        self.fc = nn.Linear(64, 9)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Map utterances filled up with zeros [N, 12, T] to logits [N, 9].

        What is causal does not see the frames filled in behind, and the mean leaves them out.
        """
        y = self.block2(self.block1(x))
        real = torch.arange(x.shape[2]) < lengths[:, None]
        logits: Tensor = self.fc((y * real[:, None]).sum(2) / lengths[:, None])
        return logits


def _train(series: Series, speakers: NDArray[np.int64]) -> _SpeakerNet:
    """Return the trained network."""
    deterministic(_SEED)
    net = _SpeakerNet()
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _EPOCHS)
    frames = [torch.from_numpy(utterance.T) for utterance in series]
    x = nn.utils.rnn.pad_sequence(frames, batch_first=True).transpose(1, 2)
    y, lengths = torch.from_numpy(speakers), torch.tensor([len(frame) for frame in frames])
    for _ in range(_EPOCHS):
        for rows in torch.randperm(len(x)).split(_BATCH):
            logits = net(nn.functional.dropout(x[rows], 0.1), lengths[rows])
            loss = nn.functional.cross_entropy(logits, y[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        schedule.step()
    return net


def build(cache: Path) -> onnx.ModelProto:
    """Return the model: `cepstrum` float32 [N, 12, T] -> `prob` [N, 9].

    Raises:
        BuildError: The data cannot be fetched or is not what was pinned.
    """
    weights = _train(*load("TRAIN", cache)).state_dict()
    nodes = Nodes()
    names = {key: nodes.constant(value.numpy(), key) for key, value in weights.items()}
    x = "cepstrum"
    for block in ("block1", "block2"):
        conv = [x, names[f"{block}.conv.weight"], names[f"{block}.conv.bias"]]
        x = nodes.add("Conv", conv, f"{block}/conv", kernel_shape=[_WIDTH], pads=[_WIDTH - 1, 0])
        x = nodes.add("Transpose", [x], f"{block}/channels_last", perm=[0, 2, 1])
        norm = [x, names[f"{block}.norm.weight"], names[f"{block}.norm.bias"]]
        x = nodes.add("LayerNormalization", norm, f"{block}/norm", axis=-1, epsilon=1e-5)
        x = nodes.add("Transpose", [x], f"{block}/channels_first", perm=[0, 2, 1])
        x = nodes.add("Relu", [x], f"{block}/relu")
    x = nodes.add("GlobalAveragePool", [x], "mean")
    x = nodes.add("Flatten", [x], "features", axis=1)
    x = nodes.add("Gemm", [x, names["fc.weight"], names["fc.bias"]], "logits", transB=1)
    nodes.add("Softmax", [x], "prob", axis=1)
    return nodes.model("japanese_vowels", ("cepstrum", ["N", 12, "T"]), ("prob", ["N", 9]))


def samples(cache: Path) -> dict[str, tuple[NDArray[np.float32], dict[str, object]]]:
    """Return each speaker's first two test utterances: file stem -> (array [12, T], truth).

    Raises:
        BuildError: The data cannot be fetched or is not what was pinned.
    """
    series, speakers = load("TEST", cache)
    return {
        f"vowels_speaker{speaker + 1}_{take}": (series[row], {"class": speaker})
        for speaker in range(9)
        for take, row in enumerate(np.flatnonzero(speakers == speaker)[:2].tolist(), start=1)
    }
