"""The compiled backend: the mathematics of `rnnkit_numpy` in Numba; a whole block of windows is one call.

A model is data to the kernels: its parameters stand in one flat buffer, its layers in a table of whole
numbers (`layout.py`). One compilation for each of float32 and float64 therefore serves every architecture.
"""

from typing import TYPE_CHECKING, Protocol

from rnnkit_numba.arrays import from_numpy, to_numpy
from rnnkit_numba.options import configure
from rnnkit_numba.protocol import backward, forward, outputs, update
from rnnkit_numba.stepper import Stepper as stepper
from rnnkit_numba.train import train_block
from rnnkit_numba.warm import cache_folder, warmup

name = "numba"

if TYPE_CHECKING:  # the type checker compares the module and its configured twin with the protocols
    import rnnkit_numba
    from rnnkit.backend.protocol import Backend, WithOptions, WithOutputs, WithStepper, WithTraining, WithWarmup
    from rnnkit_numba.options import WithThreads

    class Numba(WithTraining, WithOutputs, WithStepper, WithOptions, WithWarmup, Backend, Protocol): ...

    of_numba: tuple[Numba, Numba] = (rnnkit_numba, WithThreads())

__all__ = [
    "backward",
    "cache_folder",
    "configure",
    "forward",
    "from_numpy",
    "name",
    "outputs",
    "stepper",
    "to_numpy",
    "train_block",
    "update",
    "warmup",
]
