"""What comes out: maps, pictures, explanations."""
