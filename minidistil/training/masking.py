"""Which words are to be guessed, drawn anew in each epoch (Devlin et al. 2018, section 3.1).

What is drawn for a token follows from (seed, epoch, sentence, position) alone: a Philox generator is a function of its
counter, so neither batches nor threads nor the order of sentences change it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minidistil.tokenization import Tokenizer

MASKED, REPLACED = 0.8, 0.9
"""Of the words to guess 80 % are masked, 10 % become another word, and 10 % stay."""

_WORDS = 3  # numbers drawn for a position: whether, how, and which other word
_STREAM = 1  # of masks, beside that of the order of an epoch in batches.py


class Vocabulary(NamedTuple):
    """Ids of tokens.

    mask: of the mask token. ordinary: int32 [n], those that may stand for another. special: int32, those that may not.
    """

    mask: int
    ordinary: np.ndarray
    special: np.ndarray

    @classmethod
    def of(cls, tokenizer: Tokenizer, vocab_size: int) -> Vocabulary:
        """That of a tokenizer and a model of so many words.

        Raises:
            ValueError: there is no mask token.
        """
        mask = tokenizer.mask_token_id
        if mask is None:
            raise ValueError("the tokenizer has no mask token: words cannot be masked")
        special = np.array(sorted(set(tokenizer.all_special_ids)), np.int32)
        known = np.array(sorted(i for i in tokenizer.get_vocab().values() if i < vocab_size), np.int32)
        return cls(mask, known[~np.isin(known, special)], special)


def mask(
    ids: np.ndarray, vocabulary: Vocabulary, chance: float, seed: int, epoch: int, sentence: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw what is to be guessed in a sentence.

    Args:
        ids: int32 [n], at least one of them no special token.
        vocabulary: of the model.
        chance: for each token; where none is drawn, the one nearest to it is, so that there is something to learn.
        seed: of the run.
        epoch: counted from 1; 0 is for held-out data.
        sentence: the example's number.

    Returns:
        The ids int32 [n] that the model reads, and the positions int64 [m] to be guessed, in order.
    """
    drawn = philox(seed, _STREAM, epoch, sentence, _WORDS * len(ids)).reshape(-1, _WORDS)
    whether, how = drawn[:, 0].copy(), drawn[:, 1]
    special = np.isin(ids, vocabulary.special)
    whether[special] = 2**64 - 1
    wanted = np.flatnonzero((fraction(whether) < chance) & ~special)
    if not len(wanted):
        wanted = np.array([int(whether.argmin())], np.int64)
    result, kind = ids.copy(), fraction(how[wanted])
    result[wanted[kind < MASKED]] = vocabulary.mask
    replaced = wanted[(kind >= MASKED) & (kind < REPLACED)]
    result[replaced] = vocabulary.ordinary[drawn[replaced, 2] % np.uint64(len(vocabulary.ordinary))]
    return result, wanted


def philox(seed: int, stream: int, epoch: int, number: int, count: int) -> np.ndarray:
    """Random uint64 [count] that belong to a number in an epoch, of one of the streams of a seed.

    NumPy's Philox4x64-10 (Salmon et al. 2011), whose raw output no version changes.
    """
    counter = np.array([0, number, epoch, 0], np.uint64)
    return np.random.Philox(key=np.array([seed, stream], np.uint64), counter=counter).random_raw(count)


def fraction(words: np.ndarray) -> np.ndarray:
    """Random uint64 as float64 from 0 to below 1."""
    return (words >> np.uint64(11)) * 2.0**-53
