"""What encoders of sentences and rerankers have in common: prompts, a longest input, a count of what was cut."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from minidistil._loading import Lock
from minidistil._options import check_number, check_text
from minidistil.tokenization import Tokenizer, input_limit

if TYPE_CHECKING:
    from minidistil.models.base import Model
    from minidistil.weights.config import Config


class Prompted:
    """A model that reads texts, with a prompt before them where one is asked for.

    Args:
        model: the model.
        prompts: text by name.
        default_prompt_name: the one that is used unless told otherwise, or None.
        max_seq_length: in tokens, or None for the model's own limit.
    """

    _limit_name: ClassVar[str] = "max_seq_length"  # what errors call it

    def __init__(
        self,
        model: Model[Any],
        prompts: Mapping[str, str],
        default_prompt_name: str | None,
        max_seq_length: int | None,
    ) -> None:
        self.model = model
        self.prompts = dict(prompts)
        self.default_prompt_name = default_prompt_name
        self.truncated = 0
        self._count_lock = Lock()
        self._max_seq_length = max_seq_length

    @property
    def config(self) -> Config:
        """The encoder's config."""
        return self.model.config

    @property
    def tokenizer(self) -> Tokenizer:
        """The encoder's tokenizer."""
        return self.model.tokenizer

    @property
    def max_seq_length(self) -> int:
        """Longer inputs are cut to this many tokens, special ones included; may be set."""
        limit = input_limit(self.tokenizer, self.config.longest_sentence)
        return limit if self._max_seq_length is None else min(self._max_seq_length, self.config.longest_sentence)

    @max_seq_length.setter
    def max_seq_length(self, value: int | None) -> None:
        self._max_seq_length = check_number(self._limit_name, value)

    def prompt_text(self, prompt: str | None = None, name: str | None = None) -> str:
        """Return what stands before the texts: `prompt`, else what `name` or the default name stands for.

        Raises:
            TypeError: a prompt or a name that is no text.
            ValueError: no prompt has that name.
        """
        if check_text("prompt", prompt) is not None:
            return str(prompt)
        name = self.default_prompt_name if check_text("prompt_name", name) is None else name
        if name is None:
            return ""
        if name not in self.prompts:
            raise ValueError(f"no prompt is named {name!r}; there are {sorted(self.prompts)}")
        return self.prompts[name]

    def _count_truncated(self, count: int) -> None:
        with self._count_lock:
            self.truncated += count
