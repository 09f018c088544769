"""`python -m onnxcam.cli` is `onnxcam`."""

from onnxcam.cli import main

main()
