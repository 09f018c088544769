"""The work of an audit: samples decoded ahead, explained in batches, written in chunks."""
