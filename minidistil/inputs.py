"""What callers pass to a model, checked, and packed into the one form that backends take.

Masks say 1 = attend. Dropped tokens never reach a backend; what comes back is laid out again as the caller's [B, S],
with zeros where a token was dropped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidistil.batch import PackedBatch
from minidistil.config import Config


@dataclass(frozen=True)
class ModelInputs:
    """A checked call: the packed batch, and the way back to the caller's layout.

    Attributes:
        batch: the attended tokens, packed.
        length: S of the caller's [B, S].
        kept: int64 [T], the place of every packed token in the flattened [B * S]; None where all tokens are attended.
        choices: C, where the sentences are the choices of questions, one question's after another.
    """

    batch: PackedBatch
    length: int
    kept: np.ndarray | None
    choices: int = 1

    @property
    def sentences(self) -> int:
        """B, the number of sentences; 0 for an empty batch, which needs no backend."""
        return self.batch.sentences

    def unpack(self, packed: np.ndarray) -> np.ndarray:
        """Lay out float32 [T, N] as [B, S, N], zeros for dropped tokens."""
        B, S, N = self.sentences, self.length, packed.shape[-1]
        if self.kept is None:
            return packed.reshape(B, S, N)
        padded = np.zeros((B * S, N), np.float32)
        padded[self.kept] = packed
        return padded.reshape(B, S, N)

    def unpack_scalars(self, packed: np.ndarray) -> np.ndarray:
        """Lay out float32 [T] as [B, S], zeros for dropped tokens."""
        return self.unpack(packed[:, None]).reshape(self.sentences, self.length)

    def unpack_attention(self, per_sentence: tuple[np.ndarray, ...], heads: int) -> np.ndarray:
        """Lay out one layer's float32 [H, n, n] per sentence as [B, H, S, S], zeros for dropped tokens."""
        S = self.length
        padded = np.zeros((self.sentences, heads, S, S), np.float32)
        offsets = self.batch.offsets
        for b, probabilities in enumerate(per_sentence):
            if self.kept is None:
                padded[b] = probabilities
            else:
                places = self.kept[offsets[b] : offsets[b + 1]] - b * S
                padded[b][:, places[:, None], places[None, :]] = probabilities
        return padded


