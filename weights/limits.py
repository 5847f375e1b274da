"""The most that a checkpoint's files may ask for; docs/limits.md is this table for people."""

from __future__ import annotations

JSON_BYTES = 8 << 20
JSON_DEPTH = 64
JSON_DIGITS = 40  # tokenizers without a maximum write 10^30
TOKENIZER_BYTES = 40 << 20  # XLM-RoBERTa's takes 9 to 17 million, larger vocabularies up to 35 million
VOCABULARY_BYTES = 16 << 20

TABLE_BYTES = 2 << 20  # a safetensors header, a pickle, a directory of a zip archive; BERT-large's take 60 thousand
TENSORS = 1 << 14
SHARDS = 1 << 10
PICKLE_STEPS = 1 << 19
PICKLE_TEXT = 1 << 10  # characters
PICKLE_BITS = 64
REFUSED_IMPORTS = 100
SHARING = 4  # times that the tensors of a file may be larger than the file, by standing in it once for several names
RANK = 32

LABELS = 1_000_000
SHARED_LAYERS = 1 << 12
COMPUTED_POSITIONS = 1 << 24  # elements of a position table that is not stored
MODULES = 32

VOCABULARY = 1 << 21
ADDED_TOKENS = 1 << 16
TOKEN_BYTES = 1 << 10  # the tokenizers library frees a Unigram token of 200,000 by as many calls within calls: a crash
WORD_CHARACTERS = 1 << 10  # of a word that WordPiece still looks at
UNIGRAM_BYTES = 4 << 20  # of its tokens together; the tokenizers library takes 300 bytes for each of them
TOKENIZER_PARTS = 64  # of a pipeline: normalizers, pre-tokenizers, processors, decoders; pieces of a template
EXPANSION = 4096  # times that normalizers may make a text longer
