"""The losses as functions in PyTorch's graph; the equations stand in `rnnkit.model.losses`."""

from __future__ import annotations

from functools import singledispatch
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from rnnkit.errors import ModelError
from rnnkit.model.losses import MAE, MSE, BinaryCrossEntropy, CrossEntropy, Huber, Loss


class BlockTargets(NamedTuple):
    """The targets of K windows and what each of their entries counts.

    Attributes:
        values: for each window `(T, B, O)`, or labels `(T, B)` int64; zero where a row is not scored.
        share: for each window the values' shares in its loss, flat, so that a loss is a sum of products.
        scored: `(K, T, B, 1)` bool.
        some, every: `(K,)` NumPy bool; whether a window has a scored row, and whether it has no other.
    """

    values: tuple[Tensor, ...]
    share: tuple[Tensor, ...]
    scored: Tensor
    some: np.ndarray
    every: np.ndarray


def targets(y: np.ndarray, weight: np.ndarray, dtype: torch.dtype, device: torch.device) -> BlockTargets:
    """Prepare targets `(K, T, B, O)`, or labels `(K, T, B)`, and weights `(K, T, B)`, once for a block."""
    scored = weight > 0
    total = weight.sum((1, 2), keepdims=True)
    share = np.where(scored, weight / np.where(total > 0, total, 1), 0)
    mask = scored
    if y.ndim > weight.ndim:
        mask, share = scored[..., None], np.repeat(share[..., None] / y.shape[-1], y.shape[-1], -1)
    kind = dtype if y.ndim > weight.ndim else torch.int64
    return BlockTargets(
        values=torch.tensor(np.where(mask, y, 0), dtype=kind, device=device).unbind(),
        share=torch.tensor(share, dtype=dtype, device=device).flatten(1).unbind(),
        scored=torch.tensor(scored[..., None], device=device),
        some=np.any(scored, (1, 2)),
        every=np.all(scored, (1, 2)),
    )


def window_loss(loss: Loss, y: Tensor, wanted: BlockTargets, k: int) -> Tensor:
    """Weighted mean loss of window k, in the graph of its predictions `y (T, B, O)`."""
    if not wanted.every[k]:
        y = torch.where(wanted.scored[k], y, 0.0)
    entries = entry_losses(loss, y, wanted.values[k])
    return torch.dot(entries.flatten(), wanted.share[k])


@singledispatch
def entry_losses(loss: object, y: Tensor, target: Tensor) -> Tensor:
    """Loss of each entry of the targets, not yet averaged."""
    raise ModelError(
        f"backend 'torch' cannot train with the loss {loss!r}; it knows MSE, MAE, Huber, CrossEntropy, "
        f"BinaryCrossEntropy"
    )


@entry_losses.register
def _(loss: MSE, y: Tensor, target: Tensor) -> Tensor:
    return functional.mse_loss(y, target, reduction="none")


@entry_losses.register
def _(loss: MAE, y: Tensor, target: Tensor) -> Tensor:
    return functional.l1_loss(y, target, reduction="none")


@entry_losses.register
def _(loss: Huber, y: Tensor, target: Tensor) -> Tensor:
    return functional.huber_loss(y, target, reduction="none", delta=loss.delta)


@entry_losses.register
def _(loss: CrossEntropy, y: Tensor, target: Tensor) -> Tensor:
    return functional.cross_entropy(y.flatten(0, 1), target.flatten(), reduction="none")


@entry_losses.register
def _(loss: BinaryCrossEntropy, y: Tensor, target: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(y, target, reduction="none")