def prepare(
    config: Config,
    input_ids: Any = None,
    attention_mask: Any = None,
    token_type_ids: Any = None,
    position_ids: Any = None,
    inputs_embeds: Any = None,
) -> ModelInputs:
    """Check what a caller passed and pack it.

    Args:
        config: the model's.
        input_ids: integers [B, S]; exactly one of this and `inputs_embeds`.
        attention_mask: [B, S], nonzero = attend; or [B or 1, H or 1, S or 1, S], bool (True = attend) or float (added
            to the scores); None attends everything.
        token_type_ids: integers [B, S] or [1, S]; for a model without token types only zeros.
        position_ids: integers [B, S], [1, S] or [S]; None counts from 0 in every row, padding included, or as
            `Config.positions_skip_padding` says.
        inputs_embeds: floats [B, S, E], in place of the word embeddings.

    Returns:
        The packed batch and its layout. A batch of no sentences is allowed; a sentence of no attended tokens is not.

    Raises:
        TypeError: a wrong kind of value (floats as ids, text, a whole dictionary).
        ValueError: wrong shapes or numbers; the message says which, where, and what was expected.
    """
    if (input_ids is None) == (inputs_embeds is None):
        found = "neither" if input_ids is None else "both"
        raise ValueError(f"exactly one of input_ids and inputs_embeds is needed, got {found}")
    if input_ids is not None:
        ids, embeds = _ids(input_ids), None
        B, S = ids.shape
    else:
        ids, embeds = None, _embeds(inputs_embeds, config.embedding_size)
        B, S, _ = embeds.shape
    if config.longest_sentence < S:
        raise ValueError(
            f"the sentences are {S} tokens long, this model has {config.longest_sentence} positions; "
            "shorten them: tokenizer(..., truncation=True)"
        )
    if B and not S:
        raise ValueError("sentences without tokens have no result: the input is [B, 0]")

    kept, bias = _mask(attention_mask, B, S, config.n_heads)
    types = _token_types(token_type_ids, B, S, config)
    positions = _positions(config, position_ids, ids, B, S)

    if kept is None:
        offsets = np.arange(0, B * S + 1, S, dtype=np.int64) if S else np.zeros(1, np.int64)
    else:
        counts = np.bincount(kept // S, minlength=B)
        if B and counts.min() == 0:
            raise ValueError(
                f"attention_mask attends no token of sentence {int(counts.argmin())}; such a sentence has no result: "
                "leave it out of the batch"
            )
        offsets = np.zeros(B + 1, np.int64)
        np.cumsum(counts, out=offsets[1:])
    batch = PackedBatch(
        input_ids=None if ids is None else _pack(ids.reshape(-1), kept),
        position_ids=_pack(positions.reshape(-1), kept),
        token_type_ids=None if types is None else _pack(types.reshape(-1), kept),
        inputs_embeds=None if embeds is None else _pack(embeds.reshape(B * S, config.embedding_size), kept),
        offsets=offsets,
        attention_bias=bias,
    )
    batch.check(config, lambda b, t: f"[{b}, {t if kept is None else kept[offsets[b] + t] - b * S}]")
    return ModelInputs(batch, S, kept)


def flatten_choices(**arrays: Any) -> tuple[int, dict[str, Any]]:
    """Make B C sentences of the C choices of B questions.

    Args:
        arrays: `prepare`'s, each [B, C, S] (`inputs_embeds` [B, C, S, D]) or None; `position_ids` may be [S] as well.

    Returns:
        C, and the arrays without that axis.

    Raises:
        ValueError: an array that is not of that shape.
    """
    flat = {name: None if value is None else _array(value, name) for name, value in arrays.items()}
    shape: tuple[int, ...] = ()
    for name, array in flat.items():
        if array is None or (name == "position_ids" and array.ndim == 1):
            continue
        rank = 4 if name == "inputs_embeds" else 3
        if array.ndim != rank:
            hint = "; for one question pass array[None]" if array.ndim == rank - 1 else ""
            raise ValueError(
                f"{name} must be {rank}-D [questions, choices, tokens{', width' * (rank == 4)}], "
                f"got shape {array.shape}{hint}"
            )
        shape = shape or array.shape[:3]
        if array.shape[:3] != shape:
            raise ValueError(f"{name} must have the shape of the choices, {list(shape)}, got {list(array.shape[:3])}")
        flat[name] = array.reshape(array.shape[0] * array.shape[1], *array.shape[2:])
    if shape and not shape[1]:
        raise ValueError(f"a question needs at least one choice, the input is {list(shape)}")
    return (shape[1] if shape else 1), flat


def pack_sentences(
    config: Config,
    ids: Sequence[Any],
    token_type_ids: np.ndarray | None = None,
    name: str = "sentence {}",
    numbers: Sequence[int] | np.ndarray | None = None,
) -> PackedBatch:
    """Pack token ids of one or more sentences, at the positions that the model counts, and check them.

    Args:
        config: the model's.
        ids: integers [n] per sentence, as a tokenizer makes them.
        token_type_ids: integers [T], of all sentences one after another; None for all zeros.
        name: what errors call a sentence, {} being its number.
        numbers: int [B], the sentences' numbers; None counts from 0.

    Raises:
        ValueError: ids or token types that the model does not have, or a sentence without any tokens.
    """
    rows = [np.asarray(sentence) for sentence in ids]
    lengths = [len(row) for row in rows]

    def called(b: int) -> str:
        return name.format(b if numbers is None else numbers[b])

    if 0 in lengths:
        raise ValueError(f"{called(lengths.index(0))} has no tokens, so that it has no result")
    offsets = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    if config.positions_skip_padding:
        positions = [_positions_from_ids(row[None], config.pad_token_id)[0] for row in rows]
    else:
        counted = np.arange(max(lengths), dtype=np.int32)
        positions = [counted[:n] for n in lengths]
    batch = PackedBatch(
        input_ids=np.concatenate(rows),
        position_ids=np.concatenate(positions),
        token_type_ids=token_type_ids,
        inputs_embeds=None,
        offsets=offsets,
    )
    batch.check(config, lambda b, t: f" of {called(b)}, token {t},")
    return batch


def token_batches(lengths: Sequence[int], budget: int, most: int | None = None) -> Iterator[slice]:
    """Cut sentences, in order, into runs of at most `budget` tokens and `most` sentences, at least one each."""
    start, tokens = 0, 0
    for i, length in enumerate(lengths):
        if i > start and (tokens + length > budget or (most is not None and i - start >= most)):
            yield slice(start, i)
            start, tokens = i, 0
        tokens += length
    if start < len(lengths):
        yield slice(start, len(lengths))


def _pack(flat: np.ndarray, kept: np.ndarray | None) -> np.ndarray:
    return flat if kept is None else flat[kept]


def _array(value: Any, name: str) -> np.ndarray:
    if isinstance(value, Mapping):
        raise TypeError(f"{name} is a dictionary; a tokenizer's output is passed by name: model(**inputs)")
    try:
        array = np.asarray(value)
    except ValueError as error:
        if isinstance(value, (list, tuple)):
            raise ValueError(
                f"{name} does not form a rectangle: its sentences differ in length; pad them: "
                'tokenizer(..., padding=True, return_tensors="np")'
            ) from error
        raise
    if array.dtype.kind in "US":
        raise TypeError(f'{name} holds text; models take token ids: model(**tokenizer(texts, return_tensors="np"))')
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must be an array of numbers, got {array.dtype} from {type(value).__name__}")
    return array


def _integers(value: Any, name: str) -> np.ndarray:
    array = _array(value, name)
    if array.size == 0:
        return array.astype(np.int64)  # an empty list has no integer type of its own
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, got {array.dtype}")
    return array


def _ids(value: Any) -> np.ndarray:
    ids = _integers(value, "input_ids")
    if ids.shape == (0,):
        ids = ids.reshape(0, 0)  # what a tokenizer makes of no texts
    if ids.ndim != 2:
        hint = "; for one sentence pass [ids], or array[None]" if ids.ndim == 1 else ""
        raise ValueError(f"input_ids must be 2-D [sentences, tokens], got shape {ids.shape}{hint}")
    return ids


def _embeds(value: Any, dim: int) -> np.ndarray:
    embeds = _array(value, "inputs_embeds")
    if embeds.dtype.kind != "f" and embeds.size:
        raise TypeError(f"inputs_embeds must be floats, got {embeds.dtype}")
    if embeds.ndim != 3 or embeds.shape[2] != dim:
        raise ValueError(f"inputs_embeds must be [sentences, tokens, {dim}], got shape {embeds.shape}")
    return embeds


def _mask(value: Any, B: int, S: int, heads: int) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Places of the attended tokens in [B * S] (None: all), and the bias of a 4-D mask."""
    if value is None:
        return None, None
    mask = _array(value, "attention_mask")
    if mask.ndim == 4:
        return None, _bias(mask, B, S, heads)
    if mask.ndim != 2 and not (mask.size == 0 and B == 0):
        raise ValueError(
            f"attention_mask must be 2-D [{B}, {S}] (1 = attend) or 4-D [{B}, 1 or {heads}, {S}, {S}], "
            f"got shape {mask.shape}"
        )
    if mask.ndim == 2 and mask.shape != (B, S):
        raise ValueError(f"attention_mask must have the shape of the sentences, [{B}, {S}], got {list(mask.shape)}")
    if mask.dtype.kind in "if" and mask.size and not mask.min() >= 0:  # written so that NaN is caught too
        raise ValueError(
            "a 2-D attention_mask says 1 = attend and 0 = drop; this one has negative or NaN values, as masks that are "
            "added to the scores have: pass it 4-D, or as (mask == 0)"
        )
    attended = mask.reshape(-1) != 0
    if attended.all():
        return None, None
    return np.flatnonzero(attended), None


def _bias(mask: np.ndarray, B: int, S: int, heads: int) -> np.ndarray:
    wanted = (B, heads, S, S)
    if mask.shape[3] != S or any(n not in (1, m) for n, m in zip(mask.shape[:3], wanted[:3], strict=True)):
        raise ValueError(
            f"a 4-D attention_mask must be [{B} or 1, {heads} or 1, {S} or 1, {S}] (sentences, heads, queries, keys), "
            f"got {list(mask.shape)}"
        )
    if mask.dtype.kind == "b":
        bias = np.where(mask, np.float32(0), np.float32(-np.inf))
    elif mask.dtype.kind == "f":
        bias = mask.astype(np.float32)
        if np.isnan(bias).any() or (bias == np.inf).any():
            raise ValueError("a 4-D attention_mask is added to the scores and cannot hold NaN or +infinity")
    else:
        raise TypeError(
            f"a 4-D attention_mask of {mask.dtype} is ambiguous: pass bool (True = attend) or float "
            "(added to the scores)"
        )
    nothing = bias.max(axis=3, initial=-np.inf) == -np.inf
    if nothing.any():
        b, _, query = (int(i) for i in np.argwhere(nothing)[0])
        raise ValueError(f"attention_mask leaves query {query} of sentence {b} nothing to attend to")
    return np.ascontiguousarray(np.broadcast_to(bias, (B, mask.shape[1], S, S)))


def _token_types(value: Any, B: int, S: int, config: Config) -> np.ndarray | None:
    if value is None:
        return None
    types = _rows(_integers(value, "token_type_ids"), "token_type_ids", B, S)
    if not config.type_vocab_size and not types.any():
        return None
    return np.broadcast_to(types, (B, S))


def _positions(config: Config, value: Any, ids: np.ndarray | None, B: int, S: int) -> np.ndarray:
    if value is None and config.positions_skip_padding and ids is not None:
        return _positions_from_ids(ids, config.pad_token_id)
    if value is None:
        first = config.pad_token_id + 1 if config.positions_skip_padding else 0
        counted = np.arange(first, first + S, dtype=np.int32)
        return counted if B == 1 else np.broadcast_to(counted, (B, S))
    positions = _integers(value, "position_ids")
    if positions.ndim == 1:
        positions = positions[None]
    positions = _rows(positions, "position_ids", B, S)
    return np.broadcast_to(positions, (B, S))


def _positions_from_ids(ids: np.ndarray, padding: int) -> np.ndarray:
    """Positions int32 [B, S] that count a row's tokens from padding + 1, padding left out, which has its own place."""
    real = ids != padding
    return (np.cumsum(real, axis=1) * real + padding).astype(np.int32)


def _rows(array: np.ndarray, name: str, B: int, S: int) -> np.ndarray:
    if array.shape not in ((B, S), (1, S)) and not (array.size == 0 and B == 0):
        raise ValueError(f"{name} must have the shape of the sentences, [{B}, {S}], got {list(array.shape)}")
    return array if array.size else array.reshape(B, S)
