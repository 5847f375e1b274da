"""Learning in nothing but NumPy: each operation of the backward pass, with every rounding written down."""
