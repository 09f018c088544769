"""The forms of data sets, one file a form."""
