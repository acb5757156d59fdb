"""The recurrence of a lane that runs alone: one row waits for the other, and nothing else can fill the time.

Between two rows nothing passes through memory that need not. Going forward, the four gates of as many units as a vector
holds are summed in registers, where `cells.py` turns them into the next state. Going back, the panels being those of
the way forward, the product with the weight's transpose is taken by rows: a vector of sums for every k, whose lanes are
then added up for a vector's worth of k at once.

    (1)  a[g, j] = a[g, j] + Σ_k h[k] weight[k, g, j]          g = i, f, g, o; j in one vector of units
    (2)  d_h[k] = Σ_g Σ_j d_a[g, j] weight[k, g, j]            k in one vector of units
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from rnnkit_numba.cells import activate, deactivate, deactivate_at
from rnnkit_numba.compiled import kernel
from rnnkit_numba.pointers import WORD, address
from rnnkit_numba.pointers import forward as further
from rnnkit_numba.registers import loop
from rnnkit_numba.tiles import TILE_VECTORS
from rnnkit_numba.vectors import BYTES, Vector, call_llvm, load_at, splat, store_at

GROUP = 4
"""Rows of the recurrent weight that are taken together; in panels they are filled up with zeros to a multiple."""

CHAINS = 2 if BYTES == 32 else 4
"""Sums that run side by side in (1), as a single one would wait for every addition; AVX2 has registers for two."""


@kernel
def recurrent_rows(hidden, one):
    """Rows of the recurrent weight in panels for the forward pass, GROUP at a time."""
    group = min(GROUP, one)
    return -(-hidden // group) * group


def gate_address(builder: Any, weights: Any, rows: Any, k: Any, gate: int, vector: Any) -> Any:
    """Where `weight[k, gate, :]` stands in the panels of one vector of units, which `weights` points to."""
    one, side = vector.count, min(TILE_VECTORS, 4)  # gates side by side in a panel
    panel = builder.mul(rows, WORD(gate // side * side * one))
    row = builder.mul(k, WORD(side * one))
    return address(builder, weights, builder.add(builder.add(panel, row), WORD(gate % side * one)), vector)


def make_gate_sums(units: int, most_chains: int) -> Any:
    """The function `gate_sums(h, weights, rows, a)` for so many vectors of units at once.

    `weights` and `a` point to those of the first unit, `rows` counts k, a multiple of GROUP. Returns the vectors
    of the gates i, f, g, o of the first units, then those of the next.
    """

    @intrinsic
    def gate_sums(typingctx: Any, h: Any, weights: Any, rows: Any, a: Any) -> Any:
        if not (isinstance(a, types.CPointer) and a == h == weights):
            return None
        vector_type = Vector(a.dtype)
        chains = min(most_chains, vector_type.lanes)  # which divides the rows

        def lower(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
            h, weights, rows, a = arguments
            vector = context.get_value_type(vector_type)
            size, count = vector_type.dtype.bitwidth // 8, 4 * units
            sums = [builder.load(address(builder, a, WORD(n * vector.count), vector), align=size) for n in range(count)]
            sums += [vector(None)] * (count * (chains - 1))
            panels = [builder.gep(weights, [builder.mul(rows, WORD(unit * 4 * vector.count))]) for unit in range(units)]

            def step(n: Any, sums: list[Any]) -> list[Any]:
                for chain in range(chains):
                    k = builder.add(builder.mul(n, WORD(chains)), WORD(chain))
                    spread = splat(builder, builder.load(builder.gep(h, [k]), align=size), vector)
                    for unit, panel in enumerate(panels):
                        for gate in range(4):
                            here = chain * count + 4 * unit + gate
                            weight = builder.load(gate_address(builder, panel, rows, k, gate, vector), align=size)
                            sums[here] = call_llvm(builder, "fma", [spread, weight, sums[here]])
                return sums

            sums = loop(builder, "gates", builder.sdiv(rows, WORD(chains)), sums, step)
            while len(sums) > count:  # halves, until one sum is left of each
                half = len(sums) // 2
                sums = [builder.fadd(x, y) for x, y in zip(sums[:half], sums[half:], strict=True)]
            return context.make_tuple(builder, sig.return_type, sums)

        return types.UniTuple(vector_type, 4 * units)(h, weights, types.intp, a), lower

    return gate_sums


gate_sums = make_gate_sums(1, CHAINS)
"""(1) for one vector of units."""

gate_sums_2 = make_gate_sums(2, CHAINS // 2)
"""(1) for two vectors of units: each number of h is spread over a vector once for both."""


def add_lanes(builder: Any, vectors: list[Any]) -> Any:
    """The sums of the lanes of as many vectors as one has lanes, side by side in one vector.

    Two vectors become one of half as many sums each, again and again: first numbers that are neighbours within 128
    bits, which processors move fastest, then the 128 bits among each other.
    """
    kind = vectors[0].type
    lanes = kind.count
    near = min(lanes, 2 if isinstance(kind.element, ir.DoubleType) else 4)

    def halve(low: list[int], high: list[int]) -> list[Any]:
        mask = ir.VectorType(ir.IntType(32), lanes)
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
                start + piece * step + n + source * lanes
                for start in range(0, lanes, near)
                for piece in range(first, first + pieces)
                for source in (0, 1)
                for n in range(step)
            ]
            for first in (0, pieces)
        ]
        vectors = halve(*order)
        step *= 2
    far = lanes // near  # pieces of 128 bits that are to be added up
    while len(vectors) > 1:
        order = [
            [
                source * lanes + start * near + n
                for source in (0, 1)
                for first in range(0, lanes // near, far)
                for start in range(first + half, first + half + far // 2)
                for n in range(near)
            ]
            for half in (0, far // 2)
        ]
        vectors = halve(*order)
        far //= 2
    return vectors[0]


@intrinsic
def _lane_sums(typingctx: Any, last: Any, d_a: Any, panels: Any, weights: Any, rows: Any, k: Any) -> Any:
    if not (isinstance(d_a, types.CPointer) and d_a == weights):
        return None
    vector_type = Vector(d_a.dtype)

    def lower(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        last, d_a, panels, weights, rows, first = arguments
        vector = context.get_value_type(vector_type)
        one, size = vector.count, vector_type.dtype.bitwidth // 8
        group = min(GROUP, one)
        in_registers = [builder.extract_value(last, n) for n in range(4)]

        def add(panel: Any, k: Any, gates: list[Any], sums: list[Any]) -> list[Any]:
            base = builder.gep(weights, [builder.mul(builder.mul(panel, rows), WORD(4 * one))])
            for n in range(group):
                row = builder.add(k, WORD(n))
                for gate in (3, 0, 1, 2):  # d_a_o is there first
                    weight = builder.load(gate_address(builder, base, rows, row, gate, vector), align=size)
                    sums[n] = call_llvm(builder, "fma", [gates[gate], weight, sums[n]])
            return sums

        found = []
        for start in range(0, one, group):
            k = builder.add(first, WORD(start))
            before = builder.block
            inside, after = builder.append_basic_block("rows.body"), builder.append_basic_block("rows.done")
            builder.cbranch(builder.icmp_signed("<", k, rows), inside, after)
            builder.position_at_end(inside)

            def panel_of(n: Any, sums: list[Any], k: Any = k) -> list[Any]:
                where = builder.mul(n, WORD(4 * one))
                gates = [
                    builder.load(address(builder, d_a, builder.add(where, WORD(gate * one)), vector), align=size)
                    for gate in range(4)
                ]
                return add(n, k, gates, sums)

            sums = loop(builder, "panels", panels, [vector(None)] * group, panel_of)
            sums = add(panels, k, in_registers, sums)
            end = builder.block
            builder.branch(after)
            builder.position_at_end(after)
            for value in sums:
                phi = builder.phi(vector)
                phi.add_incoming(vector(None), before)
                phi.add_incoming(value, end)
                found.append(phi)
        return add_lanes(builder, found)

    whole = types.intp
    return vector_type(last, d_a, whole, weights, whole, whole), lower


lane_sums: Any = _lane_sums
"""`lane_sums(last, d_a, panels, weights, rows, k)`: (2) for a vector of k, zero from k = `rows` on.

