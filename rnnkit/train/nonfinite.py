"""Errors that name what was not finite, and where."""

from __future__ import annotations

import numpy as np

from rnnkit.backend import Carried, Draws, Report, map_arrays
from rnnkit.backend.lanes import start_of
from rnnkit.data.joined import Joined
from rnnkit.errors import ModelError, NonFiniteError
from rnnkit.model.heads import state_of
from rnnkit.model.initialisers import initial_state
from rnnkit.model.losses import row_loss
from rnnkit.schedule import Block
from rnnkit.schedule.turn import Feed
from rnnkit.train.fold import Fold


def overflow(epoch: int, step: int, count: int, finite_before: bool) -> ModelError | NonFiniteError:
    """The error of parameters that an update has made infinite, or that were so before."""
    if not finite_before:
        return ModelError("fit expects params to be finite, got some that are not; draw others with rk.setup(model)")
    return NonFiniteError(
        f"fit: an update of epoch {epoch}, steps {step} to {step + count - 1} (from 0) made parameters that are not "
        f"finite. The parameters before these steps are kept; lower the learning rate"
    )


def not_finite(
    fold: Fold,
    carried: Carried,
    feed: Feed,
    block: Block,
    member: int,
    report: Report,
    epoch: int,
    step: int,
    draws: Draws,
) -> NonFiniteError:
    """The error that names the step, the lane and the rows: the window is run once more to find them.

    Args:
        fold, carried: how it is trained, and what stood before the step.
        feed, member: the open data sets, and which one the step is from; -1: several.
        block, report: the step is that after the last one that was made.
        epoch, step: those of the block's first step.
        draws: the random numbers of the block.
    """
    engine, head = fold.engine, feed.heads[max(member, 0)]
    chain, params = fold.chain(head), fold.parameters(carried, head)
    batch = block.batch(report.done)
    what = "loss" if not np.isfinite(report.loss[report.done]) else "gradient"
    drawn = None if draws.initial is None else map_arrays(lambda a: a[report.done], state_of(draws.initial, chain))
    cold = initial_state(chain, engine.to_numpy(params), batch.x.shape[1], drawn)
    state = start_of(batch, cold, engine.to_numpy(carried.state), engine.to_numpy(carried.store))
    with np.errstate(all="ignore"):
        x, state, drawn = engine.from_numpy((batch.x, state, drawn))
        given = {} if drawn is None else {"initial": drawn}
        y, _, _ = engine.forward(chain, params, x, state, batch.reset, batch.valid, **given)
        losses = np.where(batch.weight > 0, row_loss(fold.loss, engine.to_numpy(y), batch.y), 0)
    bad = ~np.isfinite(losses)
    lane = int(np.argmax(bad.any(0))) if bad.any() else int(np.argmax(np.abs(losses).max(0)))
    rows = batch.rows[bad[:, lane] if bad.any() else batch.valid[:, lane], lane]
    name = feed.series[max(member, 0)].name
    joined = getattr(feed.source, "series", None)
    if member < 0 and isinstance(joined, Joined):
        index = int(joined.member_of(rows[:1])[0])
        rows = rows[joined.member_of(rows) == index] - joined.offsets[index]
        name = joined.members[index].name
    return NonFiniteError(
        f"fit: the {what} of epoch {epoch}, step {step + report.done} (from 0) is not finite; lane {lane}, rows "
        f"{rows.min()} to {rows.max()} of {name!r}. The step was not made and the last good parameters are kept; "
        f"lower the learning rate, clip the gradient (ClipNorm), or look at these rows"
    )
