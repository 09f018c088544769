"""A transformer that finds a digit in clutter: trained in minutes, its boxes are known."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from architectures.export import export
from architectures.transformers import vit
from torch import nn

SIZE, PATCH, DIM, DEPTH = 40, 8, 48, 3
STEPS, BATCH = 1200, 32


def pictures(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, list[list[float]]]:
    """Return pictures float32 [N, 3, 40, 40], their digits, and boxes x, y, width, height."""
    rng, digits = np.random.default_rng(seed), _digits()
    x = rng.normal(0, 0.25, (count, 3, SIZE, SIZE)).astype("f4")
    labels, boxes = [], []
    for picture in x:
        for _ in range(4):  # pieces of digits, which are none
            piece = digits.images[rng.integers(1500)] / 16
            size = int(rng.integers(4, 7))
            y, left = rng.integers(0, SIZE - size, 2)
            cut = piece[:4, :4].repeat(2, 0).repeat(2, 1)[:size, :size]
            picture[:, y : y + size, left : left + size] += cut * rng.random((3, 1, 1))
        which = int(rng.integers(1500))
        large = digits.images[which].repeat(2, 0).repeat(2, 1) / 16
        y, left = rng.integers(0, SIZE - 16, 2)
        colour = 0.6 + 0.9 * rng.random((3, 1, 1))
        picture[:, y : y + 16, left : left + 16] += large * colour
        labels.append(int(digits.target[which]))
        boxes.append([float(left), float(y), 16.0, 16.0])
    return x, np.array(labels), boxes


@cache
def _digits() -> Any:
    from sklearn.datasets import load_digits

    return load_digits()


def made(path: Path) -> Path:
    """Train it and write the file, where there is none."""
    if path.exists():
        return path
    torch.manual_seed(0)
    torch.set_num_threads(1)
    net: Any = vit(DIM, DEPTH, 4, PATCH, SIZE, 10)
    for tensor in net.parameters():
        if tensor.ndim > 1:
            nn.init.trunc_normal_(tensor, std=0.05)
    best = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=0.01)
    plan = torch.optim.lr_scheduler.OneCycleLR(best, 2e-3, total_steps=STEPS)
    net.train()
    for step in range(STEPS):
        x, labels, _ = pictures(BATCH, 1000 + step)
        loss = nn.functional.cross_entropy(net(torch.from_numpy(x))[0], torch.from_numpy(labels))
        best.zero_grad()
        loss.backward()
        best.step()
        plan.step()
    onnx.save(export(net.eval(), torch.from_numpy(x[:2]), dynamo=False, feature=False), str(path))
    return path
