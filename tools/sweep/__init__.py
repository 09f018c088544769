"""The parts of `tools/sweep.py`: subjects, what is run, and the page."""
