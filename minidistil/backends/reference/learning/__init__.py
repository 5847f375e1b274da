"""What the backward pass computes, in nothing but NumPy: what the compiled learner is held against, bit for bit."""
