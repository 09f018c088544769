"""What the documents' tables have in common: rows in a JSON file, verdicts, a page, commands."""
