"""Three data sets of different length and scale, a model for them, and ways to take turns."""

import rnnkit as rk
from builders import series as small

MODEL = rk.Chain(rk.LSTM(1, 6), rk.Dense(6, 1))
BACKENDS = ["numpy", "numba", "torch"]
WAYS = [rk.OneByOne(), rk.RoundRobin(), rk.RoundRobin(2), rk.Sampling(), rk.Sampling(3.0), rk.SideBySide()]
STILL = rk.SGD(1e-300)
"""A rule whose updates change nothing, so that a data set can reach another through its state alone."""


def wave(rows, seed, scale=1.0):
    """A wave whose period and noise are the seed's own."""
    return small.wave(rows, seed, period=5 + seed, noise=0.2, level=3, scale=scale)


SERIES = {"a": wave(150, 0), "b": wave(90, 1, 30.0), "c": wave(61, 2, 0.1)}


def sequences(**changed):
    """Sequences of `SERIES` by name, some of them with other values."""
    return {name: rk.Sequence(values, name=name) for name, values in (SERIES | changed).items()}


def curriculum(datasets=None, splitter=None, policy=None, **settings):
    """A curriculum, by default of strips of two lanes that carry."""
    datasets = sequences() if datasets is None else datasets
    return rk.Curriculum(datasets, splitter or rk.Continuation(length=16, lanes=2), policy or rk.Carry(), **settings)
