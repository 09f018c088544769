"""What is explained: targets, each a subgraph with one number for each input."""

from onnxcam.targets.asked import as_targets, fitting, is_several, resolved
from onnxcam.targets.classes import Margin, Probability, Score, Sum
from onnxcam.targets.finer import Finer
from onnxcam.targets.functions import Function
from onnxcam.targets.names import TOP, resolve_target
from onnxcam.targets.places import Box, Detection, Region
from onnxcam.targets.probabilities import Binary, LogProbability
from onnxcam.targets.similarity import Similarity
from onnxcam.targets.steps import At
from onnxcam.targets.target import Outputs, Target, Wanted

__all__ = [
    "TOP",
    "At",
    "Binary",
    "Box",
    "Detection",
    "Finer",
    "Function",
    "LogProbability",
    "Margin",
    "Outputs",
    "Probability",
    "Region",
    "Score",
    "Similarity",
    "Sum",
    "Target",
    "Wanted",
    "as_targets",
    "fitting",
    "is_several",
    "resolve_target",
    "resolved",
]
