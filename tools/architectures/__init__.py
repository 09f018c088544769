"""Twenty-one architectures as torch modules, with calibrated random weights: no files, no network.

The tests use small ones, the benchmark the full sizes of the papers. The definitions are written
from the papers; what matters is each family's pattern of operators and how torch's two exporters
spell it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from architectures import convnets, dense, mobile, transformers
from architectures.mobile import EFFICIENTNET_B0, MOBILENET_V2, MOBILENET_V3_SMALL, Row, Stage


@dataclass(frozen=True)
class Architecture:
    """A family of networks; calling one gives (output, feature).

    Attributes:
        small: Makes one for the tests.
        shape: Its input without the batch.
        full: Makes one of the paper's size, for the benchmark; None where there is no need.
        full_shape: Its input without the batch.
        words: The input holds this many different integers; 0: it holds floats.
    """

    small: Callable[[], nn.Module]
    shape: tuple[int, ...]
    full: Callable[[], nn.Module] | None = None
    full_shape: tuple[int, ...] = (3, 224, 224)
    words: int = 0


ARCHITECTURES = {
    "vgg16": Architecture(
        lambda: convnets.vgg((4, 8, 8), (1, 2, 2), 12, 5, 2),
        (3, 32, 32),
        lambda: convnets.vgg((64, 128, 256, 512, 512), (2, 2, 3, 3, 3), 4096, 1000, 7),
    ),
    "squeezenet": Architecture(
        lambda: convnets.squeezenet(2, 5), (3, 45, 45), lambda: convnets.squeezenet(16, 1000)
    ),
    "googlenet": Architecture(lambda: convnets.googlenet(2, (1, 1), 5), (3, 44, 44)),
    "resnet50": Architecture(
        lambda: convnets.resnet(6, (1, 1, 2), 5),
        (3, 40, 40),
        lambda: convnets.resnet(64, (3, 4, 6, 3), 1000),
    ),
    "regnet": Architecture(
        lambda: convnets.regnet(8, (8, 16), (1, 2), 4, 5),
        (3, 26, 26),
        lambda: convnets.regnet(32, (48, 104, 208, 440), (1, 3, 6, 6), 8, 1000),
    ),
    "densenet121": Architecture(
        lambda: convnets.densenet(4, (2, 2), 5),
        (3, 40, 40),
        lambda: convnets.densenet(32, (6, 12, 24, 16), 1000),
    ),
    "mobilenet_v2": Architecture(
        lambda: mobile.mobilenet_v2((Stage(1, 16, 1, 1), Stage(3, 24, 2, 2)), 0.25, 5, 12),
        (3, 28, 28),
        lambda: mobile.mobilenet_v2(MOBILENET_V2, 1.0, 1000),
    ),
    "mobilenet_v3": Architecture(
        lambda: mobile.mobilenet_v3(
            (Row(3, 16, 16, True, False, 2), Row(5, 24, 16, True, True, 1)), 12, 10, 5
        ),
        (3, 28, 28),
        lambda: mobile.mobilenet_v3(MOBILENET_V3_SMALL, 576, 1024, 1000),
    ),
    "shufflenet": Architecture(
        lambda: mobile.shufflenet(6, (8, 16), (2, 2), 12, 5),
        (3, 36, 36),
        lambda: mobile.shufflenet(24, (116, 232, 464), (4, 8, 4), 1024, 1000),
    ),
    "efficientnet_b0": Architecture(
        lambda: mobile.efficientnet(
            (Stage(1, 8, 1, 1), Stage(3, 12, 2, 2, 5)), 5, stem=8, last=12
        ),
        (3, 25, 25),
        lambda: mobile.efficientnet(EFFICIENTNET_B0, 1000),
    ),
    "convnext": Architecture(
        lambda: transformers.convnext((8, 12), (1, 2), 5),
        (3, 32, 32),
        lambda: transformers.convnext((96, 192, 384, 768), (3, 3, 9, 3), 1000),
    ),
    "vit_b": Architecture(
        lambda: transformers.vit(12, 2, 2, 8, 32, 5),
        (3, 32, 32),
        lambda: transformers.vit(768, 12, 12, 16, 224, 1000),
    ),
    "deit_s": Architecture(
        lambda: transformers.deit(12, 2, 3, 8, 32, 5),
        (3, 32, 32),
        lambda: transformers.vit(384, 12, 6, 16, 224, 1000, "spelled"),
    ),
    "swin": Architecture(
        lambda: transformers.swin(8, (2, 2), (2, 4), 4, 8, 5),
        (3, 32, 32),
        lambda: transformers.swin(96, (2, 2, 6, 2), (3, 6, 12, 24), 7, 56, 1000),
    ),
    "unet_transposed": Architecture(
        lambda: dense.UNet(4, 3, 3, transposed=True), (3, 24, 24)
    ),
    "unet_resize": Architecture(lambda: dense.UNet(4, 3, 3, transposed=False), (3, 22, 26)),
    "lraspp": Architecture(
        lambda: dense.LRASPP(
            (Row(3, 16, 12, False, False, 2),), (Row(5, 24, 12, True, True, 1, 2),), 16, 8, 3
        ),
        (3, 30, 30),
    ),
    "detector": Architecture(lambda: dense.Detector(6, 3, 64), (3, 64, 64)),
    "sound_lstm": Architecture(lambda: dense.sound(6, 5, gru=False), (1, 60)),
    "sound_gru": Architecture(lambda: dense.sound(6, 5, gru=True), (1, 60)),
    "volume": Architecture(lambda: dense.volume(4, 5), (1, 7, 12, 12)),
    "text": Architecture(lambda: transformers.TextEncoder(20, 12, 3, 2, 5), (9,), words=20),
}  # fmt: skip
