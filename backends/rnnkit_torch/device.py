"""The backend on a device of the caller's choice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from rnnkit.errors import BackendError, did_you_mean
from rnnkit_torch import trees
from rnnkit_torch.block import train_block
from rnnkit_torch.chain import backward, forward
from rnnkit_torch.rules import update


def configure(*, device: str = "cpu", **unknown: Any) -> OnDevice:
    """The backend whose arrays live on a device.

    Args:
        device: `"cpu"`, `"cuda"` or, to choose among several, `"cuda:0"`.

    Raises:
        BackendError: another device, CUDA where PyTorch finds none, a GPU that is not there, another option.

    Example:
        >>> configure(device="cpu")
        OnDevice(device='cpu')
    """
    if unknown:
        near = did_you_mean(next(iter(unknown)), ["device"])
        raise BackendError(f"backend 'torch' takes the option device, got {', '.join(unknown)}; leave it out{near}")
    try:
        place = torch.device(device)
    except (RuntimeError, TypeError):
        place = None
    if place is None or place.type not in ("cpu", "cuda"):
        raise BackendError(f"backend 'torch' expects device 'cpu', 'cuda' or 'cuda:<number>', got {device!r}")
    if place.type == "cuda":
        if not torch.cuda.is_available():
            raise BackendError(
                f"backend 'torch' expects CUDA for device={device!r}, but PyTorch {torch.__version__} finds "
                f"none; use device='cpu' or install a PyTorch built for CUDA"
            )
        if (place.index or 0) >= torch.cuda.device_count():
            raise BackendError(
                f"backend 'torch' expects a GPU numbered below {torch.cuda.device_count()}, got {device!r}; "
                f"use device='cuda'"
            )
    return OnDevice(str(place))


@dataclass(frozen=True)
class OnDevice:
    """The module's functions, with `from_numpy` for one device; the others follow the tensors given."""

    device: str = "cpu"

    name = "torch"
    forward = staticmethod(forward)
    backward = staticmethod(backward)
    update = staticmethod(update)
    train_block = staticmethod(train_block)
    to_numpy = staticmethod(trees.to_numpy)
    configure = staticmethod(configure)

    def from_numpy(self, tree: Any) -> Any:
        """Copy every array of a tree to a tensor on the device."""
        return trees.from_numpy(tree, self.device)
