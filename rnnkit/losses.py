"""Losses, as data: what a name such as `"mse"` stands for."""

from rnnkit.model.losses import MAE, MSE, BinaryCrossEntropy, CrossEntropy, Huber

__all__ = [
    "MAE",
    "MSE",
    "BinaryCrossEntropy",
    "CrossEntropy",
    "Huber",
]
