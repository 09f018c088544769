"""What tools/forms.py puts every exporter's file into, and how it says what came of it."""