The first `panels` vectors of units of d_a stand in memory, four gates each; `last` holds the four of the one behind.
"""


@kernel
def forward_rows(h_before, c_before, weight_hh, rows_hh, gates, c, h, rows, width, one):
    """(2), but for the part of x, to (5) of `lstm.py` for some rows, none reset but the first, all valid.

    `gates`, `c` and `h` point to what the first of these rows writes.
    """
    for _ in range(rows):
        j = 0
        while width - j > one:
            here, there = further(gates, 4 * j), further(gates, 4 * (j + one))
            a = gate_sums_2(h_before, further(weight_hh, 4 * j * rows_hh), rows_hh, here)
            activate(a[0], a[1], a[2], a[3], here, further(c_before, j), further(c, j), further(h, j))
            j += one
            activate(a[4], a[5], a[6], a[7], there, further(c_before, j), further(c, j), further(h, j))
            j += one
        if j < width:
            here = further(gates, 4 * j)
            a = gate_sums(h_before, further(weight_hh, 4 * j * rows_hh), rows_hh, here)
            activate(a[0], a[1], a[2], a[3], here, further(c_before, j), further(c, j), further(h, j))
        h_before, c_before = h, c
        gates, c, h = further(gates, 4 * width), further(c, width), further(h, width)


@kernel
def backward_rows(gates, d_y, d_h, d_c, c, c_before, h, weight_hh, rows_hh, rows, width, one):
    """(6') to (2') of `lstm.py` for some rows, none reset but the first, all valid.

    `gates`, `d_y`, `c` and `h` point to the first of these rows, `c` and `h` to the state before it, but that its c⁻ is
    `c_before`. d_h and d_c are those after the last row and become those before the first.
    """
    last = width - one
    if last == 0:  # all that one row hands to the next stays in registers
        d_h_now, d_c_now = load_at(d_h, 0), load_at(d_c, 0)
        for t in range(rows - 1, -1, -1):
            before = further(c, t * one) if t > 0 else c_before
            d_a, d_c_now = deactivate(
                further(gates, 4 * t * one), further(d_y, t * one), d_h_now, d_c_now, before, further(h, (t + 1) * one)
            )
            d_h_now = lane_sums(d_a, gates, 0, weight_hh, rows_hh, 0)
        store_at(d_h_now, d_h, 0)
        store_at(d_c_now, d_c, 0)
        return
    for t in range(rows - 1, -1, -1):
        before = further(c, t * width) if t > 0 else c_before
        d_a_t, d_y_t, h_t = further(gates, 4 * t * width), further(d_y, t * width), further(h, (t + 1) * width)
        for j in range(0, last, one):
            deactivate_at(j, d_a_t, d_y_t, d_h, d_c, before, h_t)
        d_a = deactivate_at(last, d_a_t, d_y_t, d_h, d_c, before, h_t)
        for k in range(0, width, one):
            store_at(lane_sums(d_a, d_a_t, last // one, weight_hh, rows_hh, k), d_h, k)
