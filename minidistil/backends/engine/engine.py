"""Engine: the backend of compiled kernels."""

from __future__ import annotations

import functools
import itertools

import numpy as np

from minidistil._float_mode import default_mode
from minidistil.backends.batch import PackedBatch
from minidistil.backends.engine.operations import Operations
from minidistil.backends.engine.passes import cut_in_passes, limits
from minidistil.backends.engine.plan import Plan, Written
from minidistil.backends.engine.planner import Asked
from minidistil.backends.engine.threads import Team, default_threads
from minidistil.backends.engine.workspace import WorkspacePool
from minidistil.backends.protocol import Encoded, as_rows
from minidistil.kernels.code import native
from minidistil.kernels.layout import address
from minidistil.weights.config import Config
from minidistil.weights.model_weights import EmbeddingWeights, MobileEmbeddingWeights, ModelWeights
from minidistil.weights.narrow import NarrowTable
from minidistil.weights.packing import PackedWeights, is_packed_from, pack_model

# Rows of the vocabulary product at once: logits are the caller's memory, the transformed rows ours.
_HEAD_ROWS = 512


_ALONE = Team(1)

EngineUnavailable = native.Unavailable
"""The engine cannot run on this machine; the message says why."""


class Engine(Operations):
    """Runs a model on compiled kernels; results have the bits of the reference over `exact`.

    Safe to call from several threads. With `threads=1` callers run side by side; otherwise they share the team and take
    turns.

    Attributes:
        config: the model's numbers.
        threads: of the team.
        plan: the passes.
        limits: how batches are cut into passes.
    """

    @default_mode()
    def __init__(
        self, config: Config, weights: ModelWeights, threads: int | None = None, packed: PackedWeights | None = None
    ) -> None:
        """Prepare a model.

        Args:
            config: the model's numbers.
            weights: the model's arrays; the embedding tables are kept, the rest is packed and may be let go.
            threads: threads of a team; None for what `default_threads` says.
            packed: the weights, packed already; where something is missing in them, they are packed anew.

        Raises:
            EngineUnavailable: the CPU (as Numba compiles for it) has no fused multiply-add.
        """
        super().__init__()
        self.config = config
        self.threads = default_threads() if threads is None else threads
        self._embeddings = weights.encoder.embeddings
        check_tables(config, self._embeddings)
        words = self._embeddings.word_embeddings
        self._words = address(words) if isinstance(words, np.ndarray) else 0  # 0: their plans know where they are
        if packed is None or not is_packed_from(packed, weights):
            packed = pack_model(weights)
        self._packed = packed
        self.plan = Plan(config, weights, packed)
        native.entry("run")  # compiled now where it never was, or found impossible here
        self.limits = limits(self.threads, self.plan.token_operations(), config.hidden_dim)
        self._team = Team(self.threads)
        self._workspaces = WorkspacePool(config.head_dim)

    def encode(
        self,
        batch: PackedBatch,
        *,
        hidden_states: bool = False,
        attentions: bool = False,
        rows: np.ndarray | None = None,
    ) -> Encoded:
        """Run the encoder; see `minidistil.backends.protocol.Backend`."""
        batch.check(self.config)
        wanted = None if rows is None else batch.rows(rows)
        everything = hidden_states or attentions or batch.attention_bias is not None
        limited = None if everything else wanted
        distinct = None if limited is None else _distinct(limited)
        config, count = self.config, batch.tokens if distinct is None else len(distinct)
        last = np.empty((count, config.dim), np.float32)  # each pass writes its own part
        states = np.empty((config.n_layers, batch.tokens, config.dim), np.float32) if hidden_states else None
        cut = cut_in_passes(batch, distinct, self.limits)
        maps: list[tuple[tuple[np.ndarray, ...], ...]] = [()] * len(cut.passes)

        def take(i: int) -> None:
            part = cut.passes[i]
            own = None if states is None else states[:, part.tokens]
            maps[i] = self._run(part.batch, last[part.results], own, attentions, part.rows, alone=cut.apart)

        if cut.apart:
            with self._team.turn():
                self._team.run_apart([functools.partial(take, i) for i in cut.order])
        else:
            for i in cut.order:
                take(i)
        if limited is not None and distinct is not None:
            last = _in_order_asked(last, limited, distinct)
        layers = None if states is None else (*states, last)
        by_layer = None
        if attentions:
            by_layer = tuple(tuple(itertools.chain(*parts)) for parts in zip(*maps, strict=True))
            by_layer = by_layer or ((),) * config.n_layers
        if everything and wanted is not None:
            last = last[wanted]
        return Encoded(last, layers, by_layer)

    @default_mode()
    def masked_lm(self, hidden: np.ndarray) -> np.ndarray:
        """Logits float32 [R, V] of the masked-language-model head for hidden states float32 [R, D]."""
        scoring, hidden = self.plan.masked_lm(), as_rows(hidden, self.config.dim)
        logits = np.empty((len(hidden), self.config.vocab_size), np.float32)
        for start in range(0, len(hidden), _HEAD_ROWS):
            some, out = hidden[start : start + _HEAD_ROWS], logits[start : start + _HEAD_ROWS]
            values = {"tokens": len(some), "hidden states": address(some), "logits": address(out), "clock": 0}
            self._take(scoring, values, len(some), 1, (some, logits))
        return logits

    def clock(self, batch: PackedBatch) -> np.ndarray:
        """Encode a batch of at most MOST_TOKENS tokens and tell when the threads met after each step.

        Returns:
            int64 [steps], nanoseconds of the monotonic clock; 0 where they did not meet. See
            `minidistil.backends.engine.profile`, which makes sense of it.
        """
        batch.check(self.config)
        times = np.zeros(len(self.plan.encode().steps), np.int64)
        self._run(batch, np.empty((batch.tokens, self.config.dim), np.float32), clock=times)
        return times

    def _run(
        self,
        batch: PackedBatch,
        last: np.ndarray,
        states: np.ndarray | None = None,
        attentions: bool = False,
        rows: np.ndarray | None = None,
        clock: np.ndarray | None = None,
        alone: bool = False,
    ) -> tuple[tuple[np.ndarray, ...], ...]:
        """One pass over a few sentences.

        Args:
            batch: the sentences.
            last: float32 [T, D], or [R, D] of `rows`; overwritten.
            states: float32 [L, T, D], what goes into each layer, overwritten; or None.
            attentions: whether they are wanted.
            rows: int [R] in increasing order; None for all.
            clock: int64 [steps], overwritten; or None.
            alone: whether this thread takes it by itself, in the team's turn.

        Returns:
            Attentions float32 [H, n, n], by layer and sentence; none where they are not wanted.
        """
        config, T = self.config, batch.tokens
        lengths = batch.offsets[1:] - batch.offsets[:-1]
        places = maps = None
        if attentions:
            places = np.zeros(batch.sentences + 1, np.int64)
            np.cumsum(config.n_heads * lengths**2, out=places[1:])
            maps = np.empty((config.n_layers, int(places[-1])), np.float32)
        types, embeds, bias = batch.token_type_ids, batch.inputs_embeds, batch.attention_bias
        if types is None and self._embeddings.token_type_embeddings is not None:
            types = np.zeros(T, np.int32)
        inputs = self.plan.inputs(batch)
        values = {
            "tokens": T,
            "sentences": batch.sentences,
            "words": self._words if embeds is None else address(embeds),
            "word_ids": address(batch.input_ids),
            "type_ids": address(types),
            "position_ids": address(batch.position_ids),
            "offsets": address(batch.offsets),
            "bias": address(bias),
            "bias_heads": 1 if bias is None else bias.shape[1],
            "last": address(last),
            "clock": address(clock),
        }
        values |= {name: address(array) for name, array in inputs.items()}
        wanted = None
        if rows is not None:
            wanted = rows.astype(np.int32), np.searchsorted(rows, batch.offsets)
            values |= {"wanted": len(rows), "wanted_rows": address(wanted[0]), "wanted_offsets": address(wanted[1])}
        if states is not None:
            values |= {f"state {i}": address(state) for i, state in enumerate(states)}
        if maps is not None:
            values |= {f"attentions {i}": address(layer) for i, layer in enumerate(maps)}
            values["attention places"] = address(places)
        asked = Asked(states is not None, attentions, rows is not None, embeds is not None and self._words == 0)
        encoding = self.plan.encode(asked)
        keep = (batch, types, inputs, wanted, last, states, maps, places, clock)
        self._take(encoding, values, T, int(lengths.max()), keep, alone)
        return () if maps is None or places is None else self._split(maps, places, lengths)

    def _take(
        self, written: Written, values: dict[str, int], tokens: int, longest: int, keep: object, alone: bool = False
    ) -> None:
        """Run what is planned; `values` are its variables but those of the workspace, `keep` what they point into."""
        team = _ALONE if alone else self._team
        with team.turn(), self._workspaces.borrow(written.buffers, tokens, longest, team.threads) as work:
            team.run(written.steps, {**values, **work.values}, (self, work, keep))

    def _split(self, maps: np.ndarray, places: np.ndarray, lengths: np.ndarray) -> tuple[tuple[np.ndarray, ...], ...]:
        """Cut the block of attentions into [layer][sentence] arrays [H, n, n]."""
        heads = self.config.n_heads
        return tuple(
            tuple(layer[p : p + heads * n * n].reshape(heads, n, n) for p, n in zip(places, lengths, strict=False))
            for layer in maps
        )


