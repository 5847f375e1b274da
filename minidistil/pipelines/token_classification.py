"""token-classification, also called ner: the label of every token, or the entities that they make up."""

# mypy: disable-error-code="overload-overlap, override"
# (Of overloads the first that fits is meant: a str is an iterable of str as well.)

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

import numpy as np

from minidistil._options import check_number, is_iterable
from minidistil.backends.batch import PackedBatch
from minidistil.models.probabilities import softmax
from minidistil.models.tasks import TokenClassification
from minidistil.pipelines.answers import Entity, NamedToken
from minidistil.pipelines.base import Pipeline, Windows, needs_head
from minidistil.pipelines.entities import STRATEGIES, Token, find_entities, merge_windows
from minidistil.tokenization import Tokenizer

if TYPE_CHECKING:
    from tokenizers import Encoding
    from typing_extensions import Unpack

    from minidistil.pipelines.options import Aggregation, TokenClassificationCall

Found = TypeVar("Found", NamedToken, Entity)  # by the constructor's `aggregation_strategy`
_OVERLAP = 128  # tokens that windows of a long text share, where nobody said how many: context on both sides


@dataclass(frozen=True)
class _Options:
    strategy: str
    ignored: tuple[str, ...]
    stride: int | None
    split: bool
    delimiter: str


@dataclass(frozen=True)
class _Text:
    """A text, and where in it each word begins if it was given as words."""

    text: str
    words: list[str] | None
    starts: tuple[int, ...]


