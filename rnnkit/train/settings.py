"""What `fit` is given, checked before anything else happens."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnnkit.data import Sequence
from rnnkit.errors import ModelError, ScheduleError
from rnnkit.model.initialisers import DTYPES, check_memory
from rnnkit.model.layers import Chain
from rnnkit.model.rules import Clip, Rule, slot_names
from rnnkit.schedule import Curriculum, Schedule
from rnnkit.train.stages import EVERY
from rnnkit.train.stopping import EarlyStopping


def check_schedule(schedule: Any) -> None:
    """Check that what `fit` is to train on says so turn by turn.

    Raises:
        ScheduleError: what is neither a Schedule nor a Curriculum.
    """
    if not isinstance(schedule, Schedule | Curriculum):
        raise ScheduleError(
            f"fit expects a Schedule or a Curriculum, got {type(schedule).__name__}; write "
            f"rk.Schedule(series, rk.Continuation(length=64), rk.Carry())"
        )


def check_settings(
    model: Any,
    schedule: Any,
    *,
    validation: Any,
    epochs: Any,
    rule: Any,
    clip: Any,
    dtype: Any,
    learning_rate: Any,
    early_stopping: Any,
    warm: Any,
    block_rows: Any,
    remat: Any,
    transfer: Any,
    check_range: Any,
    seed: Any,
) -> None:
    """Settings of the wrong kind, such as a number for a description, before anything else happens."""
    whole = isinstance(epochs, int | np.integer) and not isinstance(epochs, bool)
    for fits, name, wanted, got, remedy in (
        (isinstance(model, Chain), "model", "a Chain", model, "rk.Chain(rk.LSTM(1, 10), rk.Dense(10, 1))"),
        (isinstance(validation, Sequence | None), "validation", "a Sequence", validation, "rk.Sequence(values)"),
        (whole and epochs >= 1, "epochs", "a whole number >= 1", epochs, "epochs=10"),
        (isinstance(rule, Rule), "rule", "an optimizer", rule, "rule=rk.Adam(1e-3)"),
        (isinstance(clip, Clip | None), "clip", "ClipNorm, ClipValue or None", clip, "clip=rk.ClipNorm(1.0)"),
        (dtype in DTYPES, "dtype", "'float32' or 'float64'", dtype, f"dtype='float{64 if '64' in str(dtype) else 32}'"),
        (
            hasattr(learning_rate, "factors") and not isinstance(learning_rate, type),
            "learning_rate",
            "a schedule of rates",
            learning_rate,
            "rule=rk.Adam(1e-3) for the rate, and learning_rate=rk.Cosine() for how it moves",
        ),
        (
            isinstance(early_stopping, EarlyStopping | None),
            "early_stopping",
            "EarlyStopping or None",
            early_stopping,
            "early_stopping=rk.EarlyStopping(patience=5)",
        ),
        (isinstance(warm, int | np.integer) and warm >= 0, "warm", "a number of rows >= 0", warm, "warm=1024"),
        (
            isinstance(block_rows, int | np.integer) and block_rows >= 1,
            "block_rows",
            "a number of rows >= 1",
            block_rows,
            "block_rows=65_536",
        ),
        (
            remat in (None, "sqrt")
            or (isinstance(remat, int | np.integer) and not isinstance(remat, bool) and remat >= 1),
            "remat",
            "a number of rows >= 1, 'sqrt' or None",
            remat,
            'remat="sqrt"',
        ),
        (
            transfer is None or (transfer in EVERY and bool(schedule.sets)),
            "transfer",
            "'turn', 'phase', 'epoch' or None, with a Curriculum",
            transfer,
            "transfer='epoch'",
        ),
        (isinstance(seed, int | np.integer) and seed >= 0, "seed", "a whole number >= 0", seed, "seed=0"),
        (isinstance(check_range, bool | np.bool_), "check_range", "True or False", check_range, "check_range=False"),
    ):
        if not fits:
            raise ModelError(f"fit expects {name} to be {wanted}, got {got!r}; write {remedy}")
    check_memory(model, dtype, 2 + len(slot_names(rule)))
