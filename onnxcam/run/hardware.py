"""What the machine has, as far as it can be told without asking ONNX Runtime."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from shutil import which


@dataclass(frozen=True)
class Provider:
    """Where a model runs.

    Attributes:
        name: ONNX Runtime's name of the execution provider.
        why: Why it was taken.
    """

    name: str
    why: str


def has_gpu() -> bool:
    """Tell whether the machine has a GPU of NVIDIA's, as far as its driver tells."""
    return Path("/dev/nvidiactl").exists() or Path("/dev/dxg").exists() or bool(which("nvidia-smi"))
