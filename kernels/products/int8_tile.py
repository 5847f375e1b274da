"""The register tile of whole numbers, as LLVM code: coded rows by a panel of int8, with all that follows the sums.

A tile is out[rows, vectors * lanes]; an element is one lane of an accumulator of int32. When its sum is whole, the tile
makes float32 of it (reference/int8.py) and adds the columns that are kept, before it leaves the register.

There is a function for each kind of sum that a family of CPUs has (int8_dots.py). Some are for instructions that only
some of the family know: LLVM is told so of that function alone, and who calls it has asked the CPU (`target.dot`). That
cannot be said where Numba compiles, and what stands there would be compiled with each kernel that calls it. So Numba
sees a name only; the functions are linked in when its code is closed off (code/emit.py).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from minidistil.kernels.code import emit
from minidistil.kernels.code.target import compiler_target
from minidistil.kernels.layout import CODES, DOT_EXACT, PANEL
from minidistil.kernels.products.int8_dots import DOTS, UNKNOWN, Dots, call, whole
from minidistil.kernels.simd.values import broadcast

NAME = "minidistil.int8_tile"

_I8, _I32, _I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_F32 = ir.FloatType()
_TYPE = ir.FunctionType(ir.VoidType(), [_I64] * 16)

KINDS = DOTS.get(compiler_target().lanes, UNKNOWN)
"""The kinds of sums of the CPU that code is made for."""

_OWN = [KINDS.get(dot, KINDS[DOT_EXACT]) for dot in range(3)]
ROWS = tuple(kind.rows for kind in _OWN)
"""Most rows of a tile, by the kind of its sums."""

COLUMNS = tuple(kind.sliver for kind in _OWN)
"""Columns of a tile."""


@intrinsic
def int8_tile(
    typing_context, dot, rows, a, lda, b, c, ldc, words, scale, bias, sums, kept, kept_columns, kept_ahead, ahead,
    ahead_step,
):  # fmt: skip
    """C = fma(float32(codes W^T - zero sums), scale of the row * scale of the column, bias), one tile.

    Then C = fma(x[k], weight[k], C) for each column k that is kept, one after another.

    Args:
        dot: one of layout.DOT_EXACT and so on, which the CPU has and the panel allows.
        rows: 1 to ROWS[dot]; the tile has COLUMNS[dot].
        a: address of coded rows (layout.CODES), `lda` elements of four bytes apart.
        b: address of the tile's columns in a panel (layout.pack_int8).
        c: address of C float32, rows `ldc` elements apart; overwritten.
        words: K in groups of four, at least 1.
        scale, bias, sums: addresses of the columns' float32, float32 and int32.
        kept: address of the columns in a panel float32 [kept_columns, PANEL]; the rows have theirs behind their codes.
        kept_ahead: the same of the panel that is probably needed next, fetched meanwhile.
        ahead: address in memory that is wanted soon, fetched into the second-level cache: at each group of k,
            `ahead_step` bytes apart, as many cache lines as the tile's part of the panel takes.
    """
    sig = types.void(*[types.intp] * 16)

    def emit(context, builder, sig, args):
        builder.call(_name_only(builder.module), args)
        return context.get_dummy_value()

    return sig, emit


def _name_only(module: ir.Module) -> ir.Function:
    """What stands in a module that Numba compiles: it ends the process, and LLVM takes nothing for granted of it."""
    if NAME in module.globals:
        return module.globals[NAME]
    function = ir.Function(module, _TYPE, NAME)
    function.linkage = "weak"
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    call(builder, "llvm.trap", ir.VoidType())
    builder.unreachable()
    return function


def tile_module(kinds: Mapping[int, Dots], machine: Any, features: str) -> Any:
    """An optimized LLVM module of the function NAME, with the tiles of these kinds of sums.

    Args:
        kinds: by their numbers in layout.py; another number is DOT_EXACT.
        machine: LLVM's code generator; features: what it was made with.
    """
    from llvmlite import binding

    code = ir.Module("int8_tile")
    function = ir.Function(code, _TYPE, NAME)
    function.attributes.add("noinline")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    dot = function.args[0]
    last = builder.append_basic_block("exact")
    switch = builder.switch(dot, last)
    for number, dots in kinds.items():
        block = last if number == DOT_EXACT else builder.append_basic_block("other")
        if number != DOT_EXACT:
            switch.add_case(_int(number), block)
        builder.position_at_end(block)
        # A jump: most arguments lie on the stack, and stay there.
        builder.call(_tiles(code, f"{NAME}.{number}", dots, features), function.args, tail="musttail")
        builder.ret_void()
    module = binding.parse_assembly(str(code))
    module.triple, module.data_layout = machine.triple, str(machine.target_data)
    module.verify()
    tuning = binding.create_pipeline_tuning_options(speed_level=2)
    tuning.loop_unrolling = False  # a turn is long enough
    passes = binding.create_pass_builder(machine, tuning)
    passes.getModulePassManager().run(module, passes)
    return module


emit.LINKED[NAME] = functools.partial(tile_module, KINDS)


def _tiles(module: ir.Module, name: str, dots: Dots, features: str) -> ir.Function:
    """A function with the tiles of one kind of sum, of 1 to `dots.rows` rows."""
    function = ir.Function(module, _TYPE, name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    every = ",".join(filter(None, (features, dots.features)))
    for key, value in (("target-features", every if dots.features else ""), ("tune-cpu", dots.order)):
        if value:
            set.add(function.attributes, f'"{key}"="{value}"')  # llvmlite itself knows none that have values
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    _, rows, *arguments = function.args
    end = builder.append_basic_block("end")
    switch = builder.switch(rows, end)
    for m in range(1, dots.rows + 1):
        with builder.goto_block(builder.append_basic_block(f"tile.{m}")):
            switch.add_case(_int(m), builder.block)
            _TileCode(builder, dots, m, *arguments).emit(end)
    builder.position_at_end(end)
    builder.ret_void()
    return function


class _TileCode:
    """Code of one tile shape."""

    def __init__(
        self, builder: ir.IRBuilder, dots: Dots, rows: int,
        a, lda, b, c, ldc, words, scale, bias, sums, kept, kept_columns, kept_ahead, ahead, step,
    ) -> None:  # fmt: skip
        self.builder, self.dots, self.rows, self.words = builder, dots, rows, words
        self.ints, self.floats = (ir.VectorType(element, dots.lanes) for element in (_I32, _F32))
        self.accumulator = ir.VectorType(_I32, dots.lanes * (2 if dots.halves else 1))
        pointer = _I32.as_pointer()
        start = builder.inttoptr(a, pointer)
        self.a_rows = [builder.gep(start, [builder.mul(lda, _int(i))]) for i in range(rows)]
        self.b, start = builder.inttoptr(b, pointer), builder.inttoptr(c, pointer)
        self.c_rows = [builder.gep(start, [builder.mul(ldc, _int(i))]) for i in range(rows)]
        self.places = [_int(j * dots.lanes) for j in range(dots.vectors)]
        self.scale, self.bias, self.sums, self.kept = (builder.inttoptr(x, pointer) for x in (scale, bias, sums, kept))
        self.kept_columns, self.kept_ahead = kept_columns, builder.inttoptr(kept_ahead, pointer)
        self.ahead, self.ahead_step = builder.inttoptr(ahead, _I8.as_pointer()), step

    def emit(self, end: ir.Block) -> None:
        """The sums over all of k, in whole steps and what is left; then the results."""
        builder, step, start = self.builder, self.dots.step, self.builder.block
        done = builder.append_basic_block("done")
        zero = ir.Constant(self.accumulator, [0] * self.accumulator.count)
        zeros = self._each(lambda i, j: zero)
        if step == 1:
            loop = builder.append_basic_block("loop")
            builder.branch(loop)
            builder.position_at_end(loop)
            totals = self._loop(1, start, _int(0), zeros, self.words, done)
            builder.position_at_end(done)
        else:
            steps, between, rest = (builder.append_basic_block(name) for name in ("steps", "between", "rest"))
            end_steps = builder.and_(self.words, _int(-step))
            builder.cbranch(builder.icmp_signed("<", _int(0), end_steps), steps, between)
            builder.position_at_end(steps)
            totals = self._loop(step, start, _int(0), zeros, end_steps, between)
            builder.position_at_end(between)
            so_far = self._merge((start, zeros), (steps, totals))
            builder.cbranch(builder.icmp_signed("<", end_steps, self.words), rest, done)
            builder.position_at_end(rest)
            totals = self._loop(1, between, end_steps, so_far, self.words, done)
            builder.position_at_end(done)
            totals = self._merge((between, so_far), (rest, totals))
        plain, keeping = (builder.append_basic_block(name) for name in ("plain", "keeping"))
        # Apart: what waits in registers for columns that are kept would take them from products that keep none.
        builder.cbranch(builder.icmp_signed("<", _int(0), self.kept_columns), keeping, plain)
        builder.position_at_end(plain)
        for i, row in enumerate(self._results(totals)):
            self._write(i, row)
        builder.branch(end)
        builder.position_at_end(keeping)
        for i, row in enumerate(self._with_kept([*self._results(totals)])):
            self._write(i, row)
        builder.branch(end)

    def _loop(
        self, step: int, before: ir.Block, first: Any, start: list[list[Any]], end: Any, after: ir.Block
    ) -> list[list[Any]]:
        """Sums from `start` over at least one step, in the block where the builder stands."""
        builder, lanes, loop = self.builder, self.dots.lanes, self.builder.block
        k = builder.phi(_I64)
        k.add_incoming(first, before)
        accumulators = self._each(lambda i, j: builder.phi(self.accumulator))
        totals: list[list[Any]] = accumulators
        codes = [builder.gep(row, [builder.add(k, _int(CODES // 4))]) for row in self.a_rows]
        # A step as long as a vector reads codes in vectors: one load for so many, and sums that multiply by a lane.
        by_lane = step == lanes
        a = [self._signed(self._load(self.ints, codes[i], _int(0))) for i in range(self.rows)] if by_lane else []
        for s in range(step):
            group = builder.add(k, _int(s)) if s else k
            panel = builder.gep(self.b, [builder.mul(group, _int(PANEL))])
            b = [self._load(self.ints, panel, _int(j * lanes)) for j in range(self.dots.vectors)]
            self._prefetch_ahead(group)
            rows = []
            for i in range(self.rows):
                if by_lane:
                    x = builder.shuffle_vector(a[i], a[i], ir.Constant(self.ints, [s] * lanes))
                else:
                    x = broadcast(builder, self._signed(builder.load(builder.gep(codes[i], [_int(s)]))), lanes)
                rows.append([self.dots.dot4(builder, totals[i][j], x, b[j]) for j in range(self.dots.vectors)])
            totals = rows
        for i in range(self.rows):
            for j in range(self.dots.vectors):
                accumulators[i][j].add_incoming(start[i][j], before)
                accumulators[i][j].add_incoming(totals[i][j], loop)
        next_k = builder.add(k, _int(step))
        k.add_incoming(next_k, loop)
        builder.cbranch(builder.icmp_signed("<", next_k, end), loop, after)
        return totals

    def _signed(self, codes: Any) -> Any:
        """Codes as the instructions take them: less 128, where they must have a sign."""
        if not self.dots.signed:
            return codes
        value = 0x80808080 - 2**32
        same = ir.Constant(codes.type, [value] * self.dots.lanes if codes.type == self.ints else value)
        return self.builder.xor(codes, same)

    def _merge(self, *incoming: tuple[ir.Block, list[list[Any]]]) -> list[list[Any]]:
        """The accumulators at the start of a block, by the block that was left for it."""
        merged = self._each(lambda i, j: self.builder.phi(self.accumulator))
        for block, values in incoming:
            self._each(lambda i, j, block=block, values=values: merged[i][j].add_incoming(values[i][j], block))
        return merged

    def _results(self, totals: list[list[Any]]) -> Iterator[list[Any]]:
        """fma(float32(totals - zero sums), scale of the row * scale of the column, bias), row by row."""
        builder, lanes = self.builder, self.dots.lanes
        sums = [self._load(self.ints, self.sums, place) for place in self.places]
        scale, bias = ([self._load(self.floats, x, place) for place in self.places] for x in (self.scale, self.bias))
        for i in range(self.rows):
            row_scale = builder.load(builder.bitcast(self.a_rows[i], _F32.as_pointer()))
            zero = builder.load(builder.gep(self.a_rows[i], [_int(1)]))
            if self.dots.signed:
                zero = builder.sub(zero, ir.Constant(_I32, 128))
            row_scale, zero = (broadcast(builder, x, lanes) for x in (row_scale, zero))
            row = []
            for j in range(self.dots.vectors):
                total = whole(builder, self.dots, totals[i][j])
                x = builder.sitofp(builder.sub(total, builder.mul(zero, sums[j])), self.floats)
                row.append(self._fma(x, builder.fmul(row_scale, scale[j]), bias[j]))
            yield row

    def _with_kept(self, results: list[list[Any]]) -> list[list[Any]]:
        """fma(x[k], weight[k], results) for one column after another that is kept, at least one."""
        builder, lanes, before = self.builder, self.dots.lanes, self.builder.block
        loop, done = (builder.append_basic_block(name) for name in ("kept", "added"))
        beyond = builder.add(self.words, _int(CODES // 4))  # layout.beyond_codes
        numbers = [builder.bitcast(builder.gep(row, [beyond]), _F32.as_pointer()) for row in self.a_rows]
        builder.branch(loop)
        builder.position_at_end(loop)
        column = builder.phi(_I64)
        column.add_incoming(_int(0), before)
        sums = self._each(lambda i, j: builder.phi(self.floats))
        weight, ahead = (builder.gep(x, [builder.mul(column, _int(PANEL))]) for x in (self.kept, self.kept_ahead))
        self._prefetch(builder.bitcast(ahead, _I8.as_pointer()))
        b = [self._load(self.floats, weight, place) for place in self.places]
        x = [broadcast(builder, builder.load(builder.gep(row, [column])), lanes) for row in numbers]
        totals = self._each(lambda i, j: self._fma(x[i], b[j], sums[i][j]))
        self._each(lambda i, j: sums[i][j].add_incoming(results[i][j], before))
        self._each(lambda i, j: sums[i][j].add_incoming(totals[i][j], loop))
        following = builder.add(column, _int(1))
        column.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed("<", following, self.kept_columns), loop, done)
        builder.position_at_end(done)
        return totals

    def _write(self, i: int, row: list[Any]) -> None:
        for value, place in zip(row, self.places, strict=True):
            self._store(value, self.c_rows[i], place)

    def _fma(self, x: Any, y: Any, z: Any) -> Any:
        return call(self.builder, f"llvm.fma.v{self.dots.lanes}f32", self.floats, x, y, z)

    def _each(self, action: Any) -> list[list[Any]]:
        return [[action(i, j) for j in range(self.dots.vectors)] for i in range(self.rows)]

    def _load(self, kind: ir.Type, start: Any, position: Any) -> Any:
        value = self.builder.load(self.builder.bitcast(self.builder.gep(start, [position]), kind.as_pointer()))
        value.align = 4
        return value

    def _store(self, value: Any, start: Any, position: Any) -> None:
        place = self.builder.bitcast(self.builder.gep(start, [position]), value.type.as_pointer())
        self.builder.store(value, place).align = 4

    def _prefetch_ahead(self, k: Any) -> None:
        """Ask for this k's share of what lies ahead; harmless where no memory is."""
        self._prefetch(self.builder.gep(self.ahead, [self.builder.mul(k, self.ahead_step)]))

    def _prefetch(self, place: Any) -> None:
        """Ask for as many lines as a row of the tile's columns takes."""
        for offset in range(0, self.dots.sliver * 4, 64):
            line = self.builder.gep(place, [_int(offset)])
            constants = [ir.Constant(_I32, x) for x in (0, 2, 1)]  # to read, into the second level, data
            call(self.builder, "llvm.prefetch.p0", ir.VoidType(), line, *constants)


def _int(value: int) -> ir.Constant:
    return ir.Constant(_I64, value)
