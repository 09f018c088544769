"""Errors in the words of the shell: what the library says of arguments, it says of options.

The library writes arguments and calls as Python has them, between backticks: "name another
`feature_layer`", "use `method='gradcam'`". Here, and nowhere else, they become options and
commands.
"""

from __future__ import annotations

import re
from collections.abc import Collection

import click

COMMANDS = {
    "onnxcam.analysis.layers.catalog(model)": "onnxcam layers MODEL",
    "onnxcam.analysis.layers.catalog(model).candidates": "onnxcam layers MODEL --all",
    "onnxcam.look.presets.try_presets(model, picture)": "onnxcam inputs MODEL IMAGE",
}
RENAMED = {
    "runtime_targets": "--runtime-target",
    "extra_inputs": "--feed",
    "slices": "--slice",
    "metrics": "--metric",
}
VALUES = {"extra_inputs": "NAME=FILE"}  # what the shell takes instead
_QUOTED = re.compile(r"`([^`\n]+)`")
_ARGUMENT = re.compile(r"(\w+)(?:=(.*))?")


def options_of(commands: click.Group) -> frozenset[str]:
    """Return every option that the commands have, such as "--feature-layer"."""
    parameters = [p for command in commands.commands.values() for p in command.params]
    return frozenset(option for p in parameters for option in p.opts if option.startswith("--"))


def in_shell(text: str, options: Collection[str]) -> str:
    """Return a message of the library in the words of the shell.

    Args:
        text: The message. `name` and `name=value` between backticks are arguments.
        options: The options that there are; an argument that is none of them is left to Python.
    """
    return _QUOTED.sub(lambda found: _said(found[1], options), text)


def _said(quoted: str, options: Collection[str]) -> str:
    if quoted in COMMANDS:
        return f"`{COMMANDS[quoted]}`"
    argument = _ARGUMENT.fullmatch(quoted)
    if argument is None:
        return f"`{quoted}`"
    name, value = argument[1], VALUES.get(argument[1], argument[2])
    option = RENAMED.get(name, f"--{name.replace('_', '-')}")
    if option not in options:
        return f"`{quoted}`" if value is None else f"{quoted} (from Python)"
    return option if value in (None, "True") else f"{option} {value.strip(chr(39))}"
