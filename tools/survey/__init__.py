"""What tools/library_survey.py examines, with what, and how it says what it found."""