class TokenClassificationPipeline(Pipeline, Generic[Found]):
    """The entities of a text, or the label of each of its tokens.

    An answer is a list, empty where nothing is found: {"entity", "score", "index", "word", "start", "end"} for each
    token, or, aggregated, {"entity_group", "score", "word", "start", "end"} for each entity. `start` and `end` count
    the characters of the text (code points, as Python does).

    Long texts are read to their end, in windows that overlap. Unless told otherwise, each token's label comes from the
    window that shows most of what is around it, and entities are put together after that, so that none is cut in two
    where a window ends. With `stride`, each window is read by itself and overlapping entities are reconciled, as in
    transformers. With `truncation`, only the beginning is read.

    Options, at construction or per call:
        aggregation_strategy: "none" (unset), "simple", "first", "average" or "max".
        ignore_labels: labels to leave out, ["O"] unless told otherwise.
        stride: tokens that a window of a long text repeats of the one before it, with transformers' way to put windows
            together; needs an aggregation_strategy other than "none".
        is_split_into_words: texts are lists of words.
        delimiter: what joins such words, a space unless told otherwise; `start` and `end` count in the joined text.
    """

    task = "token-classification"
    expected = "str"
    truncation = None
    option_names = ("aggregation_strategy", "ignore_labels", "stride", "is_split_into_words", "delimiter")

    def __init__(self, model: Any, tokenizer: Tokenizer | None = None, **options: Any) -> None:
        needs_head(
            self.task, model, TokenClassification, "a token-classification head", "AutoModelForTokenClassification"
        )
        super().__init__(model, tokenizer, **options)
        # WordPiece marks the tokens that continue a word. Elsewhere, as in transformers, what follows no space does.
        self._marks_subwords = bool(getattr(self.tokenizer.backend_tokenizer.model, "continuing_subword_prefix", None))

    def _options(self, **options: Any) -> _Options:
        strategy = str(options.get("aggregation_strategy") or "none").lower()
        if strategy not in STRATEGIES:
            raise ValueError(
                f"aggregation_strategy must be one of {', '.join(STRATEGIES)}, got {options['aggregation_strategy']!r}"
            )
        ignored = options.get("ignore_labels")
        if isinstance(ignored, str):
            raise TypeError(f"ignore_labels must be a list of labels, got the str {ignored!r}")
        if ignored is not None and not is_iterable(ignored):
            raise TypeError(f"ignore_labels must be a list of labels, got {type(ignored).__name__}")
        stride = check_number("stride", options.get("stride"), 0)
        if stride is not None and strategy == "none":
            raise ValueError(
                'stride puts entities of overlapping windows together, and aggregation_strategy="none" makes none; '
                "choose another one, or leave stride out: long texts are read to their end without it"
            )
        split = bool(options.get("is_split_into_words"))
        delimiter = options.get("delimiter")
        return _Options(
            strategy,
            ("O",) if ignored is None else tuple(ignored),
            stride,
            split,
            " " if delimiter is None else str(delimiter),
        )

    @overload
    def __call__(
        self, inputs: str, *, aggregation_strategy: Aggregation, **options: Unpack[TokenClassificationCall]
    ) -> list[Entity]: ...
    @overload
    def __call__(self, inputs: str, **options: Unpack[TokenClassificationCall]) -> list[Found]: ...
    @overload
    def __call__(
        self,
        inputs: list[str] | list[list[str]] | tuple[str, ...],
        *,
        aggregation_strategy: Aggregation,
        **options: Unpack[TokenClassificationCall],
    ) -> list[list[Entity]]: ...
    @overload
    def __call__(
        self, inputs: list[str] | list[list[str]] | tuple[str, ...], **options: Unpack[TokenClassificationCall]
    ) -> list[list[Found]]: ...
    @overload
    def __call__(
        self, inputs: Iterable[str], *, aggregation_strategy: Aggregation, **options: Unpack[TokenClassificationCall]
    ) -> Iterator[list[Entity]]: ...
    @overload
    def __call__(self, inputs: Iterable[str], **options: Unpack[TokenClassificationCall]) -> Iterator[list[Found]]: ...
    def __call__(self, inputs: Any, **options: Any) -> Any:
        """Find the entities of one text, a list of them, or those of an iterable; see `Pipeline.__call__`."""
        options = self._known(options)
        split = self._settings(options)[1].split
        if split and isinstance(inputs, (list, tuple)) and inputs and all(isinstance(word, str) for word in inputs):
            inputs = [list(inputs)]  # one text gives a list of one answer here, as in transformers
        return super().__call__(inputs, **options)

    def _is_one(self, inputs: Any, task: _Options) -> bool:
        return isinstance(inputs, str) and not task.split

    def _read(self, item: Any, name: str, task: _Options) -> _Text:
        if not task.split:
            return _Text(super()._read(item, name, task), None, ())
        if not isinstance(item, (list, tuple)) or not all(isinstance(word, str) for word in item):
            raise TypeError(f"with is_split_into_words {name} must be a list of words, got {type(item).__name__}")
        starts = np.cumsum([0, *(len(word) + len(task.delimiter) for word in item)])
        return _Text(task.delimiter.join(item), list(item), tuple(starts.tolist()))

    def _windows(self, items: list[_Text], limit: int, general: dict[str, Any], task: _Options) -> Windows:
        inputs = [item.text if item.words is None else item.words for item in items]
        if task.stride is None and general["truncation"] is not None:
            windows = self.tokenizer.encode_windows(inputs, limit, is_split_into_words=task.split)
            return Windows([w[:1] for w in windows], [i for i, w in enumerate(windows) if len(w) > 1])
        stride = self._overlap(limit) if task.stride is None else task.stride
        windows = self.tokenizer.encode_windows(inputs, limit, stride=stride, is_split_into_words=task.split)
        return Windows(windows, [])

    def _overlap(self, limit: int) -> int:
        return max(0, min(_OVERLAP, (limit - self.tokenizer.num_special_tokens_to_add()) // 2))

    def _compute(self, windows: list[Encoding], batch: PackedBatch, task: Any) -> Sequence[np.ndarray]:
        return np.split(self.model.logits_packed(batch), batch.offsets[1:-1])

    def _answer(self, item: _Text, windows: list[Encoding], results: list[np.ndarray], task: _Options) -> Any:
        read = [self._tokens(item, w, softmax(r), task) for w, r in zip(windows, results, strict=True)]
        if len(read) > 1 and task.stride is None:
            if self.tokenizer.truncation_side == "left":
                read.reverse()
            read = [most_central(read, self._overlap(len(windows[0])))]
        found: list[dict[str, Any]] = []
        for tokens in read:
            found += find_entities(
                tokens,
                task.strategy,
                self.model.config.id2label,
                self.tokenizer.convert_tokens_to_string,
                task.ignored,
            )
        return merge_windows(found) if len(read) > 1 else found

    def _tokens(self, item: _Text, window: Encoding, scores: np.ndarray, task: _Options) -> list[Token]:
        tokens = []
        words = window.word_ids if item.words is not None else None
        unknown = self.tokenizer.unk_token_id
        names = self.tokenizer.convert_ids_to_tokens(window.ids)  # of a mask in the text, without the space before it
        for i, (special, token_id, (start, end)) in enumerate(
            zip(window.special_tokens_mask, window.ids, window.offsets, strict=True)
        ):
            if special:
                continue
            place = words[i] if words is not None else None
            if place is not None:
                start, end = start + item.starts[place], end + item.starts[place]
            word, shown = names[i], item.text[start:end]
            if self._marks_subwords:
                subword = len(word) != len(shown)
            else:
                subword = start > 0 and " " not in item.text[start - 1 : start + 1]
            if token_id == unknown:
                word, subword = shown, False
            tokens.append(Token(word, scores[i], start, end, i, subword))
        return tokens


def most_central(windows: list[list[Token]], overlap: int) -> list[Token]:
    """Return each token of a long text once, from the window that shows most of what is around it.

    Args:
        windows: the tokens of each window, in the order of the text.
        overlap: how many tokens neighbours share.

    Returns:
        All tokens of the text in order, their `index` counted through the text; of two windows that show as much, the
        earlier one's token.
    """
    first = windows[0][0].index if windows[0] else 0
    chosen: list[Token] = []
    shown: list[float] = []  # tokens around each chosen one, on the side where its window shows fewer
    start = 0
    for k, tokens in enumerate(windows):
        for j, token in enumerate(tokens):
            before = float("inf") if k == 0 else j
            after = float("inf") if k == len(windows) - 1 else len(tokens) - 1 - j
            at = start + j
            if at == len(chosen):
                chosen.append(replace(token, index=first + at))
                shown.append(min(before, after))
            elif min(before, after) > shown[at]:
                chosen[at], shown[at] = replace(token, index=first + at), min(before, after)
        start += len(tokens) - overlap
    return chosen
