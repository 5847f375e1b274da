"""Engine: the backend of compiled kernels."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator

import numpy as np

from minidistil.backend import Encoded
from minidistil.batch import PackedBatch
from minidistil.config import Config
from minidistil.engine.operations import Operations
from minidistil.engine.threads import Team, default_threads
from minidistil.engine.workspace import WorkspacePool
from minidistil.kernels import encoder, masked_lm
from minidistil.kernels._compile import cache_directory, is_cached
from minidistil.kernels._target import target
from minidistil.weights.model_weights import (
    EmbeddingWeights,
    EncoderWeights,
    LayerWeights,
    Linear,
    MaskedLMWeights,
    ModelWeights,
    Norm,
)
from minidistil.weights.packing import PackedWeights, is_packed_from, pack_model

logger = logging.getLogger("minidistil")

# Tokens of one pass. Enough that the weights' way from memory is forgotten; few enough that a pass ends, and Ctrl-C is
# heard, within half a second on one core, and that activations stay near 60 MB at DistilBERT's size.
TOKEN_BUDGET = 2048

# Rows of the vocabulary product at once: logits are the caller's memory, the transformed rows ours.
_HEAD_ROWS = 512


class EngineUnavailable(RuntimeError):
    """The engine cannot run on this machine; the message says why."""


class Engine(Operations):
    """Runs a model on compiled kernels; results have the bits of the reference over `exact`.

    Safe to call from several threads. With `threads=1` callers run side by side; otherwise they share the team and take
    turns.
    """

    def __init__(
        self, config: Config, weights: ModelWeights, threads: int | None = None, packed: PackedWeights | None = None
    ) -> None:
        """Prepare a model.

        Args:
            config: the model's numbers.
            weights: the model's arrays; the embedding tables are kept, the rest is packed and may be let go.
            threads: threads of a team; None for what the process may use (affinity and control-group quota).
            packed: the weights, packed already; where something is missing in them, they are packed anew.

        Raises:
            EngineUnavailable: the CPU (as Numba compiles for it) has no fused multiply-add.
            ValueError: the model needs something that the kernels do not have.
        """
        super().__init__()
        check_cpu()
        if config.activation != "gelu":
            raise ValueError(f"the engine has no activation {config.activation!r}, only 'gelu' (the erf form)")
        self.config = config
        self.threads = default_threads() if threads is None else threads
        self._embeddings = weights.encoder.embeddings
        if packed is None or not is_packed_from(packed, weights):
            packed = pack_model(weights)
        self._packed = packed
        self._team = Team(self.threads)
        self._workspaces = WorkspacePool(config, self.threads)
        self._sizes = encoder.Sizes(
            config.dim,
            config.n_heads,
            config.hidden_dim,
            np.float32(self._embeddings.layer_norm.eps),
            np.float32(1 / math.sqrt(config.head_dim)),
        )
        self._tables = _tables(self._embeddings, self._packed)
        self._layers = np.array([_layer_addresses(self._packed, i) for i in range(config.n_layers)], np.int64)
        head = weights.masked_lm
        self._head = None if head is None else _head(config, head.vocab_layer_norm.eps, self._packed)
        if not is_cached(encoder.encode):
            place = f"kept in {cache_directory()}" if cache_directory() else "for this process: no folder can keep it"
            logger.warning("compiling kernels for %s, once, %s; this takes some seconds", target().name, place)

    def encode(
        self,
        batch: PackedBatch,
        *,
        hidden_states: bool = False,
        attentions: bool = False,
        rows: np.ndarray | None = None,
    ) -> Encoded:
        """Run the encoder; see `minidistil.backend.Backend`."""
        wanted = None if rows is None else np.ascontiguousarray(rows, np.int64)
        everything = hidden_states or attentions or batch.attention_bias is not None
        limited = None if everything else wanted
        passes = [self._run(part, hidden_states, attentions, some) for part, some in _passes(batch, limited)]
        if not passes:
            return self._nothing(hidden_states, attentions)
        last = np.concatenate([p.last for p in passes]) if len(passes) > 1 else passes[0].last
        if limited is not None:
            last = _in_order_asked(last, limited)
        states = maps = None
        if hidden_states:
            depth = self.config.n_layers
            states = tuple(np.concatenate([p.hidden_states[i] for p in passes]) for i in range(depth)) + (last,)
        if attentions:
            maps = tuple(sum((p.attentions[i] for p in passes), ()) for i in range(self.config.n_layers))
        if everything and wanted is not None:
            last = last[wanted]
        return Encoded(last, states, maps)

    def masked_lm(self, hidden: np.ndarray) -> np.ndarray:
        """Logits float32 [R, V] of the masked-language-model head for hidden states float32 [R, D]."""
        if self._head is None:
            raise ValueError("this model was loaded without its masked-language-model head")
        hidden = np.ascontiguousarray(hidden, np.float32)
        logits = np.empty((len(hidden), self.config.vocab_size), np.float32)
        for start in range(0, len(hidden), _HEAD_ROWS):
            some, out = hidden[start : start + _HEAD_ROWS], logits[start : start + _HEAD_ROWS]
            memory = encoder.team_memory(masked_lm.PHASES)
            with self._workspaces.borrow(len(some), 1) as work:
                w = work.addresses
                self._team.run(
                    masked_lm.masked_lm, self._head, _address(some), len(some), w.x, w.ld_x, _address(out), w.scratch,
                    w.scratch_floats, memory=memory, keep=(some, logits, work, self._packed),
                )  # fmt: skip
        return logits

    def _run(self, batch: PackedBatch, hidden_states: bool, attentions: bool, rows: np.ndarray | None) -> Encoded:
        """One pass over a few sentences; `rows` in increasing order."""
        config, T = self.config, batch.tokens
        lengths = np.diff(batch.offsets)
        last = np.empty((T if rows is None else len(rows), config.dim), np.float32)
        states = np.empty((config.n_layers, T, config.dim), np.float32) if hidden_states else None
        places = maps = None
        if attentions:
            places = np.zeros(batch.sentences + 1, np.int64)
            np.cumsum(config.n_heads * lengths**2, out=places[1:])
            maps = np.empty(config.n_layers * int(places[-1]), np.float32)
        row_offsets = None if rows is None else np.searchsorted(rows, batch.offsets)
        tokens = encoder.Tokens(
            _address(batch.input_ids),
            _address(batch.token_type_ids),
            _address(batch.position_ids),
            _address(batch.offsets),
            batch.sentences,
            T,
            _address(rows),
            _address(row_offsets),
            0 if rows is None else len(rows),
            _address(batch.attention_bias),
            1 if batch.attention_bias is None else batch.attention_bias.shape[1],
        )
        tables = self._tables
        if batch.inputs_embeds is not None:
            tables = tables._replace(words=_address(batch.inputs_embeds))
        outputs = encoder.Outputs(_address(last), _address(states), _address(maps), _address(places))
        memory = encoder.team_memory(encoder.phases(config.n_layers))
        with self._workspaces.borrow(T, int(lengths.max())) as work:
            self._team.run(
                encoder.encode, self._layers, self._sizes, tables, tokens, work.addresses, outputs,
                memory=memory, keep=(self, batch, last, states, maps, places, rows, row_offsets, work),
            )  # fmt: skip
        return Encoded(
            last,
            None if states is None else tuple(states),
            None if maps is None or places is None else self._split(maps, places, lengths),
        )

    def _split(self, maps: np.ndarray, places: np.ndarray, lengths: np.ndarray) -> tuple[tuple[np.ndarray, ...], ...]:
        """Cut the block of attentions into [layer][sentence] arrays [H, n, n]."""
        layers = maps.reshape(self.config.n_layers, -1)
        heads = self.config.n_heads
        return tuple(
            tuple(layer[p : p + heads * n * n].reshape(heads, n, n) for p, n in zip(places, lengths, strict=False))
            for layer in layers
        )

    def _nothing(self, hidden_states: bool, attentions: bool) -> Encoded:
        none = np.empty((0, self.config.dim), np.float32)
        depth = self.config.n_layers
        return Encoded(none, (none,) * (depth + 1) if hidden_states else None, ((),) * depth if attentions else None)


def check_cpu() -> None:
    """Raise EngineUnavailable where Numba compiles for a CPU without fused multiply-add."""
    if not target().lanes:
        raise EngineUnavailable(
            f"the CPU that Numba compiles for ({target().name}) has no fused multiply-add of vectors, without which the "
            "kernels would be slow and lean on the C library's arithmetic"
        )


def warmup() -> None:
    """Compile every kernel of the engine, or load it from the cache of compiled kernels.

    Raises:
        EngineUnavailable: see `Engine`.
    """
    config = Config.from_dict(
        {
            "model_type": "distilbert",
            "vocab_size": 2,
            "max_position_embeddings": 2,
            "dim": 16,
            "n_heads": 1,
            "n_layers": 1,
            "hidden_dim": 16,
            "activation": "gelu",
        }
    )
    norm = Norm(np.ones(16, np.float32), np.zeros(16, np.float32), 1e-12)
    square = Linear(np.zeros((16, 16), np.float32), np.zeros(16, np.float32))
    layer = LayerWeights(square, square, square, square, norm, square, square, norm)
    table = np.zeros((2, 16), np.float32)
    weights = ModelWeights(
        EncoderWeights(EmbeddingWeights(table, table, None, norm), (layer,)),
        MaskedLMWeights(square, norm, Linear(table, np.zeros(2, np.float32))),
    )
    engine = Engine(config, weights, threads=1)
    token = np.zeros(1, np.int32)
    hidden = engine.encode(PackedBatch(token, token, None, None, np.array([0, 1]))).last
    engine.masked_lm(hidden)
    engine.activation("gelu", engine.linear(engine.layer_norm(hidden, norm), square))


def _passes(batch: PackedBatch, rows: np.ndarray | None) -> Iterator[tuple[PackedBatch, np.ndarray | None]]:
    """Cut a batch between sentences into parts of at most TOKEN_BUDGET tokens (or one sentence), with their sorted rows."""
    ordered = None if rows is None else np.unique(rows)
    first = 0
    while first < batch.sentences:
        limit = batch.offsets[first] + TOKEN_BUDGET
        end = max(first + 1, int(np.searchsorted(batch.offsets, limit, side="right")) - 1)
        start, stop = int(batch.offsets[first]), int(batch.offsets[end])
        some = None
        if ordered is not None:
            some = ordered[np.searchsorted(ordered, start) : np.searchsorted(ordered, stop)] - start
        if some is None or len(some):
            yield batch if end - first == batch.sentences else _part(batch, first, end), some
        first = end


def _part(batch: PackedBatch, first: int, end: int) -> PackedBatch:
    tokens = slice(int(batch.offsets[first]), int(batch.offsets[end]))
    return PackedBatch(
        None if batch.input_ids is None else batch.input_ids[tokens],
        batch.position_ids[tokens],
        None if batch.token_type_ids is None else batch.token_type_ids[tokens],
        None if batch.inputs_embeds is None else batch.inputs_embeds[tokens],
        batch.offsets[first : end + 1] - batch.offsets[first],
        None if batch.attention_bias is None else batch.attention_bias[first:end],
    )


def _in_order_asked(last: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """From rows sorted and unique to the order, and the repetitions, in which they were asked for."""
    ordered, place = np.unique(rows, return_inverse=True)
    return last if np.array_equal(ordered, rows) else last[place]


def _tables(embeddings: EmbeddingWeights, packed: PackedWeights) -> encoder.Tables:
    return encoder.Tables(
        _address(embeddings.word_embeddings),
        _address(embeddings.token_type_embeddings),
        _address(embeddings.position_embeddings),
        packed.address("embeddings.layer_norm.weight"),
        packed.address("embeddings.layer_norm.bias"),
    )


def _layer_addresses(packed: PackedWeights, i: int) -> list[int]:
    parts = ("qkv", "out_lin", "sa_layer_norm", "lin1", "lin2", "output_layer_norm")
    return [packed.address(f"layer.{i}.{part}.{kind}") for part in parts for kind in ("weight", "bias")]


def _head(config: Config, eps: float, packed: PackedWeights) -> masked_lm.Head:
    parts = ("vocab_transform", "vocab_layer_norm", "vocab_projector")
    addresses = [packed.address(f"{part}.{kind}") for part in parts for kind in ("weight", "bias")]
    return masked_lm.Head(*addresses, config.dim, config.vocab_size, np.float32(eps))


def _address(array: np.ndarray | None) -> int:
    """Where an array's data begin; 0 for None."""
    if array is None:
        return 0
    return array.__array_interface__["data"][0]
