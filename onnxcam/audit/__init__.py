"""The deployment audit: a data set through one model, or an old and a new one, with evidence."""
