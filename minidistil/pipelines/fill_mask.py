"""fill-mask: what could stand at each [MASK]."""

# mypy: disable-error-code="overload-overlap, override"
# (Of overloads the first that fits is meant: a str is an iterable of str as well.)

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from minidistil._options import check_number, check_table, is_iterable
from minidistil._warn import warn_caller
from minidistil.backends.batch import PackedBatch
from minidistil.models.tasks import MaskedLM
from minidistil.pipelines.answers import Candidate
from minidistil.pipelines.base import Pipeline, Windows, needs_head
from minidistil.tokenization import Tokenizer
from minidistil.tokenization.texts import refuse_half_characters

if TYPE_CHECKING:
    from tokenizers import Encoding
    from typing_extensions import Unpack

    from minidistil.pipelines.options import FillMaskCall

_Found = list[tuple[np.ndarray, np.ndarray]]  # for each mask, the candidates' ids and probabilities, best first
_ROWS = 256  # masks whose logits are computed at a time: 31 MB of 30,522


@dataclass(frozen=True)
class _Options:
    top_k: int
    targets: np.ndarray | None  # int64, ascending, each once
    windows: bool = False


class FillMaskPipeline(Pipeline):
    """Candidates for the masked tokens of a text.

    A text with one mask gives a list of candidates, best first; one with several gives such a list for each mask, in
    order. A candidate is a dict: `score` (its probability among the whole vocabulary), `token` (its id), `token_str`,
    `sequence` (the text with it in place; special tokens are left out if the text has only one mask).

    Options, at construction or per call:
        top_k: number of candidates, 5 unless told otherwise; at most as many as there are targets.
        targets: a word or a list of words to choose from; their scores are not scaled up. A word that the vocabulary
            lacks stands for its first token, with a warning.
        windows: read long texts to their end, in windows that overlap by half: each mask is filled in the one that
            shows most of what is around it, and `sequence` is the whole text. Unset, `truncation` decides.
        tokenizer_kwargs: as in transformers: {"truncation": True} is `truncation=True`.

    Only the rows of the masks are computed beyond the encoder's layers.
    """

    task = "fill-mask"
    option_names = ("top_k", "targets", "windows", "tokenizer_kwargs")

    def __init__(self, model: Any, tokenizer: Tokenizer | None = None, **options: Any) -> None:
        needs_head("fill-mask", model, MaskedLM, "a masked-language-model head", "AutoModelForMaskedLM")
        super().__init__(model, tokenizer, **options)

    # `| Any`: a text of several masks has a list for each, which who writes the text knows, and no type checker.
    @overload
    def __call__(self, inputs: str, **options: Unpack[FillMaskCall]) -> list[Candidate] | Any: ...
    @overload
    def __call__(
        self, inputs: list[str] | tuple[str, ...], **options: Unpack[FillMaskCall]
    ) -> list[list[Candidate]] | Any: ...
    @overload
    def __call__(self, inputs: Iterable[str], **options: Unpack[FillMaskCall]) -> Iterator[list[Candidate] | Any]: ...
    def __call__(self, inputs: Any, **options: Any) -> Any:
        """Fill the masks of one text, a list of them, or those of an iterable; see `Pipeline.__call__`.

        A list of one gives the answer to that one, as in transformers.
        """
        answers = super().__call__(inputs, **options)
        return answers[0] if isinstance(inputs, list) and len(inputs) == 1 else answers

    def _settings(self, options: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        given = options.get("tokenizer_kwargs") or self._defaults.get("tokenizer_kwargs")
        own = check_table("tokenizer_kwargs", given)
        if set(own) - {"truncation", "max_length", "padding"}:
            raise TypeError(f"of tokenizer_kwargs truncation, max_length and padding are known here, got {sorted(own)}")
        return super()._settings({**own, **options})

    def _options(self, **options: Any) -> _Options:
        targets = options.get("targets")
        if self.tokenizer.mask_token_id is None:
            raise ValueError("fill-mask needs a tokenizer that has a mask token; this one has none")
        top_k = check_number("top_k", options.get("top_k")) or 5
        ids = None if targets is None else self._target_ids(targets)
        return _Options(top_k, ids, bool(options.get("windows", False)))

    def _target_ids(self, targets: str | Iterable[str]) -> np.ndarray:
        if not is_iterable(targets):
            raise TypeError(f"targets must be a str or a list of str, got {type(targets).__name__}")
        words = [targets] if isinstance(targets, str) else list(targets)
        ids = set()
        for word in words:
            if not isinstance(word, str):
                raise TypeError(f"targets must be str, got {type(word).__name__}")
            refuse_half_characters(word)
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

    def _windows(self, items: list[Any], limit: int, general: dict[str, Any], task: _Options) -> Windows:
        if not task.windows:
            return super()._windows(items, limit, general, task)
        overlap = max(0, limit - self.tokenizer.num_special_tokens_to_add()) // 2
        mask = self.tokenizer.mask_token_id
        of = self.tokenizer.encode_windows(items, limit, stride=overlap)
        return Windows([[w for w in own if mask in w.ids] or own[:1] for own in of], [])

    def _check(self, windows: Windows, first: int, task: _Options) -> None:
        mask = self.tokenizer.mask_token_id
        for i, own in enumerate(windows.of):
            if mask not in own[0].ids:
                cause = (
                    "truncation has cut it off (windows=True reads to a text's end)"
                    if i in windows.cut
                    else f"write {self.tokenizer.mask_token} where to fill in"
                )
                raise ValueError(f"no mask token ({self.tokenizer.mask_token}) in text {first + i}: {cause}")

    def _compute(self, windows: list[Encoding], batch: PackedBatch, task: _Options) -> list[_Found]:
        assert batch.input_ids is not None
        rows = np.flatnonzero(batch.input_ids == self.tokenizer.mask_token_id)
        hidden = self.model.encode_packed(batch, rows)
        found: _Found = []
        for start in range(0, len(rows), _ROWS):
            found += [_best(row, task) for row in self.model.masked_lm(hidden[start : start + _ROWS])]
        ends = np.searchsorted(rows, batch.offsets[1:]).tolist()
        return [found[a:b] for a, b in zip([0, *ends], ends, strict=False)]

    def _answer(self, item: str, windows: list[Encoding], results: list[_Found], task: _Options) -> Any:
        text, found = windows[0], results[0]
        if task.windows:
            ((text, *_),) = self.tokenizer.encode_windows([item], sys.maxsize)
            found = self._most_central(windows, results)
        ids = np.array(text.ids, np.int64)
        places = np.flatnonzero(ids == self.tokenizer.mask_token_id).tolist()
        masks = [
            self._candidates(ids, place, *best, alone=len(places) == 1)
            for place, best in zip(places, found, strict=True)
        ]
        return masks[0] if len(masks) == 1 else masks

    def _most_central(self, windows: list[Encoding], results: list[_Found]) -> _Found:
        """Of each mask in a text, in order, what was found in the window that has most tokens on both sides of it."""
        best: dict[int, tuple[int, tuple[np.ndarray, np.ndarray]]] = {}  # by the mask's place in the text
        for window, found in zip(windows, results, strict=True):
            places = [i for i, token in enumerate(window.ids) if token == self.tokenizer.mask_token_id]
            for i, candidates in zip(places, found, strict=True):
                start, shown = window.offsets[i][0], min(i, len(window) - 1 - i)
                if start not in best or shown > best[start][0]:
                    best[start] = shown, candidates
        return [best[start][1] for start in sorted(best)]

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
