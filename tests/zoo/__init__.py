"""Checkpoint and tokenizer folders as they lie on disk in the wild, each beside transformers."""
