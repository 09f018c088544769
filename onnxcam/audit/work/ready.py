"""A sample that is decoded and prepared, and waits for its turn."""

from __future__ import annotations

from dataclasses import dataclass, field

from onnxcam.audit.data import Loaded, Sample
from onnxcam.errors import InternalError, OnnxcamError
from onnxcam.inputs import Prepared


@dataclass(frozen=True)
class Ready:
    """A sample before it is explained.

    Attributes:
        sample: What the data set says of it.
        loaded: Its content; None where it cannot be read.
        prepared: The input of each model, by the model's name; or why there is none.
        error: Why it cannot be read.
    """

    sample: Sample
    loaded: Loaded | None
    prepared: dict[str, Prepared | OnnxcamError] = field(default_factory=dict)
    error: OnnxcamError | None = None

    def input_of(self, name: str) -> Prepared | OnnxcamError:
        """Return what a model takes, or why there is nothing."""
        missing = self.error or InternalError("the sample was not prepared")
        return missing if self.error is not None else self.prepared.get(name, missing)
