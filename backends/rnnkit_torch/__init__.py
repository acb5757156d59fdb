"""The PyTorch backend: PyTorch's LSTM and autograd, on the CPU or with CUDA.

It runs the function behind `torch.nn.LSTM`, so that weights and whole training trajectories are those of a
loop written by hand. It follows the device of the tensors that it is given; `configure(device="cuda")` gives
the backend whose `from_numpy` puts them there.
"""

from rnnkit_torch.block import train_block
from rnnkit_torch.chain import backward, forward
from rnnkit_torch.device import configure
from rnnkit_torch.rules import update
from rnnkit_torch.trees import from_numpy, to_numpy

name = "torch"

__all__ = ["backward", "configure", "forward", "from_numpy", "name", "to_numpy", "train_block", "update"]
