"""Model + method + target -> one graph that predicts and explains.

``graph`` writes it, from the ``quantities`` that methods need, made at ``places`` with known axes,
and brings the maps to the input's size (``resample``).
"""

from onnxcam.compose.graph import (
    CLASS,
    FEATURE,
    GRADIENT,
    MAP,
    SCORE,
    SIGNED,
    STEEPEST,
    TARGET,
    Explained,
    default_feature,
    explain_graph,
)

__all__ = [
    "CLASS",
    "FEATURE",
    "GRADIENT",
    "MAP",
    "SCORE",
    "SIGNED",
    "STEEPEST",
    "TARGET",
    "Explained",
    "default_feature",
    "explain_graph",
]
