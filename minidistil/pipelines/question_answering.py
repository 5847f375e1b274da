"""question-answering: the part of a context that answers a question."""

# mypy: disable-error-code="overload-overlap, override"
# (Of overloads the first that fits is meant: a str is an iterable of str as well.)

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from minidistil._options import check_number
from minidistil.backends.batch import PackedBatch
from minidistil.models.tasks import QuestionAnswering
from minidistil.pipelines.answers import Answer, QuestionContext
from minidistil.pipelines.base import Pipeline, Windows, needs_head
from minidistil.pipelines.spans import add_answer, best_answers, find_spans
from minidistil.tokenization import Tokenizer

if TYPE_CHECKING:
    from tokenizers import Encoding
    from typing_extensions import Unpack

    from minidistil.pipelines.options import QuestionAnsweringCall


@dataclass(frozen=True)
class _Options:
    top_k: int
    doc_stride: int | None
    max_answer_len: int
    max_seq_len: int | None
    handle_impossible_answer: bool
    align_to_words: bool


class QuestionAnsweringPipeline(Pipeline):
    """The answer to a question, as a part of the context that holds it.

    Called with `question=` and `context=` (a str each, or lists of them; one context may serve several questions), or
    with {"question": ..., "context": ...}, a list or an iterable of such. An answer is {"score", "start", "end",
    "answer"}: context[start:end] is the answer. Where `top_k` lets there be several, they are a list, best first.

    Long contexts are read in windows that overlap, to their end; those of all questions are computed together.

    Options, at construction or per call, with the meaning that they had in transformers 4:
        top_k: answers to return at most, 1 unless told otherwise.
        doc_stride: tokens that a window repeats of the one before it; unset, 128, or half of max_seq_len if less.
        max_answer_len: tokens of an answer at most, 15 unless told otherwise.
        max_seq_len: tokens of a window, the question included; unset, 384, or the model's limit if that is less.
        max_question_len: no effect, as with transformers' fast tokenizers: questions are never cut.
        handle_impossible_answer: let "" be an answer, where the model finds none.
        align_to_words: widen answers to whole words, as happens unless told otherwise.
    """

    task = "question-answering"
    expected = '{"question": str, "context": str}'
    truncation = None
    option_names = (
        "top_k",
        "doc_stride",
        "max_answer_len",
        "max_seq_len",
        "max_question_len",
        "handle_impossible_answer",
        "align_to_words",
    )

    def __init__(self, model: Any, tokenizer: Tokenizer | None = None, **options: Any) -> None:
        needs_head(self.task, model, QuestionAnswering, "a question-answering head", "AutoModelForQuestionAnswering")
        super().__init__(model, tokenizer, **options)

    # `| Any`: where `top_k` lets there be several answers, they are a list; and a list of one question has one answer.
    @overload
    def __call__(self, *, question: str, context: str, **options: Unpack[QuestionAnsweringCall]) -> Answer | Any: ...
    @overload
    def __call__(
        self, *, question: list[str], context: str | list[str], **options: Unpack[QuestionAnsweringCall]
    ) -> list[Answer] | Any: ...
    @overload
    def __call__(self, inputs: str, context: str, /, **options: Unpack[QuestionAnsweringCall]) -> Answer | Any: ...
    @overload
    def __call__(self, inputs: QuestionContext, **options: Unpack[QuestionAnsweringCall]) -> Answer | Any: ...
    @overload
    def __call__(
        self, inputs: list[QuestionContext], **options: Unpack[QuestionAnsweringCall]
    ) -> list[Answer] | Any: ...
    @overload
    def __call__(
        self, inputs: Iterable[QuestionContext], **options: Unpack[QuestionAnsweringCall]
    ) -> Iterator[Answer | Any]: ...
    def __call__(
        self, inputs: Any = None, *others: Any, question: Any = None, context: Any = None, **options: Any
    ) -> Any:
        """Answer one question, a list of them, or those of an iterable.

        Args:
            inputs: {"question", "context"}, or a list or an iterable of such; or a question, followed by its context.
            *others: that context; or more of {"question", "context"}, as if in a list.
            question: str, or a list of str; in place of `inputs`.
            context: str, or a list of as many.
            **options: as for the constructor, for this call.

        Returns:
            One answer (a list of answers where `top_k` is more than 1), a list of such, or an iterator over them.

        Raises:
            TypeError: something other than text, or an option the task lacks.
            ValueError: an empty question or context, or lists that do not match.
        """
        if others:
            both = len(others) == 1 and isinstance(inputs, str) and isinstance(others[0], str)
            inputs = {"question": inputs, "context": others[0]} if both else [inputs, *others]
        if (inputs is None) == (question is None and context is None):
            raise TypeError('pass question= and context=, or {"question": ..., "context": ...}, or a list of such')
        if inputs is None:
            inputs = _pairs(question, context)
        elif isinstance(inputs, (list, tuple)) and len(inputs) == 1:
            inputs = inputs[0]  # one question gives its answer, not a list of one, as in transformers 4
        return super().__call__(inputs, **options)

    def _options(self, **options: Any) -> _Options:
        least = {"top_k": 1, "doc_stride": 0, "max_answer_len": 1, "max_seq_len": 1}
        numbers = {name: check_number(name, options.get(name), number) for name, number in least.items()}
        align = options.get("align_to_words")
        return _Options(
            top_k=numbers["top_k"] or 1,
            doc_stride=numbers["doc_stride"],
            max_answer_len=numbers["max_answer_len"] or 15,
            max_seq_len=numbers["max_seq_len"],
            handle_impossible_answer=bool(options.get("handle_impossible_answer")),
            align_to_words=True if align is None else bool(align),
        )

    def _is_one(self, inputs: Any, task: Any) -> bool:
        return isinstance(inputs, Mapping)

    def _read(self, item: Any, name: str, task: Any) -> tuple[str, str]:
        if not isinstance(item, Mapping) or not {"question", "context"} <= set(item):
            raise TypeError(f"{name} must be {self.expected}, got {_shown(item)}")
        for key in ("question", "context"):
            if not isinstance(item[key], str):
                raise TypeError(f"the {key} of {name} must be a str, got {type(item[key]).__name__}")
            if not item[key]:
                raise ValueError(f"the {key} of {name} is empty")
        return item["question"], item["context"]

    def _windows(self, items: list[Any], limit: int, general: dict[str, Any], task: _Options) -> Windows:
        size = min(limit, 384 if task.max_seq_len is None else task.max_seq_len)
        stride = min(size // 2, 128) if task.doc_stride is None else task.doc_stride
        first = self._question_first
        pairs = [(question, context) if first else (context, question) for question, context in items]
        windows = []
        for pair in pairs:
            try:
                windows += self.tokenizer.encode_windows(
                    [pair], size, strategy="only_second" if first else "only_first", stride=stride
                )
            except UnicodeError:
                raise
            except ValueError as error:
                question = pair[0] if first else pair[1]
                raise ValueError(
                    f"the question {question[:40]!r} leaves windows of {size} tokens too little room for the context, "
                    f"of which they repeat {stride}; ask a shorter one, or set max_seq_len and doc_stride"
                ) from error
        return Windows(windows, [])

    @property
    def _question_first(self) -> bool:
        return self.tokenizer.padding_side == "right"

    def _compute(self, windows: list[Encoding], batch: PackedBatch, task: Any) -> Sequence[Any]:
        start, end = self.model.spans_packed(batch)
        cuts = batch.offsets[1:-1]
        return list(zip(np.split(start, cuts), np.split(end, cuts), strict=True))

    def _answer(self, item: tuple[str, str], windows: list[Encoding], results: list[Any], task: _Options) -> Any:
        place = 1 if self._question_first else 0
        # Some candidates become the same answer once they are widened to words.
        most = 2 * task.top_k + 10 if task.align_to_words else task.top_k
        answers: list[dict[str, Any]] = []
        null = float("inf")
        for window, (start, end) in zip(windows, results, strict=True):
            context = np.array([sequence == place for sequence in window.sequence_ids])
            allowed = context | (np.array(window.ids) == self.tokenizer.cls_token_id)
            found = find_spans(start, end, allowed, context, most, task.max_answer_len)
            null = min(null, found.null)
            for i, j, score in zip(found.starts.tolist(), found.ends.tolist(), found.scores.tolist(), strict=True):
                begin, stop = _characters(window, i, j, place, task.align_to_words)
                add_answer(answers, item[1], begin, stop, score)
        best = best_answers(answers, null if task.handle_impossible_answer else None, task.top_k)
        return best[0] if len(best) == 1 else best


def _pairs(question: Any, context: Any) -> Any:
    """What `question=` and `context=` mean: one pair, or a list."""
    if isinstance(question, str) and isinstance(context, str):
        return {"question": question, "context": context}
    if not isinstance(question, (list, tuple)) or not isinstance(context, (str, list, tuple)):
        raise TypeError(
            "question and context must be a str each, lists of str, or several questions and one context, got "
            f"{type(question).__name__} and {type(context).__name__}"
        )
    contexts = [context] * len(question) if isinstance(context, str) else context
    if len(contexts) != len(question):
        raise ValueError(f"{len(question)} questions and {len(contexts)} contexts do not match one to one")
    pairs = [{"question": q, "context": c} for q, c in zip(question, contexts, strict=True)]
    return pairs[0] if len(pairs) == 1 else pairs


def _characters(window: Encoding, first: int, last: int, sequence: int, align: bool) -> tuple[int, int]:
    """Characters of the context from token `first` to token `last`, widened to whole words where asked."""
    if align:
        words = [word for word in (window.token_to_word(first), window.token_to_word(last)) if word is not None]
        spans = [span for span in (window.word_to_chars(word, sequence) for word in words) if span is not None]
        if len(spans) == 2:
            return int(spans[0][0]), int(spans[1][1])
    return window.offsets[first][0], window.offsets[last][1]


def _shown(item: Any) -> str:
    if isinstance(item, Mapping):
        return "{" + ", ".join(map(str, item)) + "}"
    return type(item).__name__
