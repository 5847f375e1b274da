"""What all pipelines share: one text gives one answer, a list a list, any other iterable an iterator."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, ClassVar

import numpy as np

from minidistil.inputs import token_batches
from minidistil.tokenization import (
    Tokenizer,
    check_truncation,
    input_limit,
    refuse_truncation,
    warn_of_truncation,
)

_TOKENS = 2048  # of one call of the backend: enough for its speed, short enough for Ctrl-C


class Pipeline:
    """Text in, answers out.

    Args:
        model: with the head that the task needs.
        tokenizer: the model's.
        batch_size: most texts per call of the model, and how many an iterator is read ahead (1 if unset). Speed alone
            depends on it.
        truncation: what to do with texts longer than the model takes: "error" or False (refuse), "warn" (use their
            beginnings, and one `TruncationWarning` with their number per call), True (use their beginnings).
        progress: show a progress bar on standard error.
        **options: the task's own, as defaults for every call.

    Attributes:
        model: the model.
        tokenizer: the tokenizer.
        truncated: how many texts have been cut so far.
    """

    task: ClassVar[str]
    option_names: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        model: Any,
        tokenizer: Tokenizer,
        *,
        batch_size: int | None = None,
        truncation: str | bool = "error",
        progress: bool = False,
        **options: Any,
    ) -> None:
        if not isinstance(tokenizer, Tokenizer):
            raise TypeError(f"tokenizer must be a path or a minidistil Tokenizer, got {type(tokenizer).__name__}")
        self.model = model
        self.tokenizer = tokenizer
        self.truncated = 0
        self._count_lock = threading.Lock()
        self._general: dict[str, Any] = {"batch_size": batch_size, "truncation": truncation, "progress": progress}
        self._defaults = options
        self._settings({})  # a wrong default is an error here, not at the first call

    def __call__(self, inputs: str | Iterable[str], **options: Any) -> Any:
        """Answer one text, a list of texts, or, one after another as they are asked for, those of an iterable.

        Args:
            inputs: str, list or tuple of str, or any other iterable of str.
            **options: as for the constructor, for this call.

        Returns:
            One answer; a list of answers (also for a list of one); or an iterator over answers.

        Raises:
            TypeError: something other than text, or an option the task lacks.
            ValueError: a text that cannot be answered; the message says which and why.
        """
        general, task = self._settings(options)
        if isinstance(inputs, str):
            return self._answer([inputs], general, task, 0)[0]
        if isinstance(inputs, (list, tuple)):
            return self._answer(inputs, general, task, 0)
        if isinstance(inputs, (bytes, dict)) or not isinstance(inputs, Iterable):
            raise TypeError(
                f"{self.task} takes a str, a list of str or an iterable of str, got {type(inputs).__name__}"
            )
        return self._answer_lazily(iter(inputs), general, task)

    def _answer_lazily(self, texts: Iterator[str], general: dict[str, Any], task: Any) -> Iterator[Any]:
        done = 0
        while some := list(islice(texts, general["batch_size"] or 1)):
            yield from self._answer(some, {**general, "progress": False}, task, done)
            done += len(some)

    def _answer(self, texts: Sequence[str], general: dict[str, Any], task: Any, first: int) -> list[Any]:
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"text {first + i} must be a str, got {type(text).__name__}")
        limit = input_limit(self.tokenizer, self.model.config.max_position_embeddings)
        ids, cut = self.tokenizer.encode_limited(texts, limit)
        if general["truncation"] in ("error", False):
            refuse_truncation(cut, limit, first)
        with self._count_lock:
            self.truncated += len(cut)
        if general["truncation"] == "warn":
            warn_of_truncation(len(cut), len(texts), limit)
        self._check(ids, set(cut), first)
        answers: list[Any] = []
        runs = token_batches([len(sentence) for sentence in ids], _TOKENS, general["batch_size"])
        for run in _shown(list(runs), len(ids)) if general["progress"] else runs:
            answers.extend(self._compute(ids[run], task))
        return answers

    def _settings(self, options: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        """General settings and the task's, call over constructor, checked."""
        general = {name: options.get(name, value) for name, value in self._general.items()}
        task = {**self._defaults, **{k: v for k, v in options.items() if k not in general}}
        unknown = sorted(set(task) - set(self.option_names))
        if unknown:
            known = ", ".join((*self.option_names, *general))
            raise TypeError(f"{self.task} has no option {', '.join(unknown)}; it has {known}")
        check_truncation(general["truncation"])
        if general["batch_size"] is not None and general["batch_size"] < 1:
            raise ValueError(f"batch_size must be positive, got {general['batch_size']}")
        return general, self._options(**task)

    def _options(self, **options: Any) -> Any:
        """Check the task's options and make of them what `_compute` takes."""
        raise NotImplementedError

    def _check(self, ids: list[np.ndarray], cut: set[int], first: int) -> None:
        """Refuse texts that the task cannot answer; `cut` are those that were truncated."""
        raise NotImplementedError

    def _compute(self, ids: list[np.ndarray], options: Any) -> list[Any]:
        """Answer one batch."""
        raise NotImplementedError


def _shown(runs: list[slice], total: int) -> Iterator[slice]:
    from tqdm.auto import tqdm

    with tqdm(total=total, unit=" texts") as bar:
        for run in runs:
            yield run
            bar.update(run.stop - run.start)
