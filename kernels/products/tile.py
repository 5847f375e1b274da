"""The register tile of the matrix product, as LLVM code for every tile shape that the CPU's registers hold.

A tile is C[rows, vectors * lanes]: each element is one accumulator lane, so each is one chain of fused multiply-adds
over a block of k in increasing order, whatever the shape. Chains of later blocks are added to C in memory, block after
block.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from minidistil.kernels.code.target import Tile, compiler_target
from minidistil.kernels.simd.values import broadcast

TILE = compiler_target().tile
LANES = TILE.lanes
ROWS = TILE.rows  # most rows of a tile
VECTORS = TILE.vectors  # most vectors of a tile
SLIVER = TILE.sliver  # most columns of a tile
FETCHED = SLIVER * 4 if LANES == 16 else 64  # bytes that a tile of them fetches at each k (`ahead`), of float32

_I8, _I32, _I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_F32 = ir.FloatType()


@intrinsic
def tile(typing_context, rows, vectors, size, a, lda, b, c, ldc, bias, k, block, later, ahead, ahead_step):
    """C = bias + A B, one tile.

    Args:
        rows: 1 to ROWS; vectors: 1 to VECTORS; the tile is `rows` x `vectors * LANES`.
        size: bytes of an element of B: 4, or 2 where they are bfloat16; then `vectors` is VECTORS, `block` is even.
        a: address of A float32 [rows, k], rows `lda` elements apart.
        b: address of B float32 or bfloat16 [k, vectors * LANES], contiguous.
        c: address of C float32 [rows, vectors * LANES], rows `ldc` apart; overwritten.
        bias: address of float32 [vectors * LANES], or 0: then C starts as the first block's total.
        k: length of the sums, at least 1; block: length of one chain.
        later: not zero where C holds the totals of earlier blocks, which these are added to.
        ahead: address in memory that is wanted soon, fetched into the second-level cache: at each k, `ahead_step` bytes
            apart, a cache line; where vectors have 512 bits, as many as a row of B takes.
    """
    sig = types.void(*[types.intp] * 14)

    def emit(context, builder, sig, args):
        builder.call(tile_function(builder.module, TILE), args)
        return context.get_dummy_value()

    return sig, emit


def tile_function(module: ir.Module, largest: Tile) -> ir.Function:
    """The function that holds every tile up to `largest`; code for any CPU can be made on any machine.

    There is one in a module, and it is never inlined, or compiling would take long.
    """
    name = "minidistil.tile"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [_I64] * 14), name)
    function.linkage = "linkonce_odr"
    function.attributes.add("noinline")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    rows, vectors, size, *addresses = function.args
    shape = builder.add(builder.mul(builder.add(builder.mul(size, _int(16)), vectors), _int(16)), rows)
    end = builder.append_basic_block("end")
    switch = builder.switch(shape, end)
    shapes = [(n, 4) for n in range(1, largest.vectors + 1)] + [(largest.vectors, 2)]
    for n, size in shapes:
        for m in range(1, largest.rows + 1):
            with builder.goto_block(builder.append_basic_block(f"tile.{m}x{n}.{size}")):
                switch.add_case(_int((size * 16 + n) * 16 + m), builder.block)
                _TileCode(builder, largest._replace(rows=m, vectors=n), size, *addresses).emit(end)
    builder.position_at_end(end)
    builder.ret_void()
    return function


_End = tuple[ir.Block, list[list[Any]]]  # where a loop is left, and its accumulators there


class _TileCode:
    """Code of one tile shape."""

    def __init__(
        self, builder: ir.IRBuilder, shape: Tile, size: int, a, lda, b, c, ldc, bias, k, block, later, ahead, ahead_step
    ) -> None:
        self.builder, self.lanes, self.rows, self.vectors, step = builder, *shape
        least = 1 if size == 4 else 2  # of bfloat16, two k lie in a word
        self.steps = (step, least) if step > least and (size == 4 or step == self.lanes) else (least,)
        self.vector = ir.VectorType(_F32, self.lanes)
        rows = self.rows
        pointer = _F32.as_pointer()
        start = builder.inttoptr(a, pointer)
        self.a_rows = [builder.gep(start, [builder.mul(lda, _int(i))]) for i in range(rows)]
        self.size, self.width = size, self.vectors * self.lanes
        self.b = self.b_again = builder.inttoptr(b, pointer)
        if size == 2 and self.lanes == 8:
            # An address that LLVM does not know to be the same: it would hold a word for its second half, in a register
            # that is needed for a sum. Reading it again takes none.
            same = builder.asm(ir.FunctionType(_I64, [_I64]), "", "=r,0", [b], side_effect=False)
            self.b_again = builder.inttoptr(same, pointer)
        self.c, self.ldc = builder.inttoptr(c, pointer), ldc
        self.bias_address, self.bias = bias, builder.inttoptr(bias, pointer)
        self.k, self.block, self.later = k, block, later
        self.ahead, self.ahead_step = builder.inttoptr(ahead, _I8.as_pointer()), ahead_step

    def emit(self, end: ir.Block) -> None:
        """Blocks of k; in each, the chains of all elements; then C takes the block's totals."""
        builder = self.builder
        self._prefetch_c()
        entry, blocks = builder.block, builder.append_basic_block("blocks")
        chains, totals = builder.append_basic_block("chains"), builder.append_basic_block("totals")
        builder.branch(blocks)

        builder.position_at_end(blocks)
        first_k = builder.phi(_I64)
        first_k.add_incoming(_int(0), entry)
        limit = builder.add(first_k, self.block)
        end_k = builder.select(builder.icmp_signed("<", limit, self.k), limit, self.k)
        builder.branch(chains)

        builder.position_at_end(chains)
        totals_of_block = self._chains(blocks, first_k, end_k, totals)

        builder.position_at_end(totals)
        is_first = builder.and_(
            builder.icmp_signed("==", first_k, _int(0)), builder.icmp_signed("==", self.later, _int(0))
        )
        last = self._add_to_c(totals_of_block, is_first)
        first_k.add_incoming(end_k, last)
        builder.cbranch(builder.icmp_signed("<", end_k, self.k), blocks, end)

    def _chains(self, before: ir.Block, first_k: Any, end_k: Any, after: ir.Block) -> list[list[Any]]:
        """acc = fma(a[i, k], b[k, j], acc) for k from first_k to end_k; returns the accumulators' last values."""
        builder, start = self.builder, self.builder.block
        zero = ir.Constant(self.vector, [0.0] * self.lanes)
        totals = [[zero] * self.vectors for _ in range(self.rows)]
        if len(self.steps) == 1:
            return self._merge(self._loop(self.steps[0], before, first_k, totals, end_k, after), after)

        # Whole steps, then what is left; either may be none.
        k = first_k
        for step in self.steps:
            loop, between, end = builder.append_basic_block("steps"), after, end_k
            if step != self.steps[-1]:
                between = builder.append_basic_block("between")
                end = builder.sub(end_k, builder.srem(builder.sub(end_k, k), _int(step)))
            builder.cbranch(builder.icmp_signed("<", k, end), loop, between)
            builder.position_at_end(loop)
            ends = self._loop(step, start, k, totals, end, between)
            totals = self._merge([(start, totals), *ends], between)
            start, k = between, end
        return totals

    def _loop(
        self, step: int, before: ir.Block, first_k: Any, start: list[list[Any]], end_k: Any, after: ir.Block
    ) -> list[_End]:
        """Chains from `start` over at least one step of k, in the block where the builder stands; how it is left."""
        builder, loop = self.builder, self.builder.block
        k = builder.phi(_I64)
        k.add_incoming(first_k, before)
        accumulators = [[builder.phi(self.vector) for _ in range(self.vectors)] for _ in range(self.rows)]
        totals: list[list[Any]] = accumulators
        ends: list[_End] = []
        # A step as long as a vector reads A in vectors: one load for so many k, and sums that multiply by a lane of it.
        by_lane = step == self.lanes
        a = [self._load(self.a_rows[i], k) for i in range(self.rows)] if by_lane else []
        for s in range(step):
            if s == 1 and step == 2:
                # It always is there, which LLVM does not know. So it cannot mix both k's instructions, as it does with
                # those of one block: it reads both ahead, and there are no registers for that.
                second = builder.append_basic_block("second")
                builder.cbranch(builder.icmp_signed("<", builder.add(k, _int(1)), end_k), second, after)
                ends.append((builder.block, totals))
                builder.position_at_end(second)
            panel = self._panel(k, s)
            self._prefetch_ahead(builder.add(k, _int(s)) if s else k)
            rows = []
            for i in range(self.rows):
                if by_lane:
                    every_lane = ir.Constant(ir.VectorType(_I32, self.lanes), [s] * self.lanes)
                    x = builder.shuffle_vector(a[i], a[i], every_lane)
                else:
                    place = builder.gep(builder.gep(self.a_rows[i], [k]), [_int(s)])
                    x = broadcast(builder, builder.load(place), self.lanes)
                rows.append([self._fma(x, panel[j], totals[i][j]) for j in range(self.vectors)])
            totals = rows
        for i in range(self.rows):
            for j in range(self.vectors):
                accumulators[i][j].add_incoming(start[i][j], before)
                accumulators[i][j].add_incoming(totals[i][j], builder.block)
        next_k = builder.add(k, _int(step))
        k.add_incoming(next_k, builder.block)
        builder.cbranch(builder.icmp_signed("<", next_k, end_k), loop, after)
        return [*ends, (builder.block, totals)]

    def _merge(self, ends: list[_End], after: ir.Block) -> list[list[Any]]:
        """Go on in a block with the accumulators of whichever was left for it."""
        self.builder.position_at_end(after)
        if len(ends) == 1:
            return ends[0][1]
        merged = [[self.builder.phi(self.vector) for _ in range(self.vectors)] for _ in range(self.rows)]
        for block, values in ends:
            for i in range(self.rows):
                for j in range(self.vectors):
                    merged[i][j].add_incoming(values[i][j], block)
        return merged

    def _add_to_c(self, totals: list[list[Any]], is_first: Any) -> ir.Block:
        """C = bias + totals or C = totals for the first block, C = C + totals later; returns the block it ends in."""
        builder = self.builder
        first, plain, biased, later, done = (
            builder.append_basic_block(name) for name in ("first", "plain", "biased", "later", "block.done")
        )
        builder.cbranch(is_first, first, later)
        builder.position_at_end(first)
        builder.cbranch(builder.icmp_signed("==", self.bias_address, _int(0)), plain, biased)

        builder.position_at_end(plain)
        self._for_each(lambda i, j, position: self._store(totals[i][j], position))
        builder.branch(done)

        builder.position_at_end(biased)
        bias = [self._load(self.bias, _int(j * self.lanes)) for j in range(self.vectors)]
        self._for_each(lambda i, j, position: self._store(builder.fadd(bias[j], totals[i][j]), position))
        builder.branch(done)

        builder.position_at_end(later)
        self._for_each(
            lambda i, j, position: self._store(builder.fadd(self._load(self.c, position), totals[i][j]), position)
        )
        builder.branch(done)
        builder.position_at_end(done)
        return done

    def _for_each(self, action: Any) -> None:
        for i in range(self.rows):
            row = self.builder.mul(self.ldc, _int(i))
            for j in range(self.vectors):
                action(i, j, self.builder.add(row, _int(j * self.lanes)))

    def _fma(self, x: Any, y: Any, z: Any) -> Any:
        function_type = ir.FunctionType(self.vector, [self.vector] * 3)
        return self.builder.call(
            cgutils.get_or_insert_function(self.builder.module, function_type, f"llvm.fma.v{self.lanes}f32"), [x, y, z]
        )

    def _load(self, start: Any, position: Any) -> Any:
        source = self.builder.bitcast(self.builder.gep(start, [position]), self.vector.as_pointer())
        value = self.builder.load(source)
        value.align = 4
        return value

    def _panel(self, k: Any, s: int) -> list[Any]:
        """Row k + s of B. Of bfloat16, k is even, and two rows lie in one: in the halves of its words (layout.pack)."""
        builder, lanes = self.builder, self.lanes
        first = s if self.size == 4 else s // 2
        place = builder.mul(k, _int(self.width * self.size // 4))
        row = builder.gep(builder.gep(self.b_again if s % 2 else self.b, [place]), [_int(first * self.width)])
        panel = [self._load(row, _int(j * lanes)) for j in range(self.vectors)]
        if self.size == 4:
            return panel
        words = ir.VectorType(_I32, lanes)
        half, count = (builder.and_, 0xFFFF0000) if s % 2 else (builder.shl, 16)
        bits = [half(builder.bitcast(x, words), ir.Constant(words, [count] * lanes)) for x in panel]
        return [builder.bitcast(x, self.vector) for x in bits]

    def _store(self, value: Any, position: Any) -> None:
        target_pointer = self.builder.bitcast(self.builder.gep(self.c, [position]), self.vector.as_pointer())
        self.builder.store(value, target_pointer).align = 4

    def _prefetch_ahead(self, k: Any) -> None:
        """Ask for this k's share of what lies ahead; shorter vectors leave room for one line between the sums."""
        place = self.builder.gep(self.ahead, [self.builder.mul(k, self.ahead_step)])
        for offset in range(0, self.width * self.size, 64) if self.lanes == 16 else (0,):
            self._prefetch_line(self.builder.gep(place, [_int(offset)]), locality=2)

    def _prefetch_c(self) -> None:
        """Ask for the rows of C, which are read or written when the sums are done; of a row the ends suffice."""
        for i in range(self.rows):
            row = self.builder.gep(self.c, [self.builder.mul(self.ldc, _int(i))])
            for column in (0, self.width - 1):
                place = self.builder.bitcast(self.builder.gep(row, [_int(column)]), _I8.as_pointer())
                self._prefetch_line(place, locality=3)

    def _prefetch_line(self, line: Any, locality: int) -> None:
        """Ask for a cache line, into level 4 - locality; harmless where no memory is."""
        function_type = ir.FunctionType(ir.VoidType(), [_I8.as_pointer(), _I32, _I32, _I32])
        function = cgutils.get_or_insert_function(self.builder.module, function_type, "llvm.prefetch.p0")
        self.builder.call(function, [line, ir.Constant(_I32, 0), ir.Constant(_I32, locality), ir.Constant(_I32, 1)])


def _int(value: int) -> ir.Constant:
    return ir.Constant(_I64, value)
