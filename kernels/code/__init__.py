"""Code: how kernels are compiled, for which CPU, and how their machine code is kept, found and called."""
