"""Rows of the embedding tables, summed: (word + token type) + position, one rounding each."""

from __future__ import annotations

from minidistil.kernels._compile import kernel
from minidistil.kernels.memory import get_i32, load, load_first, store, store_first
from minidistil.kernels.simd import first_lanes


@kernel
def embed_rows(first, last, words, word_ids, types, type_ids, positions, position_ids, n, out, ld_out):
    """Sum the embeddings of tokens first to last; tables float32 [..., n] by address, rows contiguous.

    Args:
        words: the word table; or, where `word_ids` is 0, one row a token.
        word_ids, type_ids, position_ids: addresses of int32 [T].
        types: the token-type table, or 0 for a model without.
        out: float32 [T, n] by address, rows `ld_out` apart.
    """
    for t in range(first, last):
        word = words + (get_i32(word_ids, t) if word_ids != 0 else t) * n * 4
        kind = types + (get_i32(type_ids, t) if type_ids != 0 else 0) * n * 4 if types != 0 else 0
        position = positions + get_i32(position_ids, t) * n * 4
        row = out + t * ld_out * 4
        whole = n - n % 16
        for j in range(0, whole, 16):
            x = load(word, j)
            if kind != 0:
                x = x + load(kind, j)
            store(row, j, x + load(position, j))
        if whole < n:
            mask = first_lanes(n - whole)
            x = load_first(word, whole, mask)
            if kind != 0:
                x = x + load_first(kind, whole, mask)
            store_first(row, whole, mask, x + load_first(position, whole, mask))
