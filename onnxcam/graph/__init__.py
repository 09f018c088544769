"""Nodes, bodies, definitions: the graph in memory."""
