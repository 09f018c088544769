"""Files and arrays -> the model's input tensor, by one description: `InputSpec`.

`resolve` finds the description (option, sidecar file, the model's metadata, Hugging Face's
files) and checks it against the model's own input; `prepare` turns a picture or a ready
array into the tensor. Nothing is guessed: where nothing says how the pixels become numbers,
`resolve` raises.
"""

from __future__ import annotations

from onnxcam.inputs.completion import resolve
from onnxcam.inputs.description import Description, class_names
from onnxcam.inputs.files import read_toml, to_metadata, write_toml
from onnxcam.inputs.labels import load_labels, noted
from onnxcam.inputs.spec import PRESETS, InputSpec, ModelInput, presets
from onnxcam.inputs.tensor import Input, Prepared, prepare

__all__ = [
    "PRESETS",
    "Description",
    "Input",
    "InputSpec",
    "ModelInput",
    "Prepared",
    "class_names",
    "load_labels",
    "noted",
    "prepare",
    "presets",
    "read_toml",
    "resolve",
    "to_metadata",
    "write_toml",
]
