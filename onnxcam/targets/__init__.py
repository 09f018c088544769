"""What is explained: targets, each a subgraph with one number for each input."""

from onnxcam.targets.asked import fitting, resolved
from onnxcam.targets.boxes import Box, Detection, Detections
from onnxcam.targets.classes import Margin, Probability, Score, Sum, as_targets, is_several
from onnxcam.targets.functions import Function
from onnxcam.targets.keypoints import Keypoint
from onnxcam.targets.names import TOP, resolve_target
from onnxcam.targets.regions import Region
from onnxcam.targets.target import Outputs, Target, Wanted

__all__ = [
    "TOP",
    "Box",
    "Detection",
    "Detections",
    "Function",
    "Keypoint",
    "Margin",
    "Outputs",
    "Probability",
    "Region",
    "Score",
    "Sum",
    "Target",
    "Wanted",
    "as_targets",
    "fitting",
    "is_several",
    "resolve_target",
    "resolved",
]
