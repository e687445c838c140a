"""Element, scale and block formats; quantise, dequantise, error measures."""
