"""Two models side by side: their predictions, their maps, their tensors."""
