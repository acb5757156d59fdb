"""Compile ahead of the first use: what `rnnkit warmup` calls."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rnnkit.backend import Block, Carried, Draws, Update
from rnnkit.model import DTYPES, MSE, Adam, Chain, Dense, initial_rule_state, setup
from rnnkit_numba.loop import run_block
from rnnkit_numba.protocol import backward, forward, outputs, update
from rnnkit_numba.stepper import Stepper
from rnnkit_numba.train import train_block


def warmup(dtypes: tuple[str, ...] = DTYPES) -> None:
    """Compile every kernel, or read it from disk where that has been done: one code serves all models.

    Args:
        dtypes: `"float32"`, `"float64"` or both.

    Example:
        >>> warmup(("float32",))
    """
    model = Chain(Dense(1, 1))
    rule = Adam()
    for dtype in dtypes:
        params, state = setup(model, dtype=dtype)
        x = np.zeros((1, 1, 1), dtype)
        false = np.zeros((1, 1, 1), bool)
        nowhere, weight = np.zeros((1, 1), int), np.ones((1, 1, 1), dtype)
        block = Block(x[None], x[None], false, ~false, weight, np.zeros((2, 1), int), false * 0, nowhere, nowhere)
        moments, rates = initial_rule_state(rule, params), np.ones(1)
        train_block(model, Carried(params, moments, state), block, Update(rule, MSE(), None, rates), Draws())
        _, _, tape = forward(model, params, x, state)
        update(rule, params, backward(model, params, tape, x).params, moments)
        outputs(model, params, x, state)
        Stepper(model, params, 1, state).step(x[0])


def cache_folder() -> Path | None:
    """Where compiled kernels are kept: under `NUMBA_CACHE_DIR`, beside the package, or in the user's cache folder.

    None where none of them can be written.
    """
    path = run_block._cache.cache_path
    return None if path is None else Path(path)
