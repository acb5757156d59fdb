"""The gradient that a schedule computes over an epoch, at fixed parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from rnnkit.backend import Backend, map_arrays
from rnnkit.backend import backend as find_backend
from rnnkit.backend.block import run_window
from rnnkit.backend.lanes import record, start_of
from rnnkit.errors import ScheduleError
from rnnkit.model.initialisers import draw_noise, initial_state, noise_generator
from rnnkit.model.layers import Chain
from rnnkit.model.losses import Loss, as_loss
from rnnkit.schedule import Schedule
from rnnkit.train.fold import remat_rows
from rnnkit.train.targets import as_trained, check_targets


def epoch_gradient(
    model: Chain,
    params: Mapping[str, np.ndarray],
    schedule: Schedule,
    *,
    backend: str | Backend = "numba",
    loss: str | Loss = "mse",
    epoch: int = 0,
    remat: int | Literal["sqrt"] | None = None,
    seed: int = 0,
) -> tuple[float, dict[str, np.ndarray]]:
    """Mean loss of an epoch and what its windows' gradients add up to, each with its scored rows as weight.

    State is carried, recorded and cut as in training, but no update is made: under a schedule that cuts nothing this
    is the derivative of the mean loss.

    Args:
        model: the `Chain`.
        params: NumPy arrays; their dtype is that of everything.
        schedule: what each step reads, where its state comes from, how far its gradient goes.
        backend: a name or a backend.
        loss: as for `fit`.
        epoch: which epoch of the schedule. Where state goes on from one epoch to the next, the epoch before is run
            first, from the initial state.
        remat: as for `fit`; the windows of full back-propagation want `"sqrt"`.
        seed: of the noise of a model with `initial=Noise(...)`.

    Returns:
        `(loss, gradient)`: a float and a dict of new arrays like the parameters.

    Raises:
        ModelError: a model, loss, target or parameters that do not fit.
        ScheduleError: a schedule that scores no row.
    """
    engine, loss = find_backend(backend), as_loss(loss)
    schedule = Schedule(as_trained(model, schedule.series, loss), schedule.splitter, schedule.policy, schedule.seed)
    kind = next(iter(params.values())).dtype
    own: dict[str, Any] = engine.from_numpy(dict(params))
    slots, lanes = schedule.slots(epoch), schedule.lanes
    recorded = None if slots is None else initial_state(model, params, len(slots))
    carried = initial_state(model, params, lanes)
    total, loss_sum, summed = 0.0, 0.0, {key: np.zeros_like(p, dtype=np.float64) for key, p in params.items()}
    for number in (epoch - 1, epoch) if _goes_on(schedule, epoch) else (epoch,):
        draws = noise_generator(model, seed, number)
        for block in schedule.blocks(number, str(kind)):
            check_targets(loss, block.y, model.outputs)
            noise = draw_noise(model, draws, len(block.x), lanes, kind)
            for k in range(len(block.x)):
                batch = block.batch(k)._replace(scale=None)  # each window counts by its rows here
                if number < epoch:
                    batch = batch._replace(weight=np.zeros_like(batch.weight))  # its states alone are wanted
                drawn = None if noise is None else map_arrays(lambda a, k=k: a[k], noise)
                started = start_of(batch, initial_state(model, params, lanes, drawn), carried, recorded)
                remat_every = remat_rows(remat, block)
                window = run_window(engine, model, own, batch, started, drawn, loss, remat_every)
                weight = float(batch.weight.sum(dtype=np.float64))
                total, loss_sum = total + weight, loss_sum + weight * window.loss
                for key, g in window.grads.items():
                    summed[key] += weight * g
                carried = window.handed_on
                if batch.slots is not None and recorded is not None:
                    recorded = record(batch.slots, window.states, recorded)
    if not total:
        raise ScheduleError(f"epoch_gradient expects a schedule that scores some row, {schedule!r} scores none")
    return loss_sum / total, {key: (g / total).astype(kind) for key, g in summed.items()}


def _goes_on(schedule: Schedule, epoch: int) -> bool:
    """Whether an epoch starts from states that the epoch before has left."""
    if not epoch:
        return False
    return schedule.slots(epoch) is not None or bool((schedule.policy.origins(schedule.grid(epoch), 0, 1) >= 0).any())
