"""Text to token ids and back."""

from minidistil.tokenization.encoding import BatchEncoding
from minidistil.tokenization.names import AutoTokenizer
from minidistil.tokenization.texts import refuse_without_tokens
from minidistil.tokenization.tokenizer import Tokenizer
from minidistil.tokenization.truncation import (
    TruncationWarning,
    check_truncation,
    input_limit,
    refuse_truncation,
    warn_of_truncation,
)

__all__ = [
    "AutoTokenizer",
    "BatchEncoding",
    "Tokenizer",
    "TruncationWarning",
    "check_truncation",
    "input_limit",
    "refuse_truncation",
    "refuse_without_tokens",
    "warn_of_truncation",
]
