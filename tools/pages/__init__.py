"""The documentation site: pages that are made, and what is checked of all."""
