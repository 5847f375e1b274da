"""The language of kernels: vectors as values, memory by its address, and functions in them, up to those of a row."""
