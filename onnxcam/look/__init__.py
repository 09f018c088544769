"""What a model looks like before it is explained."""
