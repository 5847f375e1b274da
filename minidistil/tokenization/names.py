"""The tokenizer by the name that code written for transformers calls it."""

from __future__ import annotations

from minidistil.tokenization.tokenizer import Tokenizer


class AutoTokenizer:
    """Loads the tokenizer of any checkpoint."""

    from_pretrained = Tokenizer.from_pretrained
