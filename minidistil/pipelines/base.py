"""What all pipelines share: one input gives one answer, a list a list, any other iterable an iterator.

An input becomes one or more windows, sequences of tokens that the model takes: a text as it is, the overlapping parts
of a long document, a text with each of several labels. The windows of all inputs are computed together, packed one
after another without padding, as many at a time as a number of tokens allows; their results are put together again for
each input. As a window's result never depends on its neighbours, neither does an answer.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from minidistil._float_mode import default_mode
from minidistil._keywords import PipelineKeywords
from minidistil._loading import Lock, loading
from minidistil._options import check_device, check_number, is_iterable, refuse_table
from minidistil.backends.batch import PackedBatch
from minidistil.models.inputs import pack_sentences, token_batches
from minidistil.models.purpose import good_for
from minidistil.tokenization import (
    Tokenizer,
    check_truncation,
    input_limit,
    refuse_truncation,
    refuse_without_tokens,
    warn_of_truncation,
)
from minidistil.weights.options import without_foreign

if TYPE_CHECKING:
    from tokenizers import Encoding

_TOKENS = 2048  # of one call of the backend: enough for its speed, short enough for Ctrl-C
_GROUP = 256  # inputs whose tokens, offsets and words are held at a time


class Windows(NamedTuple):
    """The windows of some inputs.

    Attributes:
        of: for each input, its windows.
        cut: which inputs, by their index in `of`, were longer than the model takes and have been cut.
    """

    of: list[list[Encoding]]
    cut: list[int]


class Pipeline:
    """Text in, answers out.

    Args:
        model: with the head that the task needs.
        tokenizer: the model's; unset, that.
        device: None, -1 or "cpu".
        batch_size: most windows (texts, mostly) per call of the model, and how many inputs an iterator is read ahead (1
            if unset). Speed alone depends on it.
        batch_tokens: most tokens per call of the model. Speed and memory alone depend on it.
        truncation: what to do with texts longer than the model takes: "error" or False (refuse), "warn" (use their
            beginnings, and one `TruncationWarning` with their number per call), True (use their beginnings).
        max_length: the longest text in tokens, special ones included, where it is to be less than the model's limit.
        padding: without effect, as nothing is padded; here so that code written for transformers keeps working.
        progress: show a progress bar on standard error.
        **options: the task's own, as defaults for every call.

    Attributes:
        model: the model.
        tokenizer: the tokenizer.
        truncated: how many texts have been cut so far.
    """

    task: ClassVar[str]
    option_names: ClassVar[tuple[str, ...]] = ()
    expected: ClassVar[str] = "str"
    truncation: ClassVar[str | bool | None] = "error"

    def __init__(
        self,
        model: Any,
        tokenizer: Tokenizer | None = None,
        *,
        device: Any = None,
        batch_size: int | None = None,
        batch_tokens: int | None = None,
        truncation: str | bool | None = None,
        max_length: int | None = None,
        padding: bool | str | None = None,
        progress: bool = False,
        **options: Any,
    ) -> None:
        check_device(device)
        tokenizer = model.tokenizer if tokenizer is None else tokenizer
        if not isinstance(tokenizer, Tokenizer):
            raise TypeError(f"tokenizer must be a path or a minidistil Tokenizer, got {type(tokenizer).__name__}")
        self.model = model
        self.tokenizer = tokenizer
        self.truncated = 0
        self._count_lock = Lock()
        self._general: dict[str, Any] = {
            "batch_size": batch_size,
            "batch_tokens": batch_tokens,
            "truncation": truncation,
            "max_length": max_length,
            "padding": padding,
            "progress": progress,
        }
        self._defaults = self._known(options)
        self._settings({})  # a wrong default is an error here, not at the first call

    def __call__(self, inputs: Any, **options: Any) -> Any:
        """Answer one input, a list of them, or, one after another as they are asked for, those of an iterable.

        Args:
            inputs: str (or what else the task takes), list or tuple of them, or any other iterable of them.
            **options: as for the constructor, for this call.

        Returns:
            One answer; a list of answers (also for a list of one); or an iterator over answers.

        Raises:
            TypeError: something other than text, or an option the task lacks.
            ValueError: a text that cannot be answered; the message says which and why.
        """
        refuse_table("inputs", inputs)
        general, task = self._settings(options)
        if self._is_one(inputs, task):
            return self._answer_all([inputs], general, task)[0]
        if isinstance(inputs, (list, tuple)):
            return self._answer_all(inputs, general, task)
        if isinstance(inputs, (str, bytes, dict)) or not (is_iterable(inputs) or _has_items(inputs)):
            raise TypeError(
                f"{self.task} takes a {self.expected}, a list of {self.expected} or an iterable of {self.expected}, "
                f"got {type(inputs).__name__}"
            )
        return self._answer_lazily(iter(inputs), general, task)

    def save_pretrained(self, save_directory: str | os.PathLike[str]) -> None:
        """Write copies of the model's checkpoint and of the tokenizer; see their `save_pretrained`."""
        with loading():
            from minidistil.tokenization.saving import FILES
            from minidistil.weights.saving import save

        model = getattr(self.model, "model", self.model)  # feature-extraction takes an encoder of sentences too
        save(save_directory, {**self.tokenizer.files_to_save(), **model.files_to_save()}, replaces=FILES)

    def _is_one(self, inputs: Any, task: Any) -> bool:
        """Whether `inputs` is one input rather than several."""
        return isinstance(inputs, str)

    def _read(self, item: Any, name: str, task: Any) -> Any:
        """Check one input, called `name` in errors; returns it in the form that `_windows` takes."""
        if not isinstance(item, str):
            raise TypeError(f"{name} must be a {self.expected}, got {type(item).__name__}")
        return item

    def _windows(self, items: list[Any], limit: int, general: dict[str, Any], task: Any) -> Windows:
        """Encode inputs, each in windows of at most `limit` tokens."""
        windows = self.tokenizer.encode_windows(items, limit)
        return Windows([w[:1] for w in windows], [i for i, w in enumerate(windows) if len(w) > 1])

    def _check(self, windows: Windows, first: int, task: Any) -> None:
        """Refuse inputs that the task cannot answer; `first` is the number of the first one."""

    def _compute(self, windows: list[Encoding], batch: PackedBatch, task: Any) -> Sequence[Any]:
        """Run the model on packed windows; returns something for each."""
        raise NotImplementedError

    def _answer(self, item: Any, windows: list[Encoding], results: list[Any], task: Any) -> Any:
        """Put together one input's answer from what `_compute` returned for its windows."""
        raise NotImplementedError

    def _options(self, **options: Any) -> Any:
        """Check the task's options and bring them into the form that the other methods take; here, of one without."""
        return None

    def _answer_lazily(self, inputs: Iterator[Any], general: dict[str, Any], task: Any) -> Iterator[Any]:
        done = 0
        while some := list(islice(inputs, general["batch_size"] or 1)):
            yield from self._answer_all(some, {**general, "progress": False}, task, done)
            done += len(some)

    @default_mode()
    def _answer_all(self, inputs: Sequence[Any], general: dict[str, Any], task: Any, first: int = 0) -> list[Any]:
        items = [self._read(item, f"text {first + i}", task) for i, item in enumerate(inputs)]
        limit = input_limit(self.tokenizer, self.model.config.longest_sentence)
        limit = min(limit, general["max_length"] or limit)
        groups = [slice(i, i + _GROUP) for i in range(0, len(items), _GROUP)]

        def prepare(group: slice) -> Windows:
            windows = self._windows(items[group], limit, general, task)
            refuse_without_tokens([min(map(len, own)) for own in windows.of], first + group.start)
            self._check(windows, first + group.start, task)
            return windows

        # All faults come to light before the first answer is computed; for that, long lists are encoded twice.
        prepared = [prepare(groups[0])] if len(groups) == 1 else None
        found = prepared or map(prepare, groups)
        cut = [group.start + i for group, windows in zip(groups, found, strict=True) for i in windows.cut]
        self._apply_truncation(cut, len(items), limit, general["truncation"], first)
        answers: list[Any] = []
        with _bar(len(items)) if general["progress"] else contextlib.nullcontext() as bar:
            for group, windows in zip(groups, prepared or map(prepare, groups), strict=True):
                for answer in self._answer_group(items[group], windows.of, general, task, first + group.start):
                    answers.append(answer)
                    if bar is not None:
                        bar.update()
        return answers

    def _answer_group(
        self, items: list[Any], of: list[list[Encoding]], general: dict[str, Any], task: Any, first: int
    ) -> Iterator[Any]:
        flat = list(chain.from_iterable(of))
        numbers = [first + i for i, own in enumerate(of) for _ in own]
        results: list[Any] = []  # of windows whose input is not answered yet
        waiting = iter(zip(items, of, strict=True))
        item, own = next(waiting, (None, []))
        for run in token_batches([len(w) for w in flat], general["batch_tokens"] or _TOKENS, general["batch_size"]):
            results += self._compute(flat[run], self._pack(flat[run], numbers[run]), task)
            while own and len(results) >= len(own):
                yield self._answer(item, own, results[: len(own)], task)
                del results[: len(own)]
                item, own = next(waiting, (None, []))

    def _pack(self, windows: list[Encoding], numbers: list[int]) -> PackedBatch:
        """Pack windows; `numbers` are those of the texts that they are of."""
        config = self.model.config
        types = self.tokenizer.token_types(windows, config.type_vocab_size)
        return pack_sentences(config, [w.ids for w in windows], types, "text {}", numbers)

    def _apply_truncation(self, cut: list[int], total: int, limit: int, truncation: Any, first: int) -> None:
        if truncation in ("error", False):
            refuse_truncation(cut, limit, first)
        with self._count_lock:
            self.truncated += len(cut)
        if truncation == "warn":
            warn_of_truncation(len(cut), total, limit)

    def _known(self, options: dict[str, Any]) -> dict[str, Any]:
        """Options without keywords of other libraries that change nothing here; those that would are refused."""
        return without_foreign(PipelineKeywords, type(self).__name__, options) if options else options

    def _settings(self, options: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        """General settings and the task's, call over constructor, checked."""
        options = self._known(options)
        general = {name: options.get(name, value) for name, value in self._general.items()}
        task = {**self._defaults, **{k: v for k, v in options.items() if k not in general}}
        unknown = sorted(set(task) - set(self.option_names))
        if unknown:
            known = ", ".join((*self.option_names, *general))
            raise TypeError(f"{self.task} has no option {', '.join(unknown)}; it has {known}")
        if general["truncation"] is None:
            general["truncation"] = self.truncation
        else:
            check_truncation(general["truncation"])
        for name in ("batch_size", "batch_tokens", "max_length"):
            general[name] = check_number(name, general[name])
        return general, self._options(**task)


def needs_head(task: str, model: Any, has: type | tuple[type, ...], what: str, loader: str) -> None:
    """Refuse a model without the head of a task.

    Args:
        task: its name.
        model: what the caller passed.
        has: the class, or classes, of models with that head.
        what: the head, in words.
        loader: the class that loads such models.

    Raises:
        TypeError: the model lacks the head.
    """
    if not isinstance(model, has):
        heads = getattr(model, "heads", None)
        use = f"; this one is for {good_for(heads)}" if heads else ""
        raise TypeError(f"{task} needs a model with {what}, got {type(model).__name__}: load it with {loader}{use}")


def _has_items(inputs: Any) -> bool:
    """Whether it is a sequence of the older kind, as transformers' datasets are."""
    return hasattr(inputs, "__getitem__") and not hasattr(inputs, "__iter__")


@contextlib.contextmanager
def _bar(total: int) -> Iterator[Any]:
    with loading():
        from tqdm.auto import tqdm

    with tqdm(total=total, unit=" texts") as bar:
        yield bar
