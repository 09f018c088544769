"""Packages of the extras: imported where they are used, or asked for in one line."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from onnxcam.errors import UsageError


def needed(package: str, what: str, extra: str = "audit") -> Any:
    """Import a package of an extra.

    Args:
        package: Its name, as it is imported.
        what: What needs it, in words.
        extra: The extra that brings it.

    Raises:
        UsageError: It is not installed.
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise UsageError(
            f"{what}: {package} is not installed ({error})",
            f"install it: pip install 'onnxcam[{extra}]'",
        ) from None
