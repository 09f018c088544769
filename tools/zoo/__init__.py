"""How each file in models/ is made: one module a model, and the places they come from."""
