"""The engine's entries on an emulated 64-bit ARM machine, in the place of its own.

`Emulator.entry` stands in for `native.entry`: it copies what a call points to into a file, runs the entry's AArch64
code under qemu, and copies the results back. Every array has exactly the size that layout.py says, between guards:
reading or writing beyond it ends the run.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, get_type_hints

import numpy as np

from minidistil.kernels import layout, native
from tests.processes import run

COMPILER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64"
ROOT = Path(__file__).parents[2]

_PARTS = {
    "encode": layout.ENCODE,
    "encode_mobile_bert": layout.ENCODE_MOBILE_BERT,
    "score_vocabulary": layout.MASKED_LM,
    "linear": layout.LINEAR,
    "layer_norm": layout.LAYER_NORM,
    "activate": layout.ACTIVATE,
    "pack": layout.PACK,
}


class Region(NamedTuple):
    """An array: its address, its size in bytes, and whether its int64 may be addresses of others."""

    address: int
    size: int
    holds_addresses: bool = False


def build(folder: Path, cpu: str) -> None:
    """Cross-compile the entries for a CPU, and link each with the harness."""
    # Little for this machine's own CPU before the other's code generator has its turn: no loops in its vectors.
    environment = {**os.environ, "NUMBA_OPT": "1", "NUMBA_LOOP_VECTORIZE": "0"}
    command = [sys.executable, "-m", "tests.machines.cross", str(folder), cpu]
    done = run(command, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    for name, symbol in json.loads((folder / "symbols.json").read_text()).items():
        options = ["-O1", "-Wall", "-Werror", "-static", "-pthread", f'-DENTRY="{symbol}"']
        files = [str(Path(__file__).with_name("harness.c")), str(folder / f"{name}.o")]
        done = run([COMPILER, *options, *files, "-o", folder / name])
        assert done.returncode == 0, done.stderr


class Emulator:
    """Runs entries that `build` has left in a folder; `runs` tells which, in their order.

    They are called in a floating-point mode, a value of the register FPCR, and must leave it as it was.
    """

    def __init__(self, folder: Path, mode: int = 0) -> None:
        self.folder, self.mode = folder, mode
        self.runs: list[str] = []

    def entry(self, name: str) -> native.Entry:
        """What `native.entry` gives."""

        def call(address: int, thread: int, threads: int) -> bool:
            # The first of a team runs all of it: the harness starts its own threads.
            return thread > 0 or self._run(name, list(regions(name, address, threads)), threads)

        return call

    def _run(self, name: str, places: list[Region], threads: int) -> bool:
        self.runs.append(name)
        contents = [bytearray(ctypes.string_at(place.address, place.size)) for place in places]
        moves = np.array(list(_relocations(places, contents)), np.int64).reshape(-1, 4)
        sizes = [place.size for place in places]
        head = np.array([threads, len(places), *sizes, len(moves), *moves.ravel()], np.int64)
        given, result = self.folder / f"{name}.in", self.folder / f"{name}.out"
        given.write_bytes(head.tobytes() + b"".join(contents))
        command = [EMULATOR, str(self.folder / name), str(given), str(result), str(self.mode)]
        done = run(command)
        assert done.returncode == 0, f"{name}: status {done.returncode} {done.stderr}"

        output, ends = result.read_bytes(), 16 * threads
        assert len(output) == ends + sum(sizes)
        returned = np.frombuffer(output[:ends], np.int64).reshape(threads, 2)
        assert not returned[:, 0].any(), f"{name}: statuses {returned[:, 0]}"
        for place, before in zip(places, contents, strict=True):
            after = output[ends : ends + place.size]
            # Those that hold addresses have the emulated machine's; what has not changed may be a read-only map.
            if not place.holds_addresses and after != before:
                ctypes.memmove(place.address, after, place.size)
            ends += place.size
        return bool((returned[:, 1] & 1).all())


def _relocations(places: list[Region], contents: list[bytearray]) -> Iterator[tuple[int, int, int, int]]:
    """Where an address of a region is kept: (region, offset, target region, target offset)."""
    for i, place in enumerate(places):
        if place.holds_addresses:
            for slot, value in enumerate(np.frombuffer(contents[i], np.int64)):
                for j, target in enumerate(places):
                    if target.address <= value < target.address + target.size:
                        yield i, slot * 8, j, int(value) - target.address
                        break
                else:
                    assert 0 <= value < 2**32, f"region {i} slot {slot}: an address of nothing known"


def regions(name: str, address: int, threads: int) -> Iterator[Region]:
    """Everything that a call points to, by the shapes that layout.py gives; the call comes first."""
    parts, slots = _parts(name, address)
    yield Region(address, slots * 8, holds_addresses=True)
    for place in _ARRAYS[name](*parts, threads):
        if place.address != 0 and place.size > 0:
            yield place


def _parts(name: str, address: int) -> tuple[list[NamedTuple], int]:
    classes = _PARTS[name]
    count = sum(len(c._fields) for c in classes)
    slots = np.ctypeslib.as_array((ctypes.c_int64 * count).from_address(address))
    parts, at = [], 0
    for c in classes:
        hints, values = get_type_hints(c), []
        for field in c._fields:
            values.append(float(slots[at : at + 1].view(np.float32)[0]) if hints[field] is float else int(slots[at]))
            at += 1
        parts.append(c(*values))
    return parts, count


def _encode(s, t, k, w, o, team, threads) -> Iterator[Region]:
    D, E, F, T, panels = s.dim, s.embedding_size, s.hidden_dim, k.tokens, layout.padded_columns
    yield Region(t.layers, s.depth * layout.LAYER_ADDRESSES * 8, holds_addresses=True)
    for layer in _int64(t.layers, s.depth * layout.LAYER_ADDRESSES).reshape(s.depth, -1).tolist():
        shapes = [(3 * panels(D), D), (panels(D), D), None, (panels(F), D), (panels(D), F), None]
        for shape, first, second in zip(shapes, layer[::2], layer[1::2], strict=True):
            yield _floats(first, shape[0] * shape[1] if shape else D)
            yield _floats(second, shape[0] if shape else D)
    yield from _embeddings(t, k, E, E)
    yield from (_floats(t.projection_weight, panels(D) * E), _floats(t.projection_bias, panels(D)))
    yield from (_floats(x, T * w.ld_x) for x in (w.x, w.y, w.context))
    yield from (_floats(w.qkv, T * w.ld_qkv), _floats(w.hidden, T * w.ld_hidden))
    yield _floats(w.scratch, threads * w.scratch_floats)
    yield from _tokens_and_outputs(s, k, o, team, layout.encoder_phases(s.depth))


def _encode_mobile_bert(s, t, k, w, o, team, threads) -> Iterator[Region]:
    D, E, F, T, inner = s.dim, s.embedding_size, s.hidden_dim, k.tokens, s.attention_size
    panels = layout.padded_columns
    stride = layout.MOBILE_ADDRESSES + layout.NETWORK_ADDRESSES * s.feed_forwards
    yield Region(t.layers, s.depth * stride * 8, holds_addresses=True)
    narrow = [(panels(inner), D), inner]
    shapes: list = [*narrow, *narrow, (panels(inner), D), (2 * panels(inner), inner), (panels(inner), inner), inner]
    shapes += [(panels(D), inner), D]
    shapes += [(panels(F), inner), (panels(inner), F), inner] * s.feed_forwards
    for layer in _int64(t.layers, s.depth * stride).reshape(s.depth, -1).tolist():
        for shape, first, second in zip(shapes, layer[::2], layer[1::2], strict=True):
            matrix = isinstance(shape, tuple)
            yield _floats(first, shape[0] * shape[1] if matrix else shape)
            yield _floats(second, shape[0] if matrix else shape)
    yield from _embeddings(t, k, E, D)
    yield _floats(t.projection_weight, panels(D) * E * (3 if s.trigrams else 1))
    yield _floats(t.projection_bias, panels(D))
    yield from (_floats(x, T * w.ld_x) for x in (w.x, w.y))
    yield from (_floats(x, T * w.ld_h) for x in (w.h, w.a, w.s, w.context))
    yield from (_floats(w.qkv, T * w.ld_qkv), _floats(w.hidden, T * w.ld_hidden))
    yield _floats(w.scratch, threads * w.scratch_floats)
    yield from _tokens_and_outputs(s, k, o, team, layout.mobile_encoder_phases(s.depth, s.feed_forwards))


def _embeddings(t, k, word: int, width: int) -> Iterator[Region]:
    """The tables of the embeddings, as far as they are read, and their norm."""
    T = k.tokens
    words = _int32(k.word_ids, T).max() + 1 if k.word_ids else T
    kinds = _int32(k.type_ids, T).max() + 1 if k.type_ids else 1
    yield _floats(t.words, words * word)
    yield _floats(t.types, kinds * width)
    yield _floats(t.positions, (_int32(k.position_ids, T).max() + 1) * width)
    yield from (_floats(t.gain, width), _floats(t.shift, width))


def _tokens_and_outputs(s, k, o, team, phases: int) -> Iterator[Region]:
    D, T = s.dim, k.tokens
    yield from (Region(ids, T * 4) for ids in (k.word_ids, k.type_ids, k.position_ids))
    yield from (Region(k.offsets, (k.sentences + 1) * 8), Region(k.row_offsets, (k.sentences + 1) * 8))
    yield Region(k.rows, k.wanted * 8)
    longest = np.diff(_int64(k.offsets, k.sentences + 1)).max()
    yield _floats(k.bias, k.sentences * k.bias_heads * longest * longest)
    yield from (_floats(o.last, (k.wanted if k.rows else T) * D), _floats(o.hidden_states, s.depth * T * D))
    if o.attentions:
        yield _floats(o.attentions, s.depth * int(_int64(o.attention_offsets, k.sentences + 1)[-1]))
    yield Region(o.attention_offsets, (k.sentences + 1) * 8)
    yield Region(o.clock, phases * 8)
    yield _team(team, phases)


def _score_vocabulary(h, c, team, threads) -> Iterator[Region]:
    width, vocabulary = layout.padded_columns(h.width), layout.padded_columns(h.vocabulary)
    yield from (_floats(h.transform_weight, width * h.dim), _floats(h.transform_bias, width))
    yield from (_floats(h.gain, h.width), _floats(h.shift, h.width))
    yield from (_floats(h.projector_weight, vocabulary * h.width), _floats(h.projector_bias, vocabulary))
    yield from (_floats(c.hidden, c.rows * h.dim), _floats(c.transformed, c.rows * c.ld))
    yield from (_floats(c.logits, c.rows * h.vocabulary), _floats(c.scratch, threads * c.scratch_floats))
    yield _team(team, layout.HEAD_PHASES)


def _linear(c, team, threads) -> Iterator[Region]:
    columns = layout.padded_columns(c.n)
    yield from (_floats(c.x, c.rows * c.k), _floats(c.weight, columns * c.k), _floats(c.bias, columns))
    yield from (_floats(c.out, c.rows * c.n), _floats(c.scratch, layout.ROW_BLOCK * layout.PANEL))
    yield _team(team, 1)


def _layer_norm(c, threads) -> Iterator[Region]:
    yield from (_floats(c.x, c.rows * c.n), _floats(c.gain, c.n), _floats(c.shift, c.n))
    yield _floats(c.scratch, layout.ROW_BLOCK * layout.PANEL)


def _activate(c, threads) -> Iterator[Region]:
    yield _floats(c.x, c.n)


def _pack(c, threads) -> Iterator[Region]:
    yield from (_floats(c.weight, c.n * c.k), _floats(c.out, layout.padded_columns(c.n) * c.k))


_ARRAYS = {
    "encode": _encode,
    "encode_mobile_bert": _encode_mobile_bert,
    "score_vocabulary": _score_vocabulary,
    "linear": _linear,
    "layer_norm": _layer_norm,
    "activate": _activate,
    "pack": _pack,
}


def _floats(address: int, count: int) -> Region:
    return Region(address, int(count) * 4)


def _team(team: layout.Team, counters: int) -> Region:
    return Region(team.memory, (layout.COUNTERS + counters) * 8)


def _int32(address: int, count: int) -> np.ndarray:
    return np.ctypeslib.as_array((ctypes.c_int32 * count).from_address(address))


def _int64(address: int, count: int) -> np.ndarray:
    return np.ctypeslib.as_array((ctypes.c_int64 * count).from_address(address))
