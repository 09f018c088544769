"""How a Scan lays out what goes through it."""

from __future__ import annotations

import onnx_graphsurgeon as gs


class ScanLayout:
    """Along which axis and in which direction a Scan reads and writes.

    Attributes:
        states: How many states are carried.
        axes: The axes that the scanned inputs are read along.
        directions: Their directions, 0 forward and 1 backward.
        output_axes: The axes that the outputs behind the states are written along.
        output_directions: Their directions.
    """

    def __init__(self, node: gs.Node) -> None:
        slices = int(node.attrs["num_scan_inputs"])
        self.states = len(node.inputs) - slices
        written = len(node.attrs["body"].outputs) - self.states
        self.axes = list(node.attrs.get("scan_input_axes") or [0] * slices)
        self.directions = list(node.attrs.get("scan_input_directions") or [0] * slices)
        self.output_axes = list(node.attrs.get("scan_output_axes") or [0] * written)
        self.output_directions = list(node.attrs.get("scan_output_directions") or [0] * written)
