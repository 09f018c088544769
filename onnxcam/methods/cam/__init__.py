"""Methods behind a feature layer."""
