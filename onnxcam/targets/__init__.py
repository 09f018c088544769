"""What is explained: targets, each a subgraph with one number for each input."""

from onnxcam.targets.asked import as_targets, fitting, is_several, resolved
from onnxcam.targets.boxes import Box, Detection, Detections
from onnxcam.targets.classes import Margin, Probability, Score, Sum
from onnxcam.targets.finer import Finer
from onnxcam.targets.functions import Function
from onnxcam.targets.keypoints import Keypoint
from onnxcam.targets.names import TOP, resolve_target
from onnxcam.targets.probabilities import Binary, LogProbability
from onnxcam.targets.regions import Region
from onnxcam.targets.similarity import Similarity
from onnxcam.targets.steps import At
from onnxcam.targets.target import Outputs, Target, Wanted

__all__ = [
    "TOP",
    "At",
    "Binary",
    "Box",
    "Detection",
    "Detections",
    "Finer",
    "Function",
    "Keypoint",
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
