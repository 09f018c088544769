"""The options that come from the methods' parameters."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import click

if TYPE_CHECKING:
    from onnxcam.methods.needs import Kind
    from onnxcam.methods.parameters import Parameter

_PREFIX = "parameter_"  # of the names under which click hands them on
_METAVARS = {int: "N", float: "X", str: "TEXT"}


class Configured(click.Command):
    """A command with an option for every parameter of the methods, looked up when it is used.

    Attributes:
        kind: The kind of the methods; None for all.
    """

    kind: ClassVar[Kind | None] = None

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the parameters of the command, those of the methods before ``--help``."""
        own = super().get_params(ctx)
        return [*own[:-1], *_options(self.kind), *own[-1:]]


@cache
def _options(kind: Kind | None) -> list[click.Parameter]:
    from onnxcam import methods
    from onnxcam.methods.tunnel import TUNNEL

    found: dict[str, dict[str, list[str]]] = {}  # name -> what is said of it -> methods
    kinds: dict[str, Any] = {}
    forms: dict[str, str | None] = {}
    names = methods.convertible() if kind == "graph" else methods.names(kind)
    for method in map(methods.find, names):
        for p in method.parameters:
            said = f"{p.help}: {p.range} [default: {p.default}]"
            found.setdefault(p.name, {}).setdefault(said, []).append(method.name)
            kinds[p.name] = click.Choice(p.choices) if p.choices else str if p.each else p.kind
            forms[p.name] = "X[xX...]" if p.each else _METAVARS.get(kinds[p.name])
    own: list[click.Parameter] = [] if kind == "graph" else [_of_any(TUNNEL)]
    options: list[click.Parameter] = [
        click.Option(
            [f"--{name.replace('_', '-')}", _PREFIX + name],
            type=kinds[name],
            metavar=forms[name],
            help=" ".join(f"With --method {'|'.join(m)}, the {text}." for text, m in said.items()),
        )
        for name, said in found.items()
    ]
    return own + options


def _of_any(p: Parameter) -> click.Option:
    """Return the option of a parameter that methods have where it is given."""
    return click.Option(
        [f"--{p.name}", _PREFIX + p.name],
        type=click.Choice(p.choices),
        help=f"With any method that can be converted and draws no samples, the "
        f"{p.help}; of as many and as noisy ones as --method smoothgrad takes.",
    )


def taken(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split what click hands on.

    Returns:
        The parameters of methods that were given, by name; and all other options.
    """
    given = {
        name.removeprefix(_PREFIX): value
        for name, value in options.items()
        if name.startswith(_PREFIX) and value is not None
    }
    return given, {k: v for k, v in options.items() if not k.startswith(_PREFIX)}
