"""The rows of a lane that runs alone: one row waits for the other, and nothing else can fill the time.

Between two rows nothing passes through memory that need not. Going forward, the gates of as many units as a vector
holds are summed in registers, where the cell turns them into the next state. Going back, the panels being those of
the way forward, the product with the weight's transpose is taken by rows: a vector of sums for every k, whose numbers
are then added up for a vector's worth of k at once.

    (1)  a[g, j] = a[g, j] + Σ_k h[k] weight[k, g, j]          g in the gates; j in one vector of units
    (2)  d_h[k] = Σ_g Σ_j d_a[g, j] weight[k, g, j]            k in one vector of units

The gates of one vector of units must fill whole panels, see `alone`; rows of other cells go the way of several lanes.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from rnnkit_numba.compiled import inlined, kernel
from rnnkit_numba.kernels.pointers import WORD, address, further
from rnnkit_numba.kernels.registers import loop
from rnnkit_numba.kernels.several import store_several, with_first
from rnnkit_numba.kernels.tiles import TILE_VECTORS
from rnnkit_numba.kernels.vectors import BYTES, Vector, W_of, call_llvm, load_at, splat, store_at
from rnnkit_numba.layers.cell import activate_at, deactivate_at, deactivate_with, load_states, states_at

TOGETHER = 4
"""Rows of the recurrent weight that are taken together; in panels they are filled up with zeros to a multiple."""

CHAINS = 2 if BYTES == 32 else 4
"""Sums that run side by side in (1), as a single one would wait for every addition; AVX2 has registers for two."""


@kernel
def recurrent_rows(hidden, W):
    """Rows of the recurrent weight in panels for the forward pass, GROUP at a time."""
    together = min(TOGETHER, W)
    return -(-hidden // together) * together


@inlined
def alone(gates, lanes):
    """Whether rows go this way: those of one lane, whose cell's gates fill whole panels for every vector of units."""
    return lanes == 1 and gates % TILE_VECTORS == 0


