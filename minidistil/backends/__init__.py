"""What computes a model: the compiled engine, and the readable reference with the same bits."""