def warmup(training: bool = False) -> None:
    """Compile the engine's code, or load what is kept of it.

    Args:
        training: that of training too, which takes longer and which a model that only runs never needs.

    Raises:
        EngineUnavailable: see `Engine`.
    """
    for name in native.ENTRIES if training else (native.FIRST,):
        native.entry(name)


def _in_order_asked(last: np.ndarray, rows: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    """From rows sorted and unique to the order, and the repetitions, in which they were asked for."""
    return last if np.array_equal(ordered, rows) else last[np.searchsorted(ordered, rows)]


def _distinct(rows: np.ndarray) -> np.ndarray:
    """Sorted, each once. np.unique imports more of NumPy when it is first called, which a fork may cut short."""
    ordered = np.sort(rows)
    return ordered[np.diff(ordered, prepend=-1) > 0]


def check_tables(config: Config, embeddings: EmbeddingWeights | MobileEmbeddingWeights) -> None:
    """Refuse tables that are not as `PackedBatch.check` takes them to be: it goes by the config, and they are read."""
    sizes = {
        "word_embeddings": config.vocab_size,
        "token_type_embeddings": config.type_vocab_size,
        "position_embeddings": config.max_position_embeddings,
    }
    for name, rows in sizes.items():
        table = getattr(embeddings, name)
        if table is None:
            continue
        numbers, kind, word = table, "float32", "float32"
        if isinstance(table, NarrowTable):
            kind, word = ("uint16", "bits of bfloat16, uint16,") if table.scale is None else ("int8", "int8")
            numbers, scale = table.codes, table.scale
            if scale is not None and (
                scale.dtype != np.float32 or scale.shape != table.shape[:1] or not scale.flags.c_contiguous
            ):
                raise ValueError(f"{name}: its scale must be float32 [{len(table)}], contiguous, got {_found(scale)}")
        if len(numbers) < max(rows, 1) or numbers.dtype != kind or not numbers.flags.c_contiguous:
            raise ValueError(f"{name} must be {word} of at least {rows} rows, contiguous, got {_found(numbers)}")


def _found(array: np.ndarray) -> str:
    return f"{array.dtype} {list(array.shape)}{'' if array.flags.c_contiguous else ' with strides'}"
