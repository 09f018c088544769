"""The `onnxcam` command itself."""

from __future__ import annotations

import traceback
import warnings
from typing import Any

import click

from onnxcam.cli.words import in_shell, options_of
from onnxcam.errors import OnnxcamError, UsageError
from onnxcam.version import __version__


class _Commands(click.Group):
    """Turns the package's own errors into one line and an exit code, and warnings into a line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _say  # type: ignore[assignment]
                return super().invoke(ctx)
        except OnnxcamError as error:
            if ctx.params.get("debug"):
                traceback.print_exc()
            click.echo(f"onnxcam: {spoken(error)}", err=True)
            ctx.exit(2 if isinstance(error, UsageError) else 1)


def spoken(message: object) -> str:
    """Return an error or another message of the library in the words of the shell."""
    return in_shell(str(message), options_of(main))


def _say(message: Warning | str, *_: Any) -> None:
    click.echo(f"onnxcam: {spoken(message)}", err=True)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="onnxcam")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(debug: bool) -> None:
    """Explain any ONNX model with nothing but ONNX Runtime."""
