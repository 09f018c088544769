"""What is known of a model: layers, layouts, ports."""
