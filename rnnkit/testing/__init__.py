"""The conformance check for backends, and the gradient checks it is made of.

    import rnnkit.testing
    print(rnnkit.testing.check_backend("torch"))

compares a backend with the textbook one on everything that the protocol promises, in float64. The textbook backend
itself is held to account by the complex step (`complex_step_gradients`), which needs no backward pass at all.
"""

from rnnkit.testing.cases import (
    MECHANISMS,
    Case,
    leaves,
    random_block,
    random_case,
    random_settings,
    relative_difference,
    run_case,
)
from rnnkit.testing.complex_step import complex_step_gradients
from rnnkit.testing.conformance import TOLERANCE, Conformance, ConformanceError, check_backend

__all__ = [
    "MECHANISMS",
    "TOLERANCE",
    "Case",
    "Conformance",
    "ConformanceError",
    "check_backend",
    "complex_step_gradients",
    "leaves",
    "random_block",
    "random_case",
    "random_settings",
    "relative_difference",
    "run_case",
]
