"""The fold: parameters, state and optimizer go through the blocks of a schedule, epoch after epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from collections.abc import Sequence as Values1D
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from rnnkit.backend import Backend, BlockResult, check_parameters, map_arrays
from rnnkit.backend import backend as find_backend
from rnnkit.data import Sequence
from rnnkit.errors import Interrupted, ModelError, NonFiniteError, ScheduleError
from rnnkit.model.initialisers import draw_noise, initial_state, setup, zero_state
from rnnkit.model.layers import Chain
from rnnkit.model.losses import Loss, as_loss, row_loss
from rnnkit.model.rules import Adam, Clip, Rule, RuleState, initial_rule_state, slot_names
from rnnkit.model.state import State
from rnnkit.schedule import Block, Schedule
from rnnkit.schedule.schedule import BLOCK_ROWS
from rnnkit.train.block import block_trainer, start_of
from rnnkit.train.history import History
from rnnkit.train.learning_rates import Constant, LearningRate
from rnnkit.train.passes import WARM_ROWS, scored_outputs
from rnnkit.train.run import Run
from rnnkit.train.targets import as_trained, check_targets


@dataclass(frozen=True)
class EarlyStopping:
    """Stop when the monitored loss has not fallen by more than `minimum` for `patience` epochs; keep the best.

    The monitored loss is that of the validation part where there is one, else that of the training part.
    """

    patience: int = 10
    minimum: float = 0.0

    def __post_init__(self) -> None:
        if self.patience < 1:
            raise ModelError(f"EarlyStopping expects patience >= 1, got {self.patience!r}")

    def improved(self, losses: Values1D[float], best_epoch: int) -> bool:
        """Whether the last of the epochs' losses is better than that of the best epoch before."""
        return losses[-1] < losses[best_epoch] - self.minimum


class Progress(NamedTuple):
    """Where training stands, told after every block.

    Attributes:
        epoch, epochs: the epoch, from 0, and how many there are.
        step, steps: steps of the epoch done, of how many.
        loss: mean loss of the epoch so far.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float


class Values(NamedTuple):
    """What the fold carries from block to block: the backend's arrays."""

    params: dict[str, Any]
    state: State
    rule_state: RuleState
    store: State | None = None


@dataclass
class Tally:
    """Sums over the epoch so far."""

    step: int = 0
    rows: int = 0
    weight: float = 0.0
    loss_sum: float = 0.0

    @property
    def loss(self) -> float:
        """Mean loss over the scored rows."""
        return self.loss_sum / self.weight if self.weight else 0.0


