"""`onnxcam completion`, and what options complete to: methods, layers, colour maps, labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import click

from onnxcam.cli.group import COMPLETE, main
from onnxcam.cli.options import options

_SHELLS = ("bash", "zsh", "fish")


@main.command("completion", short_help="Print the completion of a shell.")
@options(click.argument("shell", type=click.Choice(_SHELLS, case_sensitive=False)))
def completion_command(shell: str) -> None:
    """Print what makes SHELL complete onnxcam's words: methods, layers, colour maps, labels.

    To keep it: `onnxcam completion bash > ~/.local/share/bash-completion/completions/onnxcam`,
    `onnxcam completion zsh` to a file _onnxcam in a folder of $fpath, `onnxcam completion fish` to
    ~/.config/fish/completions/onnxcam.fish. For one session: `eval "$(onnxcam completion bash)"`.
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None, "the choice has only shells that click knows"
    click.echo(found(main, {}, "onnxcam", COMPLETE).source())


def completed(words: Callable[[click.Context], Iterable[str]]) -> Callable[..., Any]:
    """Return what click asks for the words that begin as what was typed, in any case."""

    def complete(ctx: click.Context, param: click.Parameter, typed: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        try:
            known = list(words(ctx))
        except Exception:  # noqa: BLE001 - a shell that completes has nowhere to say what is wrong
            return []
        return [CompletionItem(w) for w in known if w.casefold().startswith(typed.casefold())]

    return complete


def _model(ctx: click.Context) -> str:
    """Return the model on the command line; click leaves it where the last option has no value."""
    return str(ctx.params.get("model") or ctx.args[0])


def methods(ctx: click.Context) -> Iterable[str]:
    """Return the methods that the command takes."""
    from onnxcam.methods import names

    return names("graph" if ctx.info_name == "convert" else None)


def layers(ctx: click.Context) -> Iterable[str]:
    """Return the layers of the model on the command line that can be explained."""
    from onnxcam.analysis.layers import Asked
    from onnxcam.model.model import load
    from onnxcam.run.cache import analysed
    from onnxcam.run.store import store

    found = analysed(load(_model(ctx)), Asked(), store())
    return [c.name for c in found.candidates if c.usable]


def labels(ctx: click.Context) -> Iterable[str]:
    """Return the names of the classes of the model on the command line."""
    from onnxcam import Explainer

    return Explainer(_model(ctx), labels=ctx.params.get("labels")).labels or ()


def colours(ctx: click.Context) -> Iterable[str]:
    """Return the colour maps."""
    from onnxcam.output.render import COLORMAPS

    return COLORMAPS


def presets(ctx: click.Context) -> Iterable[str]:
    """Return the ways to prepare a picture that have a name."""
    from onnxcam.inputs import PRESETS

    return PRESETS


_WORDS = {
    "methods": methods, "feature_layers": layers, "targets": labels, "against": labels,
    "colormap": colours, "preprocess": presets,
}  # fmt: skip


def add_to(group: click.Group) -> None:
    """Let the options of all commands of a group complete."""
    for command in group.commands.values():
        for param in command.params:
            words = _WORDS.get(str(param.name))
            if words is not None and isinstance(param, click.Option):
                param._custom_shell_complete = completed(words)
