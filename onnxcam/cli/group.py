"""The `onnxcam` command itself."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from contextlib import suppress
from functools import partial
from typing import Any

import click

from onnxcam.cli import watch
from onnxcam.cli.options import hush
from onnxcam.cli.words import in_shell, options_of
from onnxcam.errors import OnnxcamError, UsageError, plain, told, unwritten
from onnxcam.files import is_watched, sparing
from onnxcam.run import bounds, crashed
from onnxcam.version import __version__

COMPLETE = "_ONNXCAM_COMPLETE"  # set by a shell that asks what a word could become
# An audit goes on in its folder, `inputs` may write a better description in place of one.
_SPARING = frozenset(("explain", "text", "convert", "compare", "concepts", "diff"))
_STAYS = "files that were written are whole, and stay"
_MOST = 900  # characters of what is said in one line


class _Commands(click.Group):
    """Turns every error into one line and an exit code, and warnings into a line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command by its name, in any case; one that is misspelt is guessed in the error."""
        name = args[0].casefold()
        if name in self.commands:
            if name in _SPARING:
                ctx.with_resource(sparing())
            return super().resolve_command(ctx, [name, *args[1:]])
        from difflib import get_close_matches  # late: only mistakes need it

        close = get_close_matches(name, self.commands, 1)
        if close and not ctx.resilient_parsing:
            ctx.fail(f"No such command {args[0]!r}. Did you mean {close[0]!r}?")
        return super().resolve_command(ctx, args)

    def main(self, args: Any = None, *more: Any, **options: Any) -> Any:
        """Run the command; from a shell in a process that is watched."""
        if args is not None or more or options:
            return super().main(args, *more, **options)
        for stream in (sys.stdout, sys.stderr):
            with suppress(AttributeError, ValueError):  # there is none, or it is another's
                stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        # The variable is the same for `python -m onnxcam`.
        start = partial(super().main, complete_var=COMPLETE)
        return watch.watched(start)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _say  # type: ignore[assignment]
                result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            if is_watched():  # who watches says it, and ends with the number of the signal
                ctx.exit(1)
            raise
        except Exception as error:  # noqa: BLE001 - the last of the boundaries
            self._fail(ctx, error)

    def _fail(self, ctx: click.Context, error: Exception) -> None:
        if ctx.params.get("debug"):
            for line in traceback.format_exc().splitlines():
                click.echo(plain(line), err=True)
        failed = error if isinstance(error, OnnxcamError) else told(error, "the command fails")
        if isinstance(error, OSError) and _is_of_output(error):
            failed = unwritten(error, "standard output")
            failed = OnnxcamError(failed.message, f"{failed.hint}; {_STAYS}")
        with suppress(OSError):
            click.echo(f"onnxcam: {spoken(failed)}", err=True)
        _let_go()
        ctx.exit(2 if isinstance(failed, UsageError) else 1)


def spoken(message: object) -> str:
    """Return an error or another message of the library in the words of the shell, one line."""
    return plain(in_shell(str(message), options_of(main)), _MOST)


def _say(message: Warning | str, *_: Any) -> None:
    click.echo(f"onnxcam: {spoken(message)}", err=True)


def _is_of_output(error: OSError) -> bool:
    """Tell whether standard output did not take what was said: nothing else has no name here."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    home = str(frame.f_globals.get("__name__", ""))
    return error.filename is None and home.startswith(("click.", "rich.", "onnxcam.cli."))


def _let_go() -> None:
    """Leave what standard output cannot take, as on a full disk: Python would try it again."""
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="onnxcam")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option("-v", "--verbose", count=True, help="Tell what is done, and when; -vv all.")
@click.option("-q", "--quiet", is_flag=True, help="Tell nothing but errors.")
@click.option(
    "--untrusted",
    is_flag=True,
    help="The files are a stranger's: bound memory, processor time and time.",
)
def main(debug: bool, verbose: int, quiet: bool, untrusted: bool) -> None:
    """Explain any ONNX model with nothing but ONNX Runtime."""
    hush(quiet=quiet)
    if verbose:
        from onnxcam.cli import logs  # late: few ask for it

        logs.start(verbose)
    if untrusted or _crashed_before():
        bounds.bound()


def _crashed_before() -> bool:
    """Tell, and say, whether a file that is given made native code crash before."""
    found = crashed.among(watch.given()) if is_watched() else []
    if found:
        _say(f"{found[0]} ended a command before: it is bounded as with --untrusted")
    return bool(found)
