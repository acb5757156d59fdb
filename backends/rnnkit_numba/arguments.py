"""What `run_block` and the passes are given, as named tuples; compiled code takes them apart at no cost.

Axes: K windows, T rows, B lanes, I inputs, O outputs, S numbers of a lane's state, R states that a lane records in a
window, M recorded states, N threads, P pieces of a window.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Buffers(NamedTuple):
    """A model and what its rule remembers, in their own order and in panels.

    Attributes:
        table: `(layers, COLUMNS)`, see `table.py`.
        params: `(P,)`, changed in place.
        moments: `(moments, P)`, changed in place.
        packed, slots: zeros; the parameters, what is derived from them, and the moments in panels.
    """

    table: Any
    params: Any
    moments: Any
    packed: Any
    slots: Any


class Windows(NamedTuple):
    """The rows of a block of windows, and how they count: see `rnnkit.backend.Block`.

    Attributes:
        rate_K: learning rates.
    """

    x_KTBI: Any
    y_KTBO: Any
    reset_KTB: Any
    valid_KTB: Any
    weight_KTB: Any
    scale_K: Any
    rate_K: Any
    reweight_T: Any


class Edges(NamedTuple):
    """Where lanes start from in each window, and which of their states are recorded: see `rnnkit.backend.Block`.

    Attributes:
        origin_KB: `(K + 1, B)`.
        noise_KBS: initial states that are drawn for each window, if they are.
    """

    origin_KB: Any
    read_KB: Any
    at_KBR: Any
    write_KBR: Any
    noise_KBS: Any


class Way(NamedTuple):
    """How every window is gone through.

    Attributes:
        detached: rows at its head that are outside the gradient.
        piece_rows: the most rows that share a tape.
        initial_kind: what a reset goes to: SAME, TRAINED or DRAWN.
        group_lanes: lanes that go through it together.
    """

    detached: int
    piece_rows: int
    initial_kind: int
    group_lanes: int


class Kept(NamedTuple):
    """States that outlive a window, changed in place.

    Attributes:
        carried_BS: of the lanes, handed from window to window.
        store_MS: recorded states.
    """

    carried_BS: Any
    store_MS: Any


class Measured(NamedTuple):
    """Loss and norm of the gradient of each window, written."""

    losses_K: Any
    norms_K: Any


class Scratch(NamedTuple):
    """Room to work in.

    Attributes:
        d_packs: `(groups, P)`, the gradients of each lane group, in panels.
        group_losses: `(groups,)`, their shares in the loss.
        squares: sums of squares of the gradients, see `add_squares`.
        tapes, works: a row a thread.
        states_6BS: scratch but for its last entry, which holds the initial state of each lane.
        found_BRS: states that a window records.
        heads_NPBS: states at the head of each piece.
    """

    d_packs: Any
    group_losses: Any
    squares: Any
    tapes: Any
    works: Any
    states_6BS: Any
    found_BRS: Any
    heads_NPBS: Any


class Pass(NamedTuple):
    """Rows that lanes pass through once, without a loss.

    Attributes:
        state_BS: what stands before row 0; leaves as what stands after the last row.
        initial_BS: what a reset goes to.
    """

    x_TBI: Any
    reset_TB: Any
    valid_TB: Any
    state_BS: Any
    initial_BS: Any
