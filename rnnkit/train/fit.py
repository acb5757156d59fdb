"""Training: parameters, state and optimizer go through a schedule or a curriculum, epoch after epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from rnnkit.backend import Backend
from rnnkit.backend import backend as find_backend
from rnnkit.data import Sequence
from rnnkit.errors import Interrupted, ModelError, RnnkitError, warn
from rnnkit.model.layers import Chain
from rnnkit.model.losses import Loss, as_loss
from rnnkit.model.rules import Adam, Clip, Rule, RuleState
from rnnkit.schedule import Curriculum, Schedule
from rnnkit.schedule.batch import BLOCK_ROWS
from rnnkit.train.course import Course, check_frozen, course
from rnnkit.train.fold import Fold, Remat
from rnnkit.train.history import History
from rnnkit.train.learning_rates import Constant, LearningRate, Plateau
from rnnkit.train.outcome import blown_up
from rnnkit.train.passes import WARM_ROWS
from rnnkit.train.progress import Progress, TurnEnd
from rnnkit.train.run import Run
from rnnkit.train.settings import Settings, check_schedule
from rnnkit.train.stages import Every, Stages
from rnnkit.train.stopping import EarlyStopping
from rnnkit.train.targets import check_range as check_reach
from rnnkit.train.targets import tell_constant
from rnnkit.train.training import Told, Training

EPOCHS = 10
"""Epochs of a fit that is not told otherwise."""


def fit(
    model: Chain,
    schedule: Schedule | Curriculum,
    *,
    backend: str | Backend = "numba",
    rule: Rule = Adam(1e-3),  # noqa: B008 - frozen
    loss: str | Loss = "mse",
    epochs: int | None = None,
    seed: int = 0,
    dtype: str = "float32",
    params: Mapping[str, np.ndarray] | None = None,
    rule_state: RuleState | None = None,
    clip: Clip | None = None,
    remat: Remat = None,
    frozen: str | tuple[str, ...] = (),
    learning_rate: LearningRate = Constant(),  # noqa: B008 - frozen
    validation: Sequence | None = None,
    warm: int = WARM_ROWS,
    early_stopping: EarlyStopping | None = None,
    on_block: Callable[[Progress], None] | None = None,
    on_turn: Callable[[TurnEnd], None] | None = None,
    on_epoch: Callable[[History], None] | None = None,
    stop: Callable[[Run], bool] | None = None,
    block_rows: int = BLOCK_ROWS,
    transfer: Every | None = None,
    check_range: bool = True,
) -> Run:
    """Train a model on a schedule, or on the data sets of a curriculum.

    Args:
        model: a `Chain` whose sizes fit the series.
        schedule: what each step reads and where its state comes from: a `Schedule`, or a `Curriculum`.
        backend: name of a backend, or what `rk.backend(...)` returned, such as `rk.backend("numba", threads=1)`.
        rule: the optimizer.
        loss: `"mse"`, `"mae"`, `"huber"`, `"cross_entropy"`, `"binary_cross_entropy"`, or a loss with settings.
        epochs: passes over the schedule; left out, those of the curriculum's phases, or 10.
        seed: from which the parameters are drawn; the order of shuffled windows is the schedule's to draw.
        dtype: `"float32"` or `"float64"`, of everything.
        params: start from these NumPy parameters (copied) instead of drawing them, such as `run.params`.
        rule_state: let the optimizer go on from here, such as `run.rule_state`, instead of starting anew.
        clip: `ClipNorm(...)`, `ClipValue(...)` or None.
        remat: for windows too long for their tape: keep the state every so many rows, or every `"sqrt"` of the
            window's rows, and compute what lies between again on the way back. The gradients are the same; memory
            falls, and a third more is computed.
        frozen: parameters that are left as they are, by pattern: `"0.*"` for those of the first layer, `"*.bias_*"`.
        learning_rate: how the rule's rate moves over training.
        validation: a `Sequence` whose loss is taken after every epoch; the data sets of a curriculum have their own.
        warm: rows before the validation part that its state is warmed over; 0 is cold.
        early_stopping: when to stop before the last epoch.
        on_block: called after every block with a `Progress`.
        on_turn: called after every turn of a curriculum with a `TurnEnd`: what each data set was trained to.
        on_epoch: called after every epoch with the `History`.
        transfer: measure the error on every data set of a curriculum after each `"turn"`, `"phase"` or `"epoch"`, on
            its test part, else its validation part, else what it is trained on: `Run.transfer`.
        check_range: whether the range of the model's last activation is held against the targets: more than 1 % of
            them outside are refused, fewer are a warning.
        stop: asked after every block, with the run so far, whether to stop there; the epoch that it cuts short is
            recorded as an epoch of fewer rows.
        block_rows: rows times lanes of a block at most (at least one step): how often `on_block` and `stop` come,
            and how long Ctrl-C may take.

    Returns:
        A `Run`. Its parameters are NumPy arrays: under `early_stopping` those after the best epoch, with the state
        and the optimizer's of that moment, else the last.

    Raises:
        ModelError: a model, loss, rule, head or target that does not fit, or targets that the last activation cannot
            reach.
        SourceError: a data set that cannot be opened, or has changed; its `run` has what was trained before.
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
    check_schedule(schedule)
    settings = Settings(
        rule=rule,
        clip=clip,
        remat=remat,
        dtype=dtype,
        epochs=_epochs(schedule, epochs),
        seed=seed,
        frozen=frozen,
        learning_rate=learning_rate,
        validation=validation,
        warm=warm,
        early_stopping=early_stopping,
        block_rows=block_rows,
        transfer=transfer,
        check_range=check_range,
    )
    settings.check(model, schedule)
    what = course(model, schedule, validation, loss)
    check_frozen(model, schedule, frozen)
    _check_phases(what, early_stopping, learning_rate)
    fold = Fold(engine, model, rule, loss, clip, remat, dtype)
    skipped = dict(schedule.skipped)
    for facts in what.schedule.facts.values():
        tell_constant(facts)
    if check_range:
        scaling = "DataSet(..., scaler={})" if isinstance(schedule, Curriculum) else "with_scaler({})"
        for _, chain, part in what.bounded(skipped):
            check_reach(chain, part, loss, scaling)
    training = Training(
        course=what,
        fold=fold,
        settings=settings,
        told=Told(on_block, on_turn, on_epoch, stop),
        carried=fold.start(seed, what.lanes, params, rule_state),
        stages=None if transfer is None else Stages(what, fold, transfer, warm, skipped),
        skipped=skipped,
    )
    try:
        training.go()
    except KeyboardInterrupt as interrupt:
        error = Interrupted("fit was interrupted; the exception's run holds everything up to the last finished block")
        error.run = training.run()
        raise error from interrupt
    except RnnkitError as error:
        error.run = training.run()
        raise
    run = training.run()
    if told := blown_up(run):
        warn(f"fit: {told}")
    return run


def _epochs(schedule: Schedule | Curriculum, epochs: int | None) -> int:
    """How many epochs: as told, else those of the phases, else the default.

    Raises:
        ModelError: other epochs than the phases have together.
    """
    phases = schedule.epochs
    if phases is not None and epochs not in (None, phases):
        raise ModelError(
            f"fit expects epochs={phases}, what the curriculum's phases have together, got epochs={epochs!r}; "
            f"leave epochs out, or change the phases'"
        )
    return epochs if epochs is not None else phases or EPOCHS


def _check_phases(what: Course, early_stopping: EarlyStopping | None, learning_rate: LearningRate) -> None:
    """Losses of phases that train on other data sets do not compare; those on validation parts do.

    Raises:
        ModelError: something that compares them.
    """
    several = len(what.schedule.phases) > 1
    for comparing in (early_stopping, learning_rate):
        if several and not what.is_validated and isinstance(comparing, EarlyStopping | Plateau):
            raise ModelError(
                f"fit expects validation parts beside phases for {comparing!r}, which compares the losses of epochs "
                f"over different data sets; write DataSet(..., split=(0.7, 0.15))"
            )
