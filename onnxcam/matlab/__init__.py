"""MATLAB's functions for explanations, with their arguments and results, for who comes from there.

They are the Deep Learning Toolbox's ``gradCAM``, ``occlusionSensitivity``, ``imageLIME`` and the
Computer Vision Toolbox's ``drise`` (R2026b). What differs is said with each; what is ONNX's stays:
classes are counted from 0, layers are named as in the file, and nothing is normalised by the
network itself.
"""

from onnxcam.matlab.gradients import grad_cam
from onnxcam.matlab.perturbations import d_rise, image_lime, occlusion_sensitivity

__all__ = ["d_rise", "grad_cam", "image_lime", "occlusion_sensitivity"]
