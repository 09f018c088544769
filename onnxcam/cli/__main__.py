"""`python -m onnxcam.cli` is `onnxcam`."""

from onnxcam.cli.start import run

run()
