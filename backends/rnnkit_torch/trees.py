"""NumPy arrays in, tensors out, and back; always by copying, so that neither side can change the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from rnnkit.backend import map_arrays


def from_numpy(tree: Any, device: torch.device | str = "cpu") -> Any:
    """Copy every array of a tree of dicts, tuples and named tuples to a tensor on `device`.

    Example:
        >>> import numpy as np
        >>> from_numpy({"0.bias": np.ones(2, "float32")})
        {'0.bias': tensor([1., 1.])}
    """
    return map_arrays(lambda a: torch.tensor(np.asarray(a, order="C"), device=device), tree)


def to_numpy(tree: Any) -> Any:
    """Copy every tensor of a tree to a C-contiguous array."""
    return map_arrays(lambda a: a.detach().to("cpu", copy=True).contiguous().numpy(), tree)
