"""Recurrent layers and their states."""

from rnnkit.model.layers import LSTM, LSTMState

__all__ = [
    "LSTM",
    "LSTMState",
]
