"""Every kind of model, target and method: what comes of each, and whether that is right."""