def fit(
    model: Chain,
    schedule: Schedule,
    *,
    backend: str | Backend = "numba",
    rule: Rule = Adam(1e-3),  # noqa: B008 - frozen
    loss: str | Loss = "mse",
    epochs: int = 10,
    seed: int = 0,
    dtype: str = "float32",
    params: Mapping[str, np.ndarray] | None = None,
    rule_state: RuleState | None = None,
    clip: Clip | None = None,
    remat: int | Literal["sqrt"] | None = None,
    learning_rate: LearningRate = Constant(),  # noqa: B008 - frozen
    validation: Sequence | None = None,
    warm: int = WARM_ROWS,
    early_stopping: EarlyStopping | None = None,
    on_block: Callable[[Progress], None] | None = None,
    on_epoch: Callable[[History], None] | None = None,
    stop: Callable[[Run], bool] | None = None,
    block_rows: int = BLOCK_ROWS,
) -> Run:
    """Train a model on a schedule.

    Args:
        model: a `Chain` whose sizes fit the series.
        schedule: what each step reads and where its state comes from.
        backend: name of a backend, or what `rk.backend(...)` returned.
        rule: the optimizer.
        loss: `"mse"`, `"mae"`, `"huber"`, `"cross_entropy"`, `"binary_cross_entropy"`, or a loss with settings.
        epochs: passes over the schedule.
        seed: from which the parameters are drawn; the order of shuffled windows is the schedule's to draw.
        dtype: `"float32"` or `"float64"`, of everything.
        params: start from these NumPy parameters (copied) instead of drawing them, such as `run.params`.
        rule_state: let the optimizer go on from here, such as `run.rule_state`, instead of starting anew.
        clip: `ClipNorm(...)`, `ClipValue(...)` or None.
        remat: for windows too long for their tape: keep the state every so many rows, or every `"sqrt"` of the
            window's rows, and compute what lies between again on the way back. The gradients are the same; memory
            falls, and a third more is computed.
        learning_rate: how the rule's rate moves over training.
        validation: a `Sequence` whose loss is taken after every epoch.
        warm: rows before the validation part that its state is warmed over; 0 is cold.
        early_stopping: when to stop before the last epoch.
        on_block: called after every block with a `Progress`.
        on_epoch: called after every epoch with the `History`.
        stop: asked after every block, with the run so far, whether to stop there; the epoch that it cuts short is
            recorded as an epoch of fewer rows.
        block_rows: rows times lanes of a block at most (at least one step): how often `on_block` and `stop` come.

    Returns:
        A `Run`. Its parameters are NumPy arrays: under `early_stopping` those after the best epoch, with the state
        and the optimizer's of that moment, else the last.

    Raises:
        ModelError: a model, loss, rule or target that does not fit.
        BackendError: no such backend.
        NonFiniteError: a loss or gradient that is not finite, before the update, or parameters that an update has
            made so; its `run` has the last good parameters.
        Interrupted: Ctrl-C; its `run` has everything up to the last finished block.

    Example:
        >>> import numpy as np, rnnkit as rk
        >>> series = rk.Sequence(np.sin(np.arange(200) / 5))
        >>> schedule = rk.Schedule(series, rk.Continuation(length=16), rk.Carry())
        >>> run = rk.fit(rk.Chain(rk.LSTM(1, 8), rk.Dense(8, 1)), schedule, backend="numpy", epochs=2)
        >>> len(run.history.steps["loss"]), run.history.epochs["loss"][1] < run.history.epochs["loss"][0]
        (26, True)
    """
    engine, loss = find_backend(backend), as_loss(loss)
    _check_settings(
        model, schedule, validation, epochs, rule, clip, learning_rate, early_stopping, warm, block_rows, remat
    )
    if validation is not None:
        validation = _like_training(model, schedule.series, validation, loss)
    seen = as_trained(model, schedule.series, loss)
    schedule = schedule if seen is schedule.series else replace(schedule, series=seen)
    series, train = schedule.series, block_trainer(engine)
    values = Values(*engine.from_numpy(_start(model, schedule, seed, dtype, params, rule, rule_state)))
    history, best, best_epoch, stopped = History(), values, None, False

    def copied(store: State | None) -> State | None:
        """Recorded states as NumPy arrays of their own: those of the fold are written in place."""
        return None if store is None else map_arrays(np.array, engine.to_numpy(store))

    def so_far() -> Run:
        kept = best if early_stopping and best_epoch is not None else values._replace(store=copied(values.store))
        params, state, rule_state = engine.to_numpy(kept[:3])
        return Run(
            model=model,
            params=params,
            state=state,
            rule_state=rule_state,
            history=history,
            scaler=series.scaler,
            loss=loss,
            backend=engine,
            horizon=series.horizon,
            features=series.feature_names,
            targets=series.target_names,
            epoch=best_epoch,
            store=kept.store,
        )

    try:
        for epoch in range(epochs):
            began, tally = time.perf_counter(), Tally()
            steps = schedule.steps(epoch)
            rates = rule.learning_rate * learning_rate.factors(epoch, epochs, steps, history.monitored)
            draws = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(epoch,)))
            for block in schedule.blocks(epoch, dtype, block_rows):
                check_targets(loss, block.y, model.outputs)
                here = rates[tally.step : tally.step + len(block.x)]
                noise = draw_noise(model, draws, len(block.x), block.x.shape[2], dtype)
                result = train(
                    model,
                    values.params,
                    values.state,
                    values.rule_state,
                    block,
                    rule=rule,
                    loss=loss,
                    clip=clip,
                    learning_rates=here,
                    noise=noise,
                    store=values.store,
                    remat=remat_rows(remat, block),
                )
                if not _finite(engine.to_numpy(result.params)):
                    raise _overflow(epoch, tally.step, len(block.x))
                values = Values(result.params, result.state, result.rule_state, result.store)
                _record(history, tally, block, result, here)
                if result.done < len(block.x):
                    raise _not_finite(engine, model, loss, block, result, series, epoch, tally.step, noise)
                if on_block is not None:
                    on_block(Progress(epoch, epochs, tally.step, steps, tally.loss))
                if stop is not None and (stopped := stop(so_far())):
                    break
            if not tally.weight and not stopped:  # one that is cut short may not have come to a scored row
                raise ScheduleError(
                    f"fit expects a schedule that scores some row, {schedule!r} scores none in epoch {epoch}; "
                    f"use tail='keep', or windows as long as the segments"
                )
            history.add_epoch(loss=tally.loss, seconds=time.perf_counter() - began, rows=tally.rows)
            if validation is not None:
                value = mean_loss(engine, model, values.params, validation, loss, warm)
                history.add_epoch(validation_loss=value)
            if best_epoch is None or not early_stopping or early_stopping.improved(history.monitored, best_epoch):
                best, best_epoch = values, epoch
                if early_stopping:
                    best = values._replace(store=copied(values.store))
            if on_epoch is not None:
                on_epoch(history)
            if stopped or (early_stopping and epoch - best_epoch >= early_stopping.patience):
                break
    except KeyboardInterrupt as interrupt:
        error = Interrupted("fit was interrupted; the exception's run holds everything up to the last finished block")
        error.run = so_far()
        raise error from interrupt
    except NonFiniteError as error:
        error.run = so_far()
        raise
    return so_far()


