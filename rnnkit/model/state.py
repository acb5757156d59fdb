"""State is a value: a tuple with one entry for each layer of a chain."""

from __future__ import annotations

from typing import Any

State = tuple[Any, ...]
"""One entry a layer: the named tuple of its state's arrays, such as `LSTMState`, or `()` for a layer without state."""
