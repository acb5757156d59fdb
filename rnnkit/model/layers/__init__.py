"""The layers of a model, a layer a file."""

from rnnkit.model.layers.chain import Chain, layers_to_run
from rnnkit.model.layers.dense import ACTIVATIONS, Activation, Dense
from rnnkit.model.layers.heads import Heads
from rnnkit.model.layers.initial import Given, Initial, Learned, Noise, Zeros
from rnnkit.model.layers.kinds import LAYERS
from rnnkit.model.layers.labels import Example, Labels, Line, Shown
from rnnkit.model.layers.lstm import GATES, INITIAL, LSTM, LSTMState
from rnnkit.model.layers.protocol import Layer, initial_parameters, parameter_shapes, state_type, zero_state
from rnnkit.model.layers.recurrence import Recurrent, initial_names

__all__ = [
    "ACTIVATIONS",
    "GATES",
    "INITIAL",
    "LAYERS",
    "LSTM",
    "Activation",
    "Chain",
    "Dense",
    "Example",
    "Given",
    "Heads",
    "Initial",
    "LSTMState",
    "Labels",
    "Layer",
    "Learned",
    "Line",
    "Noise",
    "Recurrent",
    "Shown",
    "Zeros",
    "initial_names",
    "initial_parameters",
    "layers_to_run",
    "parameter_shapes",
    "state_type",
    "zero_state",
]