def remat_rows(remat: int | Literal["sqrt"] | None, block: Block) -> int:
    """After how many rows of its windows a block keeps a state; 0: it keeps the whole tape."""
    rows = block.x.shape[1] - block.detached
    if remat is None or remat == "sqrt":
        return 0 if remat is None else math.isqrt(rows - 1) + 1
    return remat if remat < rows else 0


def mean_loss(
    engine: Backend,
    model: Chain,
    params: Mapping[str, Any],
    series: Sequence,
    loss: Loss,
    warm: int = WARM_ROWS,
) -> float:
    """Mean loss over the rows of a series that have a target, state carried, parameters the backend's arrays."""
    total, count = 0.0, 0
    for _, y, target in scored_outputs(engine, model, params, series, warm):
        check_targets(loss, target, model.outputs)
        total += float(row_loss(loss, y, target).sum(dtype=np.float64))
        count += len(y)
    return total / count


def _check_settings(
    model: Any,
    schedule: Any,
    validation: Any,
    epochs: Any,
    rule: Any,
    clip: Any,
    learning_rate: Any,
    early_stopping: Any,
    warm: Any,
    block_rows: Any,
    remat: Any,
) -> None:
    """Settings of the wrong kind, such as a number for a description, before anything else happens."""
    if not isinstance(schedule, Schedule):
        raise ScheduleError(
            f"fit expects a Schedule, got {type(schedule).__name__}; write "
            f"rk.Schedule(series, rk.Continuation(length=64), rk.Carry())"
        )
    whole = isinstance(epochs, int | np.integer) and not isinstance(epochs, bool)
    for fits, name, wanted, got, remedy in (
        (isinstance(model, Chain), "model", "a Chain", model, "rk.Chain(rk.LSTM(1, 10), rk.Dense(10, 1))"),
        (isinstance(validation, Sequence | None), "validation", "a Sequence", validation, "rk.Sequence(values)"),
        (whole and epochs >= 1, "epochs", "a whole number >= 1", epochs, "epochs=10"),
        (isinstance(rule, Rule), "rule", "an optimizer", rule, "rule=rk.Adam(1e-3)"),
        (isinstance(clip, Clip | None), "clip", "ClipNorm, ClipValue or None", clip, "clip=rk.ClipNorm(1.0)"),
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
    ):
        if not fits:
            raise ModelError(f"fit expects {name} to be {wanted}, got {got!r}; write {remedy}")


