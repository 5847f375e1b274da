"""fill-mask: what could stand at each [MASK]."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidistil._warn import warn_caller
from minidistil.inputs import pack_sentences
from minidistil.models import MaskedLM
from minidistil.pipelines.base import Pipeline
from minidistil.tokenization import Tokenizer

_ROWS = 256  # masks whose logits are computed at a time: 31 MB of 30,522


@dataclass(frozen=True)
class _Options:
    top_k: int
    targets: np.ndarray | None  # int64, ascending, each once


class FillMaskPipeline(Pipeline):
    """Candidates for the masked tokens of a text.

    A text with one mask gives a list of candidates, best first; one with several gives such a list for each mask, in
    order. A candidate is a dict: `score` (its probability among the whole vocabulary), `token` (its id), `token_str`,
    `sequence` (the text with it in place; special tokens are left out if the text has only one mask).

    Options, at construction or per call:
        top_k: number of candidates, 5 unless told otherwise; at most as many as there are targets.
        targets: a word or a list of words to choose from; their scores are not scaled up. A word that the vocabulary
            lacks stands for its first token, with a warning.
        tokenizer_kwargs: as in transformers: {"truncation": True} is `truncation=True`.

    Only the rows of the masks are computed beyond the encoder's layers.
    """

    task = "fill-mask"
    option_names = ("top_k", "targets", "tokenizer_kwargs")

    def __init__(self, model: Any, tokenizer: Tokenizer, **options: Any) -> None:
        if not isinstance(model, MaskedLM):
            raise TypeError(
                f"fill-mask needs a model with a masked-language-model head, got {type(model).__name__}: load it with "
                "AutoModelForMaskedLM"
            )
        if getattr(tokenizer, "mask_token_id", 0) is None:
            raise ValueError("fill-mask needs a tokenizer that has a mask token; this one has none")
        super().__init__(model, tokenizer, **options)

    def _settings(self, options: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        own = options.get("tokenizer_kwargs") or self._defaults.get("tokenizer_kwargs") or {}
        if set(own) - {"truncation"}:
            raise TypeError(f"of tokenizer_kwargs only truncation is known here, got {sorted(own)}")
        return super()._settings({**own, **options})

    def _options(self, **options: Any) -> _Options:
        targets = options.get("targets")
        top_k = 5 if options.get("top_k") is None else int(options["top_k"])
        if top_k < 1:
            raise ValueError(f"top_k must be at least 1, got {top_k}")
        return _Options(top_k, None if targets is None else self._target_ids(targets))

    def _target_ids(self, targets: str | Iterable[str]) -> np.ndarray:
        words = [targets] if isinstance(targets, str) else list(targets)
        ids = set()
        for word in words:
            if not isinstance(word, str):
                raise TypeError(f"targets must be str, got {type(word).__name__}")
            found = self.tokenizer.backend_tokenizer.token_to_id(word)
            if found is None:
                pieces = self.tokenizer(word, add_special_tokens=False)["input_ids"]
                if not pieces:
                    warn_caller(
                        UserWarning(f"the target {word!r} is not in the vocabulary and has no tokens; it is left out")
                    )
                    continue
                found = pieces[0]
                token = self.tokenizer.convert_ids_to_tokens(found)
                warn_caller(
                    UserWarning(
                        f"the target {word!r} is not in the vocabulary; its first token {token!r} takes its place"
                    )
                )
            ids.add(found)
        if not ids:
            raise ValueError(f"none of the targets {words} has a token: at least one is needed")
        outside = [i for i in ids if i >= self.model.config.vocab_size]
        if outside:
            raise ValueError(f"the targets' ids {outside} are not in the model's {self.model.config.vocab_size} words")
        return np.array(sorted(ids), np.int64)

    def _check(self, ids: list[np.ndarray], cut: set[int], first: int) -> None:
        mask, size = self.tokenizer.mask_token_id, self.model.config.vocab_size
        for i, sentence in enumerate(ids):
            if not (sentence == mask).any():
                cause = (
                    "truncation has cut it off" if i in cut else f"write {self.tokenizer.mask_token} where to fill in"
                )
                raise ValueError(f"no mask token ({self.tokenizer.mask_token}) in text {first + i}: {cause}")
            if sentence.max() >= size:
                raise ValueError(
                    f"the tokenizer made the id {sentence.max()} of text {first + i}, and the model has {size} words: "
                    "they do not belong together"
                )

    def _compute(self, ids: list[np.ndarray], options: _Options) -> list[Any]:
        batch = pack_sentences(ids)
        assert batch.input_ids is not None
        rows = np.flatnonzero(batch.input_ids == self.tokenizer.mask_token_id)
        hidden = self.model.encode_packed(batch, rows)
        found: list[tuple[np.ndarray, np.ndarray]] = []
        for start in range(0, len(rows), _ROWS):
            found += [_best(row, options) for row in self.model.masked_lm(hidden[start : start + _ROWS])]
        answers = []
        for sentence in ids:
            masks = np.flatnonzero(sentence == self.tokenizer.mask_token_id)
            lists = [self._candidates(sentence, int(m), *found.pop(0), alone=len(masks) == 1) for m in masks]
            answers.append(lists[0] if len(lists) == 1 else lists)
        return answers

    def _candidates(
        self, sentence: np.ndarray, place: int, tokens: np.ndarray, scores: np.ndarray, alone: bool
    ) -> list[dict[str, Any]]:
        candidates = []
        for token, score in zip(tokens.tolist(), scores.tolist(), strict=True):
            filled = sentence.copy()
            filled[place] = token
            filled = (
                filled[filled != self.tokenizer.pad_token_id] if self.tokenizer.pad_token_id is not None else filled
            )
            candidates.append(
                {
                    "score": score,
                    "token": token,
                    "token_str": self.tokenizer.decode([token]),
                    # With several masks the others are special tokens that must stay visible.
                    "sequence": self.tokenizer.decode(filled, skip_special_tokens=alone),
                }
            )
        return candidates


def _best(logits: np.ndarray, options: _Options) -> tuple[np.ndarray, np.ndarray]:
    """Ids and probabilities of the best candidates of float32 [V], best first; of equals, the smaller id first."""
    exact = logits.astype(np.float64)
    weights = np.exp(exact - exact.max())
    allowed = np.arange(len(logits)) if options.targets is None else options.targets
    k = min(options.top_k, len(allowed))
    among = logits[allowed]
    threshold = np.partition(among, len(among) - k)[len(among) - k]
    near = allowed[among >= threshold]
    tokens = near[np.argsort(-logits[near], kind="stable")][:k]
    return tokens, weights[tokens] / weights.sum()
