"""Explanations where people look at them: notebooks, matplotlib, xarray.

``e`` is an :class:`onnxcam.output.explanation.Explanation`, which imports this.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Unpack

from onnxcam.errors import OnnxcamError, UsageError, json_text, plain
from onnxcam.output import render
from onnxcam.output.records import summary

_DIMENSIONS = {1: ("t",), 2: ("y", "x"), 3: ("z", "y", "x")}


class Shown:
    """What an explanation does where people look at it."""

    figure: Callable[..., Any]

    def show(self) -> None:
        """Show the figure in the system's viewer of pictures."""
        self.figure().show()

    def plot(
        self,
        ax: Any = None,
        style: render.Style | None = None,
        **options: Unpack[render.Blending],
    ) -> Any:
        """Draw the map on axes of matplotlib (the extra ``notebook``).

        Args:
            ax: The axes; None makes a figure.
            style: As in :meth:`image`.
            options: As in :meth:`image`.

        Returns:
            The axes.

        Raises:
            OnnxcamError: matplotlib is not installed, or the map is one of a volume.
        """
        return plotted(self, ax, style, options)

    def tokens(self, tokens: Any) -> Any:
        """Return the map of a text by its tokens, to be shown as HTML or on a terminal.

        Args:
            tokens: A `tokenizer.json` or a file with a token in each line, a
                :class:`onnxcam.inputs.vocabulary.Vocabulary`, or the tokens themselves.

        Returns:
            A :class:`onnxcam.output.wording.Wording`; its ``words()`` puts pieces together.

        Raises:
            InputError: The map has not one value for each token, or a file cannot be read.
        """
        from onnxcam.output.wording import wording  # late: few inputs are texts

        return wording(self, tokens)

    def to_xarray(self) -> Any:
        """Return the map as an ``xarray.DataArray`` (the extra ``notebook``), facts as attributes.

        Raises:
            OnnxcamError: xarray is not installed.
        """
        return as_xarray(self)

    def _repr_png_(self) -> bytes | None:
        """Return what a notebook shows; nothing of what cannot be drawn."""
        try:
            return render.png_bytes(self.figure())
        except OnnxcamError:
            return None

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the figure, method, target and diagnosis."""
        return as_html(self)


def as_html(e: Any) -> str:
    """Return the figure and what it is of; the facts alone where nothing can be drawn."""
    from onnxcam.output import html  # late: only notebooks ask

    said: dict[str, object] = {
        "explained": e.title,
        "method": f"{e.method} at {e.feature_layer}",
        "parameters": ", ".join(f"{k} {v}" for k, v in e.parameters.items()),
        "gradient": e.gradient,
        "diagnosis": "; ".join(e.diagnosis) or "nothing looks wrong",
    }
    try:
        shown = html.picture(render.png_bytes(e.figure()), e.title)
    except OnnxcamError as error:
        said["picture"] = f"none: {error}"
        shown = ""
    return shown + html.facts(said)


def plotted(e: Any, ax: Any, style: render.Style | None, options: Any) -> Any:
    """Draw on matplotlib's axes; see :meth:`Explanation.plot`."""
    try:
        from matplotlib import pyplot
    except ImportError:
        raise OnnxcamError(
            "matplotlib is not installed", "install it: pip install 'onnxcam[notebook]'"
        ) from None
    if e.map.ndim == 3:
        raise UsageError("a volume has no axes of matplotlib", "use figure()")
    axes = pyplot.subplots()[1] if ax is None else ax
    if e.map.ndim == 2:
        axes.imshow(e.image(style, **options))
        axes.set_axis_off()
    else:
        axes.plot(e.map)
        axes.axhline(0, linewidth=0.5)
        axes.set_ylabel("importance")
    axes.set_title(plain(e.title))
    return axes


def as_xarray(e: Any) -> Any:
    """Return the map with names of its axes; see :meth:`Explanation.to_xarray`."""
    try:
        from xarray import DataArray
    except ImportError:
        raise OnnxcamError(
            "xarray is not installed", "install it: pip install 'onnxcam[notebook]'"
        ) from None
    said = {k: v for k, v in summary(e).items() if v is not None and k not in ("map", "top")}
    simple = {
        k: v if isinstance(v, str | int | float) else json_text(v, None) for k, v in said.items()
    }
    return DataArray(e.map, dims=_DIMENSIONS[e.map.ndim], name=e.method, attrs=simple)
