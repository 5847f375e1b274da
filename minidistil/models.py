"""The models by the names that people know: encoders, and encoders with the masked-language-model head.

Arrays are NumPy's; B sentences, S padded length, D width, H heads, V vocabulary. A sentence's result is that of the
sentence alone: tokens that the mask drops are not computed, and their rows in the outputs are zero.
"""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from minidistil.backend import Encoded
from minidistil.batch import PackedBatch
from minidistil.choose_backend import create_backend, packed_beside
from minidistil.config import Config
from minidistil.inputs import ModelInputs, prepare
from minidistil.outputs import BaseModelOutput, BaseModelOutputWithPooling, MaskedLMOutput, ModelOutput
from minidistil.weights.model_weights import ModelWeights

if TYPE_CHECKING:
    from minidistil.sentences import SentenceEncoder
    from minidistil.tokenization import Tokenizer
    from minidistil.weights import Checkpoint
    from minidistil.weights.packing import PackedWeights

Loaded = TypeVar("Loaded", bound="Model")
_LOGIT_ROWS = 256  # rows of logits computed at a time where they are scattered into a padded array: 31 MB of 30,522


class Model:
    """What all models share: loading, the call, the tokenizer, sentence embeddings.

    Attributes:
        config: the checkpoint's config.json, checked.
        folder: where the checkpoint lies, or None for a model made of weights in memory.
    """

    families: ClassVar[tuple[str, ...]] = ()
    heads: ClassVar[tuple[str, ...]] = ()
    _output: ClassVar[type[ModelOutput]] = BaseModelOutput

    def __init__(
        self,
        config: Config,
        weights: ModelWeights,
        *,
        threads: int | None = None,
        backend: str = "engine",
        folder: Path | None = None,
        packed: PackedWeights | None = None,
    ) -> None:
        self.config = config
        self.folder = folder
        self._pooler = weights.pooler
        self._backend = create_backend(backend, config, weights, threads, packed)

    @classmethod
    def from_pretrained(
        cls: type[Loaded],
        name_or_path: str | os.PathLike[str],
        *,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        token: str | bool | None = None,
        threads: int | None = None,
        backend: str = "engine",
    ) -> Loaded:
        """Load a checkpoint.

        Args:
            name_or_path: a folder, `package:NAME` of an installed package that carries one, or a hub id.
            revision: hub branch, tag or commit.
            cache_dir: where hub files are kept.
            local_files_only: never open a connection.
            token: hub credentials.
            threads: to compute with; None for what the process may use.
            backend: "engine", "exact" or "blas".

        Raises:
            CheckpointError: files that are missing, damaged or contradict each other; lists every fault.
            ValueError: a checkpoint of another family, or an unknown option.
        """
        from minidistil.weights import open_checkpoint

        checkpoint = open_checkpoint(
            name_or_path, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only, token=token
        )
        return cls.from_checkpoint(checkpoint, threads=threads, backend=backend)

    @classmethod
    def from_checkpoint(
        cls: type[Loaded], checkpoint: Checkpoint, *, threads: int | None = None, backend: str = "engine"
    ) -> Loaded:
        """Load from an opened checkpoint; see `from_pretrained`."""
        from minidistil.weights import read_model

        config = Config.from_dict(checkpoint.config, where=checkpoint.folder)
        if config.model_type not in cls.families:
            raise ValueError(
                f"{cls.__name__} loads {' and '.join(cls.families)} checkpoints; {checkpoint.folder} is "
                f"{config.model_type}: use AutoModel, or the class of that family"
            )
        packed = packed_beside(backend, checkpoint)
        # What is packed was checked when it was packed.
        weights = read_model(checkpoint, heads=cls.heads, check_finite=packed is None)
        return cls(config, weights, threads=threads, backend=backend, folder=checkpoint.folder, packed=packed)

    def __call__(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        token_type_ids: Any = None,
        position_ids: Any = None,
        inputs_embeds: Any = None,
        output_hidden_states: bool | None = False,
        output_attentions: bool | None = False,
        return_dict: bool | None = True,
    ) -> Any:
        """Run the model.

        Args:
            input_ids: integers [B, S], as NumPy arrays, lists, or anything that NumPy reads as an array.
            attention_mask: [B, S], nonzero = attend; or [B or 1, H or 1, S or 1, S], bool or added to the scores.
            token_type_ids: integers [B, S]; DistilBERT takes only zeros.
            position_ids: integers [B, S]; counted from 0 in every row where not given.
            inputs_embeds: floats [B, S, D] in place of `input_ids`: they replace the word embeddings.
            output_hidden_states: also return what enters the first layer and what leaves each.
            output_attentions: also return every layer's attention probabilities.
            return_dict: False for a plain tuple.

        Returns:
            The class's output object; float32 throughout.

        Raises:
            TypeError: ids that are not integers, text, or a dictionary that was not unpacked.
            ValueError: shapes or numbers that do not fit the model; the message says which and where.
        """
        inputs = prepare(self.config, input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        encoded = self._encode(inputs, bool(output_hidden_states), bool(output_attentions))
        values = self._head(inputs, encoded.last)
        if encoded.hidden_states is not None:
            values["hidden_states"] = tuple(inputs.unpack(state) for state in encoded.hidden_states)
        if encoded.attentions is not None:
            heads = self.config.n_heads
            values["attentions"] = tuple(inputs.unpack_attention(layer, heads) for layer in encoded.attentions)
        output = self._output(**values)
        return output.to_tuple() if return_dict is False else output

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The checkpoint's tokenizer, loaded when first asked for."""
        from minidistil.tokenization import Tokenizer

        if self.folder is None:
            raise ValueError("this model was made of weights in memory; there is no folder to load a tokenizer from")
        return Tokenizer.from_pretrained(self.folder)

    @cached_property
    def sentence_encoder(self) -> SentenceEncoder:
        """The model as sentence-transformers would use it: by modules.json, or mean pooling where there is none."""
        from minidistil.sentences import SentenceEncoder

        return SentenceEncoder(self, self.folder)

    def encode(self, sentences: Any, **options: Any) -> Any:
        """Embed sentences: str to float32 [D], list to float32 [B, D]; see `SentenceEncoder.encode`."""
        return self.sentence_encoder.encode(sentences, **options)

    def encode_packed(self, batch: PackedBatch, rows: np.ndarray | None = None) -> np.ndarray:
        """Return the last hidden states of packed sentences: float32 [T, D], or [R, D] for `rows` (int64 [R])."""
        return self._backend.encode(batch, rows=rows).last

    def eval(self: Loaded) -> Loaded:
        """Return the model: it only ever evaluates. Here so that code written for PyTorch keeps working."""
        return self

    def to(self: Loaded, device: Any) -> Loaded:
        """Return the model where `device` is the CPU. Here so that code written for PyTorch keeps working.

        Raises:
            ValueError: any other device.
        """
        if str(device) != "cpu":
            raise ValueError(f"minidistil computes on the CPU only, got device {str(device)!r}")
        return self

    def _encode(self, inputs: ModelInputs, hidden_states: bool, attentions: bool) -> Encoded:
        if inputs.sentences:
            return self._backend.encode(inputs.batch, hidden_states=hidden_states, attentions=attentions)
        nothing = np.zeros((0, self.config.dim), np.float32)
        L = self.config.n_layers
        return Encoded(nothing, (nothing,) * (L + 1) if hidden_states else None, ((),) * L if attentions else None)

    def _head(self, inputs: ModelInputs, last: np.ndarray) -> dict[str, Any]:
        return {"last_hidden_state": inputs.unpack(last)}


class DistilBertModel(Model):
    """DistilBERT's encoder: `last_hidden_state`."""

    families = ("distilbert",)


class BertModel(Model):
    """BERT's encoder: `last_hidden_state`, and `pooler_output` where the checkpoint has a pooler."""

    families = ("bert",)
    _output = BaseModelOutputWithPooling

    def _head(self, inputs: ModelInputs, last: np.ndarray) -> dict[str, Any]:
        values = super()._head(inputs, last)
        if self._pooler is not None:
            first = last[inputs.batch.offsets[:-1]]  # [B, D], the first token that is attended
            # A product and a sum per sentence, not `@`: BLAS would let the batch decide the order of the sums.
            rows = [np.add.reduce(self._pooler.weight * x, axis=1) + self._pooler.bias for x in first]
            values["pooler_output"] = np.tanh(np.array(rows, np.float32).reshape(first.shape))
        return values


class MaskedLM(Model):
    """An encoder with the masked-language-model head: `logits`."""

    heads = ("masked_lm",)
    _output = MaskedLMOutput

    def masked_lm(self, hidden: np.ndarray) -> np.ndarray:
        """Return the logits float32 [R, V] of last hidden states float32 [R, D], of any tokens."""
        return self._backend.masked_lm(hidden)

    def _head(self, inputs: ModelInputs, last: np.ndarray) -> dict[str, Any]:
        B, S, V = inputs.sentences, inputs.length, self.config.vocab_size
        if not B:
            return {"logits": np.zeros((B, S, V), np.float32)}
        if inputs.kept is None:
            return {"logits": self._backend.masked_lm(last).reshape(B, S, V)}
        logits = np.zeros((B * S, V), np.float32)
        for start in range(0, len(last), _LOGIT_ROWS):
            some = slice(start, start + _LOGIT_ROWS)
            logits[inputs.kept[some]] = self._backend.masked_lm(last[some])
        return {"logits": logits.reshape(B, S, V)}


class DistilBertForMaskedLM(MaskedLM):
    """DistilBERT with the masked-language-model head."""

    families = ("distilbert",)


class BertForMaskedLM(MaskedLM):
    """BERT with the masked-language-model head."""

    families = ("bert",)