def _like_training(model: Chain, training: Sequence, validation: Sequence, loss: Loss) -> Sequence:
    if validation.scaler != training.scaler:
        raise ModelError(
            "fit expects the validation part to be scaled like the training part, got another scaler; "
            "write validation.with_scaler(training.scaler)"
        )
    return as_trained(model, validation, loss)


def _start(
    model: Chain,
    schedule: Schedule,
    seed: int,
    dtype: str,
    params: Mapping[str, np.ndarray] | None,
    rule: Rule,
    rule_state: RuleState | None,
) -> Values:
    """Where training starts, as new NumPy arrays of one dtype."""
    drawn, state = setup(model, seed, schedule.lanes, dtype)
    kind = np.dtype(dtype)
    if params is not None:
        check_parameters(model, params)
        drawn = {key: np.array(params[key], kind) for key in drawn}
    slots = schedule.slots()
    store = None if slots is None else zero_state(model, len(slots), kind)
    if rule_state is None:
        return Values(drawn, state, initial_rule_state(rule, drawn), store)
    names = slot_names(rule)
    if set(rule_state.slots) != set(names):
        raise ModelError(
            f"fit expects a rule_state of {rule!r} with the moments {sorted(names)}, got {sorted(rule_state.slots)}; "
            f"go on with the rule that made it, or leave rule_state out"
        )
    for moments in rule_state.slots.values():
        check_parameters(model, moments)
    moments = {name: {key: np.array(rule_state.slots[name][key], kind) for key in drawn} for name in names}
    return Values(drawn, state, RuleState(rule_state.step, moments), store)


def _finite(params: Mapping[str, np.ndarray]) -> bool:
    return all(np.isfinite(p).all() for p in params.values())


def _overflow(epoch: int, step: int, count: int) -> NonFiniteError:
    return NonFiniteError(
        f"fit: an update of epoch {epoch}, steps {step} to {step + count - 1} (from 0) made parameters that are not "
        f"finite. The parameters before these steps are kept; lower the learning rate"
    )


def _record(history: History, tally: Tally, block: Block, result: BlockResult, rates: np.ndarray) -> None:
    done = result.done
    weight = block.weight[:done].sum((1, 2), dtype=np.float64)
    loss = result.loss[:done]
    history.add_steps(loss=loss, weight=weight, norm=result.norm[:done], learning_rate=rates[:done])
    tally.step += done
    tally.rows += int(block.valid[:done].sum())
    tally.weight += float(weight.sum())
    tally.loss_sum += float((loss * weight).sum())


def _not_finite(
    engine: Backend,
    model: Chain,
    loss: Loss,
    block: Block,
    result: BlockResult,
    series: Sequence,
    epoch: int,
    step: int,
    noise: State | None,
) -> NonFiniteError:
    """The error that names the step, the lane and the rows: the window is run once more to find them."""
    batch = block.batch(result.done)
    what = "loss" if not np.isfinite(result.loss[result.done]) else "gradient"
    drawn = None if noise is None else map_arrays(lambda a: a[result.done], noise)
    cold = initial_state(model, engine.to_numpy(result.params), batch.x.shape[1], drawn)
    state = start_of(batch, cold, engine.to_numpy(result.state), engine.to_numpy(result.store))
    with np.errstate(all="ignore"):
        x, state, drawn = engine.from_numpy((batch.x, state, drawn))
        given = {} if drawn is None else {"initial": drawn}
        y, _, _ = engine.forward(model, result.params, x, state, batch.reset, batch.valid, **given)
        losses = np.where(batch.weight > 0, row_loss(loss, engine.to_numpy(y), batch.y), 0)
    bad = ~np.isfinite(losses)
    lane = int(np.argmax(bad.any(0))) if bad.any() else int(np.argmax(np.abs(losses).max(0)))
    rows = batch.rows[bad[:, lane] if bad.any() else batch.valid[:, lane], lane]
    return NonFiniteError(
        f"fit: the {what} of epoch {epoch}, step {step} (from 0) is not finite; lane {lane}, rows {rows.min()} to "
        f"{rows.max()} of {series.name!r}. The step was not made and the last good parameters are kept; "
        f"lower the learning rate, clip the gradient (ClipNorm), or look at these rows"
    )
