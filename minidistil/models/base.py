"""What all models share: loading, the call, the tokenizer, sentence embeddings.

Arrays are NumPy's; B sentences, S padded length, T packed tokens, D width, H heads. A sentence's result is that of the
sentence alone: tokens that the mask drops are not computed, and their rows in the outputs are zero.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, Literal, TypeVar, cast, overload

import numpy as np

import minidistil  # its public names: what stands on a model, a floor above, is asked for by them
from minidistil._float_mode import default_mode
from minidistil._keywords import CallKeywords, LoadingKeywords, SavingKeywords
from minidistil._loading import loaded_once, loading
from minidistil._options import CPU, Device, check_device
from minidistil.backends.batch import PackedBatch
from minidistil.backends.choose import RunOptions, create_backend, packed_beside
from minidistil.backends.protocol import Encoded
from minidistil.models.about import About, Embedding, about, outline
from minidistil.models.inputs import ModelInputs, prepare
from minidistil.models.outputs import BaseModelOutput, ModelOutput
from minidistil.weights.by_reference import ByReference
from minidistil.weights.config import Config, ConfigOptions, replaced
from minidistil.weights.model_weights import ModelWeights
from minidistil.weights.options import HubOptions, Option, spelled_out
from minidistil.weights.precision import Precision, check_precision, stored_precision
from minidistil.weights.quantization_config import KEY

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Unpack

    from minidistil.models.signatures import EncodeOptions
    from minidistil.tokenization import Tokenizer
    from minidistil.weights import Checkpoint
    from minidistil.weights.packing import PackedWeights
    from minidistil.weights.saving import Content
    from minidistil.weights.source import Source

Loaded = TypeVar("Loaded", bound="Model[Any]")
Output = TypeVar("Output", bound=ModelOutput)


class ModelOptions(ConfigOptions, RunOptions, total=False):
    """What is made of a checkpoint's files, and how it is computed."""

    config: Annotated[
        Config | Mapping[str, Any] | str | os.PathLike[str] | None,
        Option("a configuration, or where one is, in the place of the checkpoint's config.json."),
    ]
    add_pooling_layer: Annotated[
        bool | None,
        Option("False for a bare encoder without the checkpoint's pooler; unset, with it where there is one."),
    ]


class LoadOptions(HubOptions, ModelOptions, LoadingKeywords, total=False):
    """Everything that whoever loads a model may say: how to get its files, what to make of them, how it is computed."""


def divided(options: LoadOptions) -> tuple[HubOptions, ModelOptions]:
    """Return what finding the files takes of the options, and what making a model of them does."""
    hub = {name: value for name, value in options.items() if name in HubOptions.__annotations__}
    own = {name: value for name, value in options.items() if name in ModelOptions.__annotations__}
    return cast(HubOptions, hub), cast(ModelOptions, own)


def configured(checkpoint: Checkpoint, options: ModelOptions) -> Config:
    """Return the configuration that a model is made by: the checkpoint's, and what was said in its place.

    Raises:
        CheckpointError: with every fault of it.
        TypeError: a `config` that is none.
    """
    given: Any = options.get("config")
    folder = checkpoint.folder
    if isinstance(given, (str, os.PathLike)):
        given = Config.from_pretrained(given)
    if given is not None and not isinstance(given, (Config, Mapping)):
        found = type(given).__name__
        raise TypeError(f"config must be a configuration of minidistil's, a dictionary or a path, got {found}")
    raw = given.to_dict() if isinstance(given, Config) else checkpoint.config if given is None else dict(given)
    if KEY in checkpoint.config:  # of the file, whoever describes the model
        raw = {**raw, KEY: checkpoint.config[KEY]}
    else:
        raw = {name: value for name, value in raw.items() if name != KEY}
    return Config.from_dict(replaced(raw, options, folder), where=folder)


