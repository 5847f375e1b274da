"""The functions that machine code is kept of: each takes the address of a call (layout.py), its thread, the team."""

from __future__ import annotations

from minidistil.kernels import encoder, layout, masked_lm
from minidistil.kernels._compile import kernel
from minidistil.kernels.activations import activate_in_place
from minidistil.kernels.calls import read_part
from minidistil.kernels.layer_norm import normalize_row
from minidistil.kernels.memory import get_f32, set_f32
from minidistil.kernels.mobile_bert import encode_mobile_bert
from minidistil.kernels.narrow import narrow_product
from minidistil.kernels.pack import pack_rows
from minidistil.kernels.product import product_exact_width
from minidistil.kernels.roofs import READ_STEP, multiply_adds, read
from minidistil.kernels.team import meet

__all__ = [
    "activate", "encode", "encode_mobile_bert", "layer_norm", "linear", "pack", "roof", "score_vocabulary",
]  # fmt: skip


@kernel
def encode(call, thread, threads):
    """`encoder.encode`; the call is made of layout.ENCODE."""
    parts = layout.ENCODE
    return encoder.encode(
        read_part(call, parts, 0),
        read_part(call, parts, 1),
        read_part(call, parts, 2),
        read_part(call, parts, 3),
        read_part(call, parts, 4),
        read_part(call, parts, 5).memory,
        thread,
        threads,
    )


@kernel
def score_vocabulary(call, thread, threads):
    """`masked_lm.masked_lm`; the call is made of layout.MASKED_LM."""
    parts = layout.MASKED_LM
    return masked_lm.masked_lm(
        read_part(call, parts, 0), read_part(call, parts, 1), read_part(call, parts, 2).memory, thread, threads
    )


@kernel
def linear(call, thread, threads):
    """One product, by a single thread; the call is made of layout.LINEAR."""
    own = read_part(call, layout.LINEAR, 0)
    if own.n < 12:
        narrow_product(own.x, own.rows, own.k, own.weight, own.bias, own.n, own.out)
        return True
    team = read_part(call, layout.LINEAR, 1).memory
    product_exact_width(
        own.x, own.k, own.rows, own.weight, own.bias, False, own.k, own.n, own.out, own.scratch, team, 0
    )  # fmt: skip
    return True


@kernel
def layer_norm(call, thread, threads):
    """LayerNorm of rows; the call is made of layout.LAYER_NORM."""
    own = read_part(call, layout.LAYER_NORM, 0)
    for i in range(own.rows):
        normalize_row(own.x + i * own.n * 4, own.n, own.gain, own.shift, own.eps, own.scratch)
    return True


@kernel
def activate(call, thread, threads):
    """One activation; the call is made of layout.ACTIVATE."""
    own = read_part(call, layout.ACTIVATE, 0)
    activate_in_place(own.x, own.n, own.kind)
    return True


@kernel
def pack(call, thread, threads):
    """Packing of one matrix; the call is made of layout.PACK."""
    own = read_part(call, layout.PACK, 0)
    pack_rows(own.weight, own.n, own.k, own.out)
    return True


@kernel
def roof(call, thread, threads):
    """What the cores can do at most, each thread with its share; the call is made of layout.ROOF."""
    own, team = read_part(call, layout.ROOF, 0), read_part(call, layout.ROOF, 1).memory
    if own.x == 0:
        result = multiply_adds(own.rounds, get_f32(own.out, thread))
    else:
        share = own.n // threads // READ_STEP * READ_STEP
        result = read(own.x + thread * share * 4, share)
    set_f32(own.out, thread, result)
    return meet(team, threads)
