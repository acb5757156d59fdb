"""The textbook backend: the equations, numbered, forward and backward side by side, in plain NumPy.

It is written to be read and to hold the fast backends to account, not to be fast. It takes whatever dtype the
parameters have; complex128 runs through it, so that its gradients can be checked against the complex step.
"""

from typing import TYPE_CHECKING

from rnnkit_numpy.chain import backward, forward
from rnnkit_numpy.explain import explain
from rnnkit_numpy.rules import update
from rnnkit_numpy.trees import from_numpy, to_numpy

name = "numpy"

if TYPE_CHECKING:  # the type checker compares the module with the protocol
    import rnnkit_numpy
    from rnnkit.backend import Backend

    textbook: Backend = rnnkit_numpy

__all__ = ["backward", "explain", "forward", "from_numpy", "name", "to_numpy", "update"]
