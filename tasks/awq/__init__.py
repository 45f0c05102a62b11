"""AWQ quantization in 4 bits."""
