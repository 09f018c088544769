"""The command line: parse, call the API, print, exit code. No maths."""

from onnxcam.cli import audit, convert, explain, look
from onnxcam.cli.group import main

__all__ = ["audit", "convert", "explain", "look", "main"]
