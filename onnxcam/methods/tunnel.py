"""Maps of noisy copies of the input, put together: an option of any method that is one graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np

from onnxcam.errors import UsageError
from onnxcam.methods.gradient.smoothgrad import NOISE, SAMPLES, noisy
from onnxcam.methods.moments import Fourth, Moments
from onnxcam.methods.needs import Array, Ask, Input, Maps, Random
from onnxcam.methods.parameters import Parameter, Setting
from onnxcam.methods.registry import (
    Cost,
    Estimate,
    GraphMethod,
    Method,
    SampledMethod,
    convertible,
    graph,
)

TUNNEL = Parameter(
    "tunnel", str, "mean", None, None,
    "way to put maps of noisy copies of the input together: their mean (SmoothGrad's), variance "
    "(VarGrad's) or mean square (SmoothGrad-Squared's)",
    ("mean", "variance", "square"),
)  # fmt: skip


@dataclass(frozen=True)
class Tunnelled(SampledMethod):
    """A method whose map is put together of those of noisy copies of the input.

    Smilkov et al., SmoothGrad, 2017; Adebayo et al. 2018; Hooker et al. 2019: of the gradient.
    Captum's NoiseTunnel does it to any attribution, and so it is here: M = mean_i m(x + e_i), or
    var_i, or mean_i m^2, with e_i ~ N(0, s^2), s = noise (max x - min x), m the method's map after
    its negative part is cut off, where it does that. Captum puts each channel together; so is
    :attr:`Estimate.relief` here, where the method has one, while the map is made of maps.

    Attributes:
        inner: The method.
    """

    inner: GraphMethod | None = None

    @property
    def one(self) -> GraphMethod:
        """The method whose maps are put together."""
        assert self.inner is not None, "it is made with one"
        return self.inner

    @property
    def style(self) -> str:
        """How its maps are drawn."""
        return self.one.style

    @property
    def on_input(self) -> bool:
        """Whether the map is one of the input."""
        return self.one.on_input

    @property
    def takes_feature(self) -> bool:
        """Whether it has a feature layer."""
        return self.one.takes_feature

    @property
    def uses_gradient(self) -> bool:
        """Whether it is made of a gradient of the score."""
        return self.one.uses_gradient


def through_noise(methods: Sequence[Method], given: Mapping[str, Any]) -> list[Method]:
    """Return the methods as they are, or through noise where the parameters ask for it.

    Args:
        methods: Those that are named.
        given: Values for parameters; ``tunnel`` asks for it. Of several methods those that cannot
            are as they are.

    Raises:
        UsageError: It is asked for and none of them can.
    """
    if TUNNEL.name not in given or not methods:
        return [*methods]
    able = [m.name for m in methods if _reason(m) is None]
    if not able:
        raise UsageError(
            f"{methods[0].name} takes no tunnel: {_reason(methods[0])}",
            "leave it out, or take a method that is one graph, such as "
            "`method='input-x-gradient'` or `method='integrated-gradients'`",
        )
    return [_tunnelled(m, given) if m.name in able else m for m in methods]


def _reason(method: Method) -> str | None:
    """Return why noise cannot go through a method; None where it can."""
    if any(p.name in (SAMPLES.name, NOISE.name) for p in method.parameters):
        return "it draws samples itself"
    return None if method.name in convertible() else "it runs the model many times by itself"


def _tunnelled(method: Method, given: Mapping[str, Any]) -> Tunnelled:
    inner = graph(method.name)
    shared = {f.name: getattr(method, f.name) for f in fields(Method)}
    return Tunnelled(
        **{
            **shared,
            "kind": "repeated",
            "needs": (Input, Maps, Random),
            "parameters": (*method.parameters, TUNNEL, SAMPLES, NOISE),
            "cost": Cost(max(method.cost.each, 3), SAMPLES.name),
            "signed": method.signed and given[TUNNEL.name] == "mean",
        },
        estimate=partial(_estimate, method.rectify),
        anytime=True,
        inner=inner,
    )


class _Together:
    """What comes of many maps, and how sure it is.

    Args:
        how: "mean", "variance" or "square".
    """

    def __init__(self, how: str) -> None:
        self._square = how == "square"
        self._found: Moments | Fourth = Fourth() if how == "variance" else Moments()

    def add(self, value: Array) -> None:
        """Add a map."""
        self._found.add(np.square(value) if self._square else value)

    @property
    def value(self) -> Array:
        """What came of them."""
        found = self._found
        return found.variance if isinstance(found, Fourth) else found.mean

    @property
    def error(self) -> Array:
        """Its standard error."""
        return self._found.error


def _estimate(
    rectify: bool, x: Array, maps: Ask, rng: np.random.Generator, *, tunnel: str, samples: int,
    noise: float, **inner: Setting,
) -> Estimate:  # fmt: skip
    """Put the maps of noisy copies together; what is left of the settings is in the graph."""
    del inner
    signed, shown, relief = _Together(tunnel), _Together(tunnel), _Together(tunnel)
    parts = 0
    for found in maps(noisy(x, rng, samples, noise), samples):  # [K, 1 + C, *space]
        whole, rest = found[:, 0].astype(np.float64), found[:, 1:].astype(np.float64)
        signed.add(whole)
        shown.add(np.maximum(whole, 0) if rectify else whole)
        parts = rest.shape[1]
        if parts:
            relief.add(rest)
    own = relief.value if parts else None
    return Estimate(signed.value, shown.error, relief=own, raw=shown.value if rectify else None)
