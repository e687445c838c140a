"""A small language model whose every product runs through a number format and a datapath: loss against energy."""
