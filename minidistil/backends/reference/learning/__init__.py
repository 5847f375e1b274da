"""Learning in nothing but NumPy: what the compiled learner is held against, with every rounding written down."""
