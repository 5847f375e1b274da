"""Tokenizers by the names that code written for transformers calls them."""

from __future__ import annotations

from minidistil.tokenization.tokenizer import Tokenizer


class AutoTokenizer:
    """Loads the tokenizer of any checkpoint."""

    from_pretrained = Tokenizer.from_pretrained


# A checkpoint's files say what its tokenizer is, whatever the name.
AlbertTokenizer = AlbertTokenizerFast = Tokenizer
BertTokenizer = BertTokenizerFast = Tokenizer
CamembertTokenizer = CamembertTokenizerFast = Tokenizer
DistilBertTokenizer = DistilBertTokenizerFast = Tokenizer
ElectraTokenizer = ElectraTokenizerFast = Tokenizer
MobileBertTokenizer = MobileBertTokenizerFast = Tokenizer
RobertaTokenizer = RobertaTokenizerFast = Tokenizer
XLMRobertaTokenizer = XLMRobertaTokenizerFast = Tokenizer
