"""What the choices cost: many trainings beside each other, each trained alike, and the bias of their gradients."""

from rnnkit.study.agreement import Agreement
from rnnkit.study.bias import GradientBias, bias_of, gradient_bias
from rnnkit.study.compare import Comparison, compare
from rnnkit.study.equal import Equal
from rnnkit.study.reach import GradientReach, gradient_reach
from rnnkit.study.trials import Study, Trial

__all__ = [
    "Agreement",
    "Comparison",
    "Equal",
    "GradientBias",
    "GradientReach",
    "Study",
    "Trial",
    "bias_of",
    "compare",
    "gradient_bias",
    "gradient_reach",
]