class Model(ByReference, Generic[Output]):
    """An encoder, and the head that a subclass puts on it.

    Copies share the weights. A pickle says where to load from (`minidistil.weights.by_reference`).

    Attributes:
        config: the checkpoint's config.json, checked.
        folder: where the checkpoint lies, or None for a model made of weights in memory.
        source: how the folder was found, or None.
        families: the model_types whose checkpoints the class loads.
        heads: the heads that a checkpoint must have, of `read_model`'s.
        reads_first_only: whether the head reads the first attended token of each sentence and no other; then the last
            layer computes no other.
    """

    families: ClassVar[tuple[str, ...]] = ()
    heads: ClassVar[tuple[str, ...]] = ()
    reads_first_only: ClassVar[bool] = False
    _output: ClassVar[type[ModelOutput]] = BaseModelOutput
    _shared = ("config", "folder", "source", "_pooler", "_head", "_backend", "_options", "_about")

    @default_mode()
    def __init__(
        self,
        config: Config,
        weights: ModelWeights,
        *,
        threads: int | None = None,
        backend: str | None = None,
        source: Source | None = None,
        packed: PackedWeights | None = None,
    ) -> None:
        self.config = config
        self.source = source
        self.folder = source.folder if source else None
        self._options: dict[str, Any] = {}
        self._pooler = weights.pooler
        self._head: Any = getattr(weights, self.heads[0]) if self.heads else None
        if self.heads and self._head is None:
            raise ValueError(f"these weights have no {self.heads[0]} head, which {type(self).__name__} computes")
        self._about: About = about(weights, self._head)
        self._backend = create_backend(backend, config, weights, threads, packed)

    @classmethod
    @spelled_out(LoadOptions)
    @default_mode()
    def from_pretrained(
        cls: type[Loaded], name_or_path: str | os.PathLike[str], **options: Unpack[LoadOptions]
    ) -> Loaded:
        """Load a checkpoint.

        Args:
            name_or_path: a folder, `package:NAME` of an installed package that carries one, or a hub id.
            **options: `LoadOptions`.

        Raises:
            CheckpointError: files that are missing, damaged or contradict each other; lists every fault.
            ValueError: a checkpoint of another family, or an unknown option.
        """
        from minidistil.weights import open_checkpoint

        hub, own = divided(options)
        return cls.from_checkpoint(open_checkpoint(name_or_path, **hub), name_or_path, **own)

    @classmethod
    @default_mode()
    def from_checkpoint(
        cls: type[Loaded],
        checkpoint: Checkpoint,
        name_or_path: str | os.PathLike[str] = "",
        **options: Unpack[ModelOptions],
    ) -> Loaded:
        """Load from an opened checkpoint, which was found by a name; see `from_pretrained`."""
        with loading():
            return cls._load(checkpoint, os.fspath(name_or_path), options)

    @classmethod
    def _load(cls: type[Loaded], checkpoint: Checkpoint, name_or_path: str, options: ModelOptions) -> Loaded:
        from minidistil.weights import read_model

        threads, backend, precision = options.get("threads"), options.get("backend"), options.get("precision")
        check_precision(precision)
        config = replace(configured(checkpoint, options), name_or_path=name_or_path or str(checkpoint.folder))
        if config.model_type not in cls.families:
            raise ValueError(
                f"{cls.__name__} loads {' and '.join(cls.families)} checkpoints; {checkpoint.folder} is "
                f"{config.model_type}: use AutoModel, or the class of that family"
            )
        packed = packed_beside(backend, checkpoint, precision) if options.get("config") is None else None
        read, weights = checkpoint.with_config(config.raw), None
        if packed is not None and precision and precision != stored_precision(checkpoint.config):
            from minidistil.weights.packed_model import as_packed

            weights = as_packed(packed, read_model(read, heads=cls.heads, check_finite=False), precision)
        if weights is None:
            # What is packed was checked when it was packed.
            weights = read_model(read, heads=cls.heads, check_finite=packed is None, precision=precision)
        pooled = options.get("add_pooling_layer")
        if pooled is False and not cls.heads:
            weights = replace(weights, pooler=None)
        elif pooled and weights.pooler is None and config.classifier_activation:
            raise ValueError(
                f"add_pooling_layer=True: {checkpoint.folder} has no pooler, and none is made up: leave it out"
            )
        model = cls(config, weights, threads=threads, backend=backend, source=checkpoint.source, packed=packed)
        model._options = {**options, "name_or_path": name_or_path}
        if options.get("config") is not None:
            model._options["config"] = dict(config.raw)
        return model

    @classmethod
    def _load_again(cls, source: Source, **options: Any) -> Mapping[str, Any]:
        from minidistil.weights import Checkpoint

        name = options.pop("name_or_path") or os.fspath(source)
        loaded = cls.from_checkpoint(Checkpoint(source), name, **options).__dict__
        return {name: loaded[name] for name in cls._shared}

    def _load_options(self) -> dict[str, Any]:
        own = self._options.get("name_or_path") != str(self.folder)
        return {**self._options, "name_or_path": self._options.get("name_or_path") if own else None}

    # The first for `model(**tokenizer(...))`: nobody knows what is in it, and it is to be no tuple.
    @overload
    def __call__(
        self,
        input_ids: Any = ...,
        attention_mask: Any = ...,
        token_type_ids: Any = ...,
        position_ids: Any = ...,
        inputs_embeds: Any = ...,
        output_hidden_states: Any = ...,
        output_attentions: Any = ...,
    ) -> Output: ...

    @overload
    def __call__(
        self,
        input_ids: Any = ...,
        attention_mask: Any = ...,
        token_type_ids: Any = ...,
        position_ids: Any = ...,
        inputs_embeds: Any = ...,
        output_hidden_states: bool | None = ...,
        output_attentions: bool | None = ...,
        *,
        return_dict: Literal[False],
        **others: Unpack[CallKeywords],
    ) -> tuple[Any, ...]: ...

    @overload
    def __call__(
        self,
        input_ids: Any = ...,
        attention_mask: Any = ...,
        token_type_ids: Any = ...,
        position_ids: Any = ...,
        inputs_embeds: Any = ...,
        output_hidden_states: bool | None = ...,
        output_attentions: bool | None = ...,
        return_dict: Literal[True] | None = ...,
        **others: Unpack[CallKeywords],
    ) -> Output: ...

    @spelled_out(CallKeywords)
    @default_mode()
    def __call__(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        token_type_ids: Any = None,
        position_ids: Any = None,
        inputs_embeds: Any = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
        **others: Unpack[CallKeywords],
    ) -> Any:
        """Run the model.

        Args:
            input_ids: integers [B, S], as NumPy arrays, lists, or anything that NumPy reads as an array.
            attention_mask: [B, S], nonzero = attend; or [B or 1, H or 1, S or 1, S], bool or added to the scores.
            token_type_ids: integers [B, S]; DistilBERT takes only zeros.
            position_ids: integers [B, S]; counted from 0 in every row where not given.
            inputs_embeds: floats [B, S, D] in place of `input_ids`: they replace the word embeddings.
            output_hidden_states: also return what enters the first layer and what leaves each; unset, as the
                configuration says, which mostly says no.
            output_attentions: also return every layer's attention probabilities; unset, as the configuration says.
            return_dict: False for a plain tuple; unset, as the configuration says.
            **others: `CallKeywords`.

        Returns:
            The class's output object; float32 throughout.

        Raises:
            TypeError: ids that are not integers, text, or a dictionary that was not unpacked.
            ValueError: shapes or numbers that do not fit the model; the message says which and where.
        """
        inputs = self._prepare(input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        config = self.config
        states = config.output_hidden_states if output_hidden_states is None else bool(output_hidden_states)
        attentions = config.output_attentions if output_attentions is None else bool(output_attentions)
        encoded = self._encode(inputs, states, attentions)
        values = self._compute_head(inputs, encoded.last)
        if encoded.hidden_states is not None:
            values["hidden_states"] = tuple(inputs.unpack(state) for state in encoded.hidden_states)
        if encoded.attentions is not None:
            values["attentions"] = tuple(inputs.unpack_attention(layer, config.n_heads) for layer in encoded.attentions)
        output = self._output(**values)
        return output if (config.return_dict if return_dict is None else return_dict) else output.to_tuple()

    @spelled_out(SavingKeywords)
    def save_pretrained(self, save_directory: str | os.PathLike[str], **others: Unpack[SavingKeywords]) -> list[str]:
        """Write a copy of the checkpoint that the model was loaded from: config.json and all its weights.

        It is the checkpoint's own, in whatever `precision` it was loaded. Weights that are not safetensors become such.
        The files are whole, or nobody takes the folder for a checkpoint.

        Args:
            save_directory: a folder, made where there is none.
            **others: `SavingKeywords`.

        Returns:
            The paths written.

        Raises:
            CheckpointError: the folder cannot be written, or the checkpoint's files have changed since it was loaded.
            ValueError: a model that was made in memory.
        """
        from minidistil.weights.saving import save

        return save(save_directory, self.files_to_save())

    def files_to_save(self) -> dict[str, Content]:
        """Return what `save_pretrained` writes, by the files' names; see `minidistil.weights.saving`."""
        from minidistil.weights.saving import as_json, weight_files

        if self.source is None:
            raise ValueError(f"this {type(self).__name__} was made in memory, so there is no checkpoint to copy")
        self.source.check()
        folder = self.source.folder
        return {**weight_files(self.source), "config.json": as_json(self.config.raw, like=folder / "config.json")}

    @loaded_once
    def tokenizer(self) -> Tokenizer:
        """The checkpoint's tokenizer, loaded when first asked for."""
        from minidistil.tokenization import Tokenizer

        if self.source is None:
            raise ValueError("this model was made of weights in memory; there is no folder to load a tokenizer from")
        return Tokenizer.from_pretrained(self.source)

    @loaded_once
    def sentence_encoder(self) -> minidistil.SentenceEncoder:
        """The model as sentence-transformers would use it: by modules.json, or mean pooling where there is none."""
        return minidistil.SentenceEncoder(self, self.source)

    @overload
    def encode(
        self,
        sentences: str | Iterable[str],
        prompt_name: str | None = ...,
        prompt: str | None = ...,
        batch_size: int | None = ...,
        show_progress_bar: bool | None = ...,
        *,
        output_value: Literal["sentence_embedding"] = ...,
        precision: Literal["float32"] | None = ...,
        **options: Unpack[EncodeOptions],
    ) -> NDArray[np.float32]: ...

    @overload
    def encode(self, sentences: Any = ..., *args: Any, **options: Any) -> Any: ...

    def encode(self, sentences: Any = None, *args: Any, **options: Any) -> Any:
        """Embed sentences: str to float32 [D], list to float32 [B, D]; see `SentenceEncoder.encode`."""
        return self.sentence_encoder.encode(sentences, *args, **options)

    def encode_packed(self, batch: PackedBatch, rows: np.ndarray | None = None) -> np.ndarray:
        """Return the last hidden states of packed sentences: float32 [T, D], or [R, D] for `rows` (int64 [R])."""
        return self._backend.encode(batch, rows=rows).last

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """Return how many numbers the weights are, those that are used twice counted once.

        Args:
            only_trainable: without effect, as in transformers for a model that was loaded.
            exclude_embeddings: leave the tables of words, positions and token types out.
        """
        return self._about.parameters - (self._about.embeddings if exclude_embeddings else 0)

    def get_input_embeddings(self) -> Embedding:
        """Return the word embeddings, to read."""
        return Embedding(self._about.words)

    @property
    def name_or_path(self) -> str:
        """What the model was loaded by."""
        return self.config.name_or_path

    def __repr__(self) -> str:
        computed = type(self._backend).__name__.lower()
        return outline(type(self).__name__, self.config, "".join(self.heads), self._about, computed)

    @property
    def precision(self) -> Precision:
        """That of the weights: "float32", "bfloat16" or "int8"; results are float32 in each."""
        return self._about.precision

    @property
    def device(self) -> Device:
        """The CPU."""
        return CPU

    @property
    def dtype(self) -> np.dtype[Any]:
        """What results are, and what is computed between the products: float32, whatever the `precision`."""
        return np.dtype(np.float32)

    def cpu(self: Loaded) -> Loaded:
        """Return the model, which is on the CPU."""
        return self

    def eval(self: Loaded) -> Loaded:
        """Return the model: it only ever evaluates. Here so that code written for PyTorch keeps working."""
        return self

    def to(self: Loaded, device: Any) -> Loaded:
        """Return the model where `device` is the CPU. Here so that code written for PyTorch keeps working.

        Raises:
            ValueError: any other device.
        """
        check_device(device)
        return self

    def _prepare(
        self, input_ids: Any, attention_mask: Any, token_type_ids: Any, position_ids: Any, inputs_embeds: Any
    ) -> ModelInputs:
        return prepare(self.config, input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)

    def _encode(self, inputs: ModelInputs, hidden_states: bool, attentions: bool) -> Encoded:
        if inputs.sentences:
            rows = first_tokens(inputs.batch) if self.reads_first_only else None
            return self._backend.encode(inputs.batch, hidden_states=hidden_states, attentions=attentions, rows=rows)
        nothing = np.zeros((0, self.config.dim), np.float32)
        L = self.config.n_layers
        return Encoded(nothing, (nothing,) * (L + 1) if hidden_states else None, ((),) * L if attentions else None)

    def _compute_head(self, inputs: ModelInputs, last: np.ndarray) -> dict[str, Any]:
        """The head's fields of the output, in the caller's layout; last: float32 [T, D], or [B, D] of first tokens."""
        return {"last_hidden_state": inputs.unpack(last)}


def first_tokens(batch: PackedBatch) -> np.ndarray:
    """Rows int64 [B] of each sentence's first token, the one that heads on whole sentences read."""
    return batch.offsets[:-1]
