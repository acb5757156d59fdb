"""How the learning rate moves over training."""

from rnnkit.train.learning_rates import Constant, Cosine, LearningRate, OneCycle, Plateau, StepDecay

__all__ = [
    "Constant",
    "Cosine",
    "LearningRate",
    "OneCycle",
    "Plateau",
    "StepDecay",
]
