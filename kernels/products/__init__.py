"""Sums of products: the register tile, matrix products over packed weights, and the attention of one head."""
