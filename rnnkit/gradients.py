"""Gradients to look at: of a pass, cut and whole, and states recorded under older parameters."""

from rnnkit.backend import Gradients
from rnnkit.study.bias import GradientBias, gradient_bias
from rnnkit.train.recorded import RecordedDistance, recorded_distance

__all__ = [
    "GradientBias",
    "Gradients",
    "RecordedDistance",
    "gradient_bias",
    "recorded_distance",
]
