"""State is a value: a tuple with one entry for each layer of a chain."""

from __future__ import annotations

from typing import Any, NamedTuple


class LSTMState(NamedTuple):
    """What an LSTM layer remembers.

    Attributes:
        h: hidden state, `(B, H)`; also the layer's output of the last row.
        c: cell state, `(B, H)`.
    """

    h: Any
    c: Any


State = tuple[Any, ...]
"""One entry a layer: `LSTMState` for an LSTM, `()` for a layer without state."""
