"""What moves the answer: a head switched off, a token replaced or removed.

A head that is switched off has a context of zeros. On the exact reference the pass runs on from it. The engine gives
the same bits where the head's values are zeros, of weights and biases of zeros, which are packed in the place of
v_lin's: in any precision, as whole numbers are zero too, and what is kept beside them.

Legend: `n` tokens, `D` width, `L` layers, `H` heads, `A` numbers of the answer, `R` tokens changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, cast

import numpy as np

from minidistil._float_mode import default_mode
from minidistil._loading import loading
from minidistil.backends.reference import Reference
from minidistil.models.inputs import pack_sentences
from minidistil.study.answers import Following
from minidistil.study.parts import Attribution, HeadsOff, Interventions, LeftOut, TokensChanged
from minidistil.study.tracing import Trace, weights_of
from minidistil.weights.model_weights import AnyLinear, MobileLayerWeights
from minidistil.weights.narrow import BFloat16Linear, Int8Linear

# Multiplications on the exact reference that a grid may take; it does some ten million a second.
_PATIENCE = 5e9


@default_mode()
def interventions(following: Following) -> tuple[Interventions, list[LeftOut]]:
    """Switch off every head, replace and remove every token, each alone, and follow the answer.

    Returns:
        What came of it, and what was left out.
    """
    left_out: list[LeftOut] = []
    model, trace = following.model, following.trace
    tokens = changeable(trace)
    heads = replaced = removed = None
    n = trace.batch.tokens
    passes = model.config.n_layers * model.config.n_heads + 2 * len(tokens)
    work = float(model.num_parameters(exclude_embeddings=True)) * n * passes
    if isinstance(model._backend, Reference) and work > _PATIENCE:
        reason = f"{passes} passes on the reference would take too long; load the model on the engine"
        return Interventions(following.answer, None, None, None), [LeftOut("interventions", reason)]
    heads = heads_off(following)
    if not tokens:
        left_out.append(LeftOut("interventions", "no token of the text could be replaced or removed"))
        return Interventions(following.answer, heads, None, None), left_out
    mask = model.tokenizer.mask_token_id
    if mask is None:
        left_out.append(LeftOut("interventions", "replaced tokens: the tokenizer has no mask token"))
    else:
        ids = [i for i in tokens if trace.encoding.ids[i] != mask]
        replaced = _tokens_changed(following, "replaced", model.tokenizer.mask_token or "", ids, mask) if ids else None
    focus = following.answer.focus
    others = [i for i in tokens if i != focus]
    if others:
        removed = _tokens_changed(following, "removed", "", others, None)
    if focus in tokens:
        left_out.append(LeftOut("interventions", f"removed: token {focus}, as the answer is that of this token"))
    return Interventions(following.answer, heads, replaced, removed), left_out


def occlusion(found: Interventions) -> Attribution | LeftOut:
    """How much the answer's first number falls without each token, where tokens could be changed."""
    changed = found.replaced or found.removed
    if changed is None:
        return LeftOut("attribution", "by occlusion: no token was replaced or removed")
    did = f"replaced by {changed.with_token}" if changed.with_token else "removed"
    sentence = (
        f"How much {found.answer.labels[0]!r} falls when a token alone is {did}. Tokens that stand for each other can "
        "all have nothing, and a text with a hole in it is unlike those that the model has learned from."
    )
    return Attribution("occlusion", sentence, changed.tokens, np.float32(0) - changed.change)


def changeable(trace: Trace) -> list[int]:
    """The tokens that are the text's own: all but the special ones, the mask among the text's own."""
    special, mask = trace.encoding.special_tokens_mask, trace.model.tokenizer.mask_token_id
    return [
        i for i, (own, token) in enumerate(zip(special, trace.encoding.ids, strict=True)) if not own or token == mask
    ]


