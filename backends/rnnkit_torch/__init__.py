"""The PyTorch backend: PyTorch's own layers and autograd, on the CPU or with CUDA.

It runs the functions behind the layers of `torch.nn`, so that weights and whole training trajectories are those of a
loop written by hand. It follows the device of the tensors that it is given; `configure(device="cuda")` gives
the backend whose `from_numpy` puts them there.
"""

from typing import TYPE_CHECKING, Protocol

from rnnkit_torch.block import train_block
from rnnkit_torch.chain import backward, forward
from rnnkit_torch.device import configure
from rnnkit_torch.rules import update
from rnnkit_torch.trees import from_numpy, to_numpy

name = "torch"

if TYPE_CHECKING:  # the type checker compares the module and its configured twin with the protocols
    import rnnkit_torch
    from rnnkit.backend.protocol import Backend, WithOptions, WithTraining
    from rnnkit_torch.device import OnDevice

    class Torch(WithTraining, WithOptions, Backend, Protocol): ...

    of_torch: tuple[Torch, Torch] = (rnnkit_torch, OnDevice())

__all__ = ["backward", "configure", "forward", "from_numpy", "name", "to_numpy", "train_block", "update"]
