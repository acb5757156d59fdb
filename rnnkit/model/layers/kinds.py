"""The layers that a `Chain` is made of, by their classes."""

from __future__ import annotations

from rnnkit.model.layers.dense import Dense
from rnnkit.model.layers.lstm import LSTM
from rnnkit.model.layers.protocol import Layer

LAYERS: tuple[type[Layer], ...] = (LSTM, Dense)
"""What a config and a saved run may name; in the order in which messages list them."""