def gate_address(builder: Any, weights: Any, rows: Any, k: Any, gate: int, vector: Any) -> Any:
    """Where `weight[k, gate, :]` stands in the panels of one vector of units, which `weights` points to."""
    W, side = vector.count, TILE_VECTORS  # gates side by side in a panel
    panel = builder.mul(rows, WORD(gate // side * side * W))
    row = builder.mul(k, WORD(side * W))
    return address(builder, weights, builder.add(builder.add(panel, row), WORD(gate % side * W)), vector)


def sum_gates(context: Any, builder: Any, gates: int, arguments: Any, vector_type: Any, units: int, chains: int) -> Any:
    """The vectors of (1) for so many vectors of units, all gates of the first, then of the next."""
    h, weights, rows, a = arguments
    vector = context.get_value_type(vector_type)
    size, count = vector_type.dtype.bitwidth // 8, gates * units
    sums = [builder.load(address(builder, a, WORD(n * vector.count), vector), align=size) for n in range(count)]
    sums += [vector(None)] * (count * (chains - 1))
    panels = [builder.gep(weights, [builder.mul(rows, WORD(unit * gates * vector.count))]) for unit in range(units)]

    def step(n: Any, sums: list[Any]) -> list[Any]:
        for chain in range(chains):
            k = builder.add(builder.mul(n, WORD(chains)), WORD(chain))
            spread = splat(builder, builder.load(builder.gep(h, [k]), align=size), vector)
            for unit, panel in enumerate(panels):
                for gate in range(gates):
                    here = chain * count + gates * unit + gate
                    weight = builder.load(gate_address(builder, panel, rows, k, gate, vector), align=size)
                    sums[here] = call_llvm(builder, "fma", [spread, weight, sums[here]])
        return sums

    sums = loop(builder, "gates", builder.sdiv(rows, WORD(chains)), sums, step)
    while len(sums) > count:  # halves, until one sum is left of each
        half = len(sums) // 2
        sums = [builder.fadd(x, y) for x, y in zip(sums[:half], sums[half:], strict=True)]
    return sums


@intrinsic
def _gate_sums(typingctx: Any, cell: Any, h: Any, weights: Any, rows: Any, a: Any) -> Any:
    if not (isinstance(a, types.CPointer) and a == h == weights):
        return None
    vector, gates = Vector(a.dtype), cell.pymod.GATES
    result = types.UniTuple(vector, gates)

    def lower(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        sums = sum_gates(context, builder, gates, arguments[1:], vector, 1, min(CHAINS, vector.W))
        return context.make_tuple(builder, result, sums)

    return result(cell, h, weights, types.intp, a), lower


@intrinsic
def _gate_sums_2(typingctx: Any, cell: Any, h: Any, weights: Any, rows: Any, a: Any) -> Any:
    if not (isinstance(a, types.CPointer) and a == h == weights):
        return None
    vector, gates = Vector(a.dtype), cell.pymod.GATES
    unit = types.UniTuple(vector, gates)
    result = types.UniTuple(unit, 2)

    def lower(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        sums = sum_gates(context, builder, gates, arguments[1:], vector, 2, min(CHAINS // 2, vector.W))
        units = [context.make_tuple(builder, unit, part) for part in (sums[:gates], sums[gates:])]
        return context.make_tuple(builder, result, units)

    return result(cell, h, weights, types.intp, a), lower


gate_sums: Any = _gate_sums
"""`gate_sums(cell, h, weights, rows, a)`: (1) for one vector of units, a vector for each gate.

`weights` and `a` point to those of the first unit, `rows` counts k, a multiple of TOGETHER, which the sums divide.
"""

gate_sums_2: Any = _gate_sums_2
"""(1) for two vectors of units, one after the other: each number of h is spread over a vector once for both."""


def each_summed(builder: Any, vectors: list[Any]) -> Any:
    """The sum of each of W vectors, side by side in one vector.

    Two vectors become one of half as many sums each, again and again: first numbers that are neighbours within 128
    bits, which processors move fastest, then the 128 bits among each other.
    """
    kind = vectors[0].type
    W = kind.count
    near = min(W, 2 if isinstance(kind.element, ir.DoubleType) else 4)

    def halve(low: list[int], high: list[int]) -> list[Any]:
        mask = ir.VectorType(ir.IntType(32), W)
        return [
            builder.fadd(
                builder.shuffle_vector(a, b, ir.Constant(mask, low)),
                builder.shuffle_vector(a, b, ir.Constant(mask, high)),
            )
            for a, b in zip(vectors[::2], vectors[1::2], strict=True)
        ]

    step = 1
    while step < near:
        pieces = near // step // 2
        order = [
            [
                start + piece * step + n + source * W
                for start in range(0, W, near)
                for piece in range(first, first + pieces)
                for source in (0, 1)
                for n in range(step)
            ]
            for first in (0, pieces)
        ]
        vectors = halve(*order)
        step *= 2
    far = W // near  # pieces of 128 bits that are to be added up
    while len(vectors) > 1:
        order = [
            [
                source * W + start * near + n
                for source in (0, 1)
                for first in range(0, W // near, far)
                for start in range(first + half, first + half + far // 2)
                for n in range(near)
            ]
            for half in (0, far // 2)
        ]
        vectors = halve(*order)
        far //= 2
    return vectors[0]


@intrinsic
def _row_sums(typingctx: Any, cell: Any, last: Any, d_a: Any, panels: Any, weights: Any, rows: Any, k: Any) -> Any:
    if not (isinstance(d_a, types.CPointer) and d_a == weights):
        return None
    vector_type, count, ready = Vector(d_a.dtype), cell.pymod.GATES, cell.pymod.READY

    def lower(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        _, last, d_a, panels, weights, rows, first = arguments
        vector = context.get_value_type(vector_type)
        W, size = vector.count, vector_type.dtype.bitwidth // 8
        together = min(TOGETHER, W)
        in_registers = [builder.extract_value(last, n) for n in range(count)]

        def add(panel: Any, k: Any, gates: list[Any], sums: list[Any]) -> list[Any]:
            base = builder.gep(weights, [builder.mul(builder.mul(panel, rows), WORD(count * W))])
            for n in range(together):
                row = builder.add(k, WORD(n))
                for gate in ready:
                    weight = builder.load(gate_address(builder, base, rows, row, gate, vector), align=size)
                    sums[n] = call_llvm(builder, "fma", [gates[gate], weight, sums[n]])
            return sums

        found = []
        for start in range(0, W, together):
            k = builder.add(first, WORD(start))
            before = builder.block
            inside, after = builder.append_basic_block("rows.body"), builder.append_basic_block("rows.done")
            builder.cbranch(builder.icmp_signed("<", k, rows), inside, after)
            builder.position_at_end(inside)

            def panel_of(n: Any, sums: list[Any], k: Any = k) -> list[Any]:
                where = builder.mul(n, WORD(count * W))
                gates = [
                    builder.load(address(builder, d_a, builder.add(where, WORD(gate * W)), vector), align=size)
                    for gate in range(count)
                ]
                return add(n, k, gates, sums)

            sums = loop(builder, "panels", panels, [vector(None)] * together, panel_of)
            sums = add(panels, k, in_registers, sums)
            end = builder.block
            builder.branch(after)
            builder.position_at_end(after)
            for value in sums:
                phi = builder.phi(vector)
                phi.add_incoming(vector(None), before)
                phi.add_incoming(value, end)
                found.append(phi)
        return each_summed(builder, found)

    whole = types.intp
    return vector_type(cell, last, d_a, whole, weights, whole, whole), lower


row_sums: Any = _row_sums
"""`row_sums(cell, last, d_a, panels, weights, rows, k)`: (2) for a vector of k, zero from k = `rows` on.

The first `panels` vectors of units of d_a stand in memory, all gates of each; `last` holds those of the one behind.
"""


@kernel
def forward_rows(cell, before, weight_hh, rows_hh, gates, after, rows, width):
    """(2), but for the part of x, to (6) of `recurrence.py` for some rows, none reset but the first, all valid.

    `gates` and `after` point to what the first of these rows writes, `before` to the state before it.
    """
    G, W = cell.GATES, W_of(gates)
    for _ in range(rows):
        j = 0
        while width - j > W:
            here = further(gates, G * j)
            first, second = gate_sums_2(cell, before.h, further(weight_hh, G * j * rows_hh), rows_hh, here)
            activate_at(cell, j, first, gates, before, after)
            activate_at(cell, j + W, second, gates, before, after)
            j += 2 * W
        if j < width:
            here = further(gates, G * j)
            only = gate_sums(cell, before.h, further(weight_hh, G * j * rows_hh), rows_hh, here)
            activate_at(cell, j, only, gates, before, after)
        before, gates, after = after, further(gates, G * width), states_at(after, width)


@kernel
def backward_rows(cell, gates, d_y, d_states, states, before, weight_hh, rows_hh, rows, width):
    """(6') to (2') of `recurrence.py` for some rows, none reset but the first, all valid.

    `gates`, `d_y` and `states` point to the first of these rows, `states` to the state before it, but that its s⁻ is
    `before`. `d_states` are those after the last row and become those before the first.
    """
    G, W = cell.GATES, W_of(gates)
    last = width - W
    if last == 0:  # all that one row hands to the next stays in registers
        d_now = load_states(cell, d_states, 0)
        for t in range(rows - 1, -1, -1):
            states_t = states_at(states, t * W) if t > 0 else before
            d_a, d_now = deactivate_with(
                cell, d_now, further(gates, G * t * W), further(d_y, t * W), states_t, states_at(states, (t + 1) * W)
            )
            d_h = row_sums(cell, d_a, gates, 0, weight_hh, rows_hh, 0)
            d_now = with_first(d_now, d_h + d_now[0] if cell.BYPASS else d_h)
        store_several(d_now, d_states.h, d_states.apart)
        return
    for t in range(rows - 1, -1, -1):
        states_t = states_at(states, t * width) if t > 0 else before
        d_a_t, d_y_t, after = further(gates, G * t * width), further(d_y, t * width), states_at(states, (t + 1) * width)
        for j in range(0, last, W):
            deactivate_at(cell, j, d_a_t, d_y_t, d_states, states_t, after)
        d_a = deactivate_at(cell, last, d_a_t, d_y_t, d_states, states_t, after)
        for k in range(0, width, W):
            d_h = row_sums(cell, d_a, d_a_t, last // W, weight_hh, rows_hh, k)
            store_at(d_h + load_at(d_states.h, k) if cell.BYPASS else d_h, d_states.h, k)
