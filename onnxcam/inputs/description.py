"""What is said of a model's input and classes: looked up once, for whoever asks."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from onnxcam.errors import NoDescriptionError, bounded
from onnxcam.inputs.completion import resolve
from onnxcam.inputs.labels import load_labels
from onnxcam.inputs.places import gather
from onnxcam.inputs.spec import InputSpec, ModelInput
from onnxcam.inputs.tensor import Prepared, is_picture, prepare

_NOTHING = ("nothing", "background", "bg", "noobject", "noclass", "notanobject")
Labels: TypeAlias = "Sequence[str] | str | os.PathLike[str] | None"


def class_names(labels: Labels) -> tuple[str, ...] | None:
    """Return the names of classes from what a caller gives: names, a file with them, or None."""
    if labels is None:
        return None
    if isinstance(labels, str | os.PathLike):
        return load_labels(Path(labels))
    return tuple(labels)


@dataclass(frozen=True)
class Description:
    """How pictures become a model's input, and what its classes are called.

    Attributes:
        declared: The input as the model declares it.
        model_path: The model's file; None for one in memory.
        metadata: The model's ``metadata_props``.
        preprocess: What a caller says: a preset, a TOML file, a spec, or None.
        given: Names of the classes that a caller gives, None for none.
        files: The sha256 of the files that were read for it, by name, where they were noted.
    """

    declared: ModelInput
    model_path: Path | None
    metadata: Mapping[str, str]
    preprocess: str | os.PathLike[str] | InputSpec | None = None
    given: tuple[str, ...] | None = None
    files: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def spec(self) -> InputSpec:
        """How a picture becomes the input tensor.

        Raises:
            NoDescriptionError: Nothing says; the hint shows what to type.
            UsageError: What is said is wrong.
        """
        return resolve(
            self.declared,
            model_path=self.model_path,
            metadata=self.metadata,
            option=self.preprocess,
        )

    @property
    def spec_if_said(self) -> InputSpec | None:
        """The same, None where nothing says it.

        Raises:
            UsageError: What is said is wrong.
        """
        try:
            return self.spec
        except NoDescriptionError:
            if self.preprocess is not None:
                raise
            return None

    @cached_property
    def labels(self) -> tuple[str, ...] | None:
        """Names of the classes, None where nothing says them.

        Raises:
            UsageError: What describes the input is wrong.
        """
        if self.given is not None:
            return self.given
        try:
            return self.spec.labels
        except NoDescriptionError as nothing:
            return nothing.labels  # ready arrays need no description

    @cached_property
    def detector(self) -> Mapping[str, Any] | None:
        """What is said of a detector's outputs, None where nothing says anything.

        Raises:
            UsageError: What describes the input is wrong.
        """
        said = gather(self.model_path, self.metadata, self.preprocess)[0].get("detector")
        return None if said is None else dict(said)

    def of_detector(self, given: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        """Return what is known of a detector's outputs, None for nothing.

        A first or last class of a name such as "background" is the one that stands for nothing.

        Args:
            given: What a caller says, in place of what the description does; None for nothing.
        """
        said = given or self.detector
        ends = [] if said and "nothing" in said else [e for e in (0, -1) if self._is_nothing(e)]
        return said if len(ends) != 1 else {**(said or {}), "nothing": ends[0]}

    def _is_nothing(self, place: int) -> bool:
        label = self.labels[place] if self.labels else ""
        return re.sub(r"[\W_]+", "", label).casefold() in _NOTHING

    @bounded("the input cannot be prepared")
    def prepare(self, x: Any) -> Prepared:
        """Turn a picture or a ready array, which needs no description, into the input tensor.

        Raises:
            NoDescriptionError: It is a picture, and nothing says how that becomes the input.
            UsageError: What is said is wrong, or the input is of a wrong type.
            InputError: It cannot be read or does not fit.
        """
        spec = self.spec if is_picture(x, self.declared) else InputSpec(pictures=False)
        return prepare(x, spec, self.declared)
