"""What encoders of sentences and rerankers have in common: prompts, a longest input, a count of what was cut."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypedDict, TypeVar, cast

import numpy as np

from minidistil._loading import Lock, loaded_once
from minidistil._options import Device, check_device, check_number, check_text
from minidistil.models.base import LoadOptions, ModelOptions, divided
from minidistil.sentences.parts import TransformerPart
from minidistil.tokenization import Tokenizer, input_limit
from minidistil.tokenization.options import LoadTokenizerOptions
from minidistil.weights.config import ReadOptions
from minidistil.weights.options import HubOptions, Option, checked_table

if TYPE_CHECKING:
    from minidistil.models.base import Model
    from minidistil.weights.config import Config
    from minidistil.weights.precision import Precision


Self = TypeVar("Self", bound="Prompted")


class KeywordOptions(TypedDict, total=False):
    """Tables of options that sentence-transformers hands on to transformers."""

    model_kwargs: Annotated[Mapping[str, Any] | None, Option("options of `AutoModel.from_pretrained`.")]
    processor_kwargs: Annotated[Mapping[str, Any] | None, Option("options of `AutoTokenizer.from_pretrained`.")]
    config_kwargs: Annotated[Mapping[str, Any] | None, Option("options of `AutoConfig.from_pretrained`.")]


class SentenceOptions(LoadOptions, KeywordOptions, total=False):
    """Everything that whoever makes a SentenceTransformer or a CrossEncoder may say."""


def resolved(options: SentenceOptions) -> tuple[HubOptions, ModelOptions, dict[str, Any]]:
    """Return what finding the files takes of the options, what making a model does, and what its tokenizer does.

    Raises:
        TypeError: a table of options that is none, or an unknown option in it.
        ValueError: an option that is refused.
    """
    given: dict[str, Any] = {}
    for name, table in (("config_kwargs", ReadOptions), ("model_kwargs", LoadOptions)):
        given |= checked_table(table, name, options.get(name))
    hub, own = divided(cast(LoadOptions, given | {name: value for name, value in options.items() if value is not None}))
    backend = own.get("backend")
    if backend in ("onnx", "openvino"):
        raise ValueError(f"backend={backend!r}: the engine takes the checkpoint as it is; leave it out")
    if backend == "torch":
        own["backend"] = None
    return hub, own, checked_table(LoadTokenizerOptions, "processor_kwargs", options.get("processor_kwargs"))


class Prompted:
    """A model that reads texts, with a prompt before them where one is asked for.

    Args:
        model: the model.
        prompts: text by name.
        default_prompt_name: the one that is used unless told otherwise, or None.
        max_seq_length: in tokens, or None for the model's own limit.
        tokenizer_options: of `Tokenizer.from_pretrained`, where the tokenizer is to be read otherwise than the model's.
    """

    _limit_name: ClassVar[str] = "max_seq_length"  # what errors call it

    def __init__(
        self,
        model: Model[Any],
        prompts: Mapping[str, str],
        default_prompt_name: str | None,
        max_seq_length: int | None,
        tokenizer_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.model = model
        self._tokenizer_options = dict(tokenizer_options or {})
        self.prompts = dict(prompts)
        self.default_prompt_name = default_prompt_name
        self.truncated = 0
        self._count_lock = Lock()
        self._max_seq_length = max_seq_length
        if "model_max_length" in self._tokenizer_options:  # goes before what the folder says
            self.max_seq_length = self._tokenizer_options["model_max_length"]
        if self._tokenizer_options:
            self.tokenizer  # noqa: B018 (loaded now, as an option may be wrong)

    @property
    def config(self) -> Config:
        """The encoder's config."""
        return self.model.config

    @property
    def tokenizer(self) -> Tokenizer:
        """The encoder's tokenizer."""
        return self._told_tokenizer if self._tokenizer_options else self.model.tokenizer

    @loaded_once
    def _told_tokenizer(self) -> Tokenizer:
        return self._read_tokenizer()

    def _read_tokenizer(self) -> Tokenizer:
        """Read the tokenizer as its options say."""
        if self.model.source is None:
            raise ValueError("this model was made of weights in memory; there is no folder to load a tokenizer from")
        return Tokenizer.from_pretrained(self.model.source, **self._tokenizer_options)

    @property
    def device(self) -> Device:
        """The CPU."""
        return self.model.device

    @property
    def dtype(self) -> np.dtype[Any]:
        """What results are, and what is computed between the products: float32, whatever the `precision`."""
        return self.model.dtype

    @property
    def precision(self) -> Precision:
        """That of the model's weights, "float32", "bfloat16" or "int8"; that of embeddings is an option of `encode`."""
        return self.model.precision

    def eval(self: Self) -> Self:
        """Return the model: it only ever evaluates. Here so that code written for PyTorch keeps working."""
        return self

    def to(self: Self, device: Any) -> Self:
        """Return the model where `device` is the CPU. Here so that code written for PyTorch keeps working.

        Raises:
            ValueError: any other device.
        """
        check_device(device)
        return self

    def cpu(self: Self) -> Self:
        """Return the model, which is on the CPU."""
        return self

    def get_max_seq_length(self) -> int:
        """Return `max_seq_length`."""
        return self.max_seq_length

    @property
    def parts(self) -> list[Any]:
        """The modules in their order, the encoder first."""
        return [TransformerPart(self)]

    def __getitem__(self, index: Any) -> Any:
        """Return a module by its number, or several."""
        return self.parts[index]

    def __len__(self) -> int:
        return len(self.parts)

    def __repr__(self) -> str:
        kinds = [type(part).__name__.removesuffix("Part") for part in self.parts]
        lines = [f"  ({i}): {kind}" for i, kind in enumerate(kinds)]
        lines[0] += f"({type(self.model).__name__}, {self.precision})"
        return "\n".join([f"{type(self).__name__}(", *lines, ")"])

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[Any]:
        return iter(self.parts)

    def tokenize(self, texts: Any, **options: Any) -> Any:
        """Return the ids of a list of texts or pairs, padded and cut as `max_seq_length` says, in arrays int64 [B, S].

        Args:
            texts: list of str, or of pairs.
            **options: of the tokenizer's call.
        """
        usual = {"padding": True, "truncation": True, "max_length": self.max_seq_length, "return_tensors": "np"}
        return self.tokenizer(list(texts), **{**usual, **options})

    preprocess = tokenize

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