def heads_off(following: Following) -> HeadsOff:
    """The answer with each head's context set to zero, one at a time."""
    config = following.model.config
    first = following.answer.values
    values = np.empty((config.n_layers, config.n_heads, len(first)), np.float32)
    run = _by_reference(following) if isinstance(following.model._backend, Reference) else _by_engine(following)
    for (layer, head), hidden in run:
        values[layer, head] = following.values(hidden)
    return HeadsOff(tuple(range(config.n_layers)), values, values[..., 0] - first[0])


_Run = Iterator[tuple[tuple[int, int], np.ndarray]]


def _by_reference(following: Following) -> _Run:
    """Last hidden states float32 [n, D] without each head, the pass run on from its context."""
    trace, config = following.trace, following.model.config
    for layer in range(config.n_layers):
        for head in range(config.n_heads):
            changed = trace.patched({f"layer.{layer}.attention.context": _without(head, config.n_heads)})
            yield (layer, head), changed[changed.last]


def _by_engine(following: Following) -> _Run:
    """The same by an engine of its own, whose packed weights are changed and changed back."""
    with loading():
        from minidistil.backends.engine import Engine
        from minidistil.weights.packing import pack_again, pack_model

    trace, config = following.trace, following.model.config
    weights = weights_of(following.model)
    layers = tuple(replace(layer) for layer in weights.encoder.layers)  # each its own, also where they share weights
    weights = replace(weights, encoder=replace(weights.encoder, layers=layers), masked_lm=None)
    packed = pack_model(weights)
    engine = Engine(config, weights, threads=getattr(following.model._backend, "threads", None), packed=packed)
    for layer, own in enumerate(layers):
        alone = isinstance(own, MobileLayerWeights)
        name, beside = (f"layer.{layer}.v_lin", []) if alone else (f"layer.{layer}.qkv", [own.q_lin, own.k_lin])
        for head in range(config.n_heads):
            pack_again(packed, name, *beside, _silent(own.v_lin, head, config.n_heads))
            yield (layer, head), engine.encode(trace.batch).last
        pack_again(packed, name, *beside, own.v_lin)


def _silent(w: AnyLinear, head: int, heads: int) -> AnyLinear:
    """Weights of the same kind that make a head's values zero."""
    without = _without(head, heads)
    changed: dict[str, Any] = {"bias": without(w.bias[None])[0]}
    numbers = ["codes"] if isinstance(w, Int8Linear) else ["bits"] if isinstance(w, BFloat16Linear) else ["weight"]
    if isinstance(w, Int8Linear) and w.kept is not None:
        numbers.append("kept")
    for name in numbers:
        changed[name] = np.ascontiguousarray(without(getattr(w, name).T).T)
    return replace(cast("Any", w), **changed)


def _without(head: int, heads: int) -> Callable[[np.ndarray], np.ndarray]:
    """A function that sets a head's columns to zero: [M, I] -> [M, I]."""

    def without(x: np.ndarray) -> np.ndarray:
        x = x.copy()
        d = x.shape[1] // heads
        x[:, head * d : (head + 1) * d] = 0
        return x

    return without


def _tokens_changed(following: Following, action: str, word: str, tokens: list[int], put: int | None) -> TokensChanged:
    trace, model = following.trace, following.model
    ids = [_changed(np.array(trace.encoding.ids), i, put) for i in tokens]
    types = trace.batch.token_type_ids
    if types is not None:
        types = np.concatenate([types if put is not None else np.delete(types, i) for i in tokens])
    batch = pack_sentences(model.config, ids, types, "text {}")
    last, offsets = model.encode_packed(batch), batch.offsets
    rows = [
        following.values(np.ascontiguousarray(last[offsets[b] : offsets[b + 1]]), None if put is not None else i)
        for b, i in enumerate(tokens)
    ]
    values = np.stack(rows)
    return TokensChanged(action, word, tuple(tokens), values, values[:, 0] - following.answer.values[0])


def _changed(ids: np.ndarray, token: int, put: int | None) -> np.ndarray:
    if put is None:
        return np.delete(ids, token)
    ids[token] = put
    return ids
