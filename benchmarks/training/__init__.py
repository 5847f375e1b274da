"""Training beside PyTorch's: `python -m benchmarks.training`. What is measured how: benchmarks/README.md."""
