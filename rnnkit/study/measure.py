"""Train one trial and measure it; whatever goes wrong becomes a row too."""

from __future__ import annotations

import math
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from rnnkit.backend import Backend
from rnnkit.backend import backend as find_backend
from rnnkit.errors import NonFiniteError, RnnkitError, RnnkitWarning
from rnnkit.schedule import Coverage, Schedule
from rnnkit.schedule.batch import BLOCK_ROWS
from rnnkit.schedule.coverage import Reach
from rnnkit.study.bias import bias_of
from rnnkit.study.equal import OverSteps
from rnnkit.study.memory import begin_peak, peak_memory
from rnnkit.study.trials import Study, Trial
from rnnkit.train import Evaluation, Run, evaluate, fit
from rnnkit.train.learning_rates import Constant

POINTS = 20
"""Looks at the validation part over a training, the one at its end included."""

CUTS = 50
"""Blocks that a budget of rows or seconds is divided into, about: each costs a millisecond whatever its rows."""

PROBES = (1024, 16_384)
"""Rows times lanes that are trained through to learn how fast a trial is; the second where the first took no time."""

ENDLESS = 1_000_000_000
"""Epochs of a training that a budget ends."""


def train_trial(study: Study, trial: Trial) -> dict[str, Any]:
    """Train one trial and measure it, on one thread.

    Returns:
        Its row (see `results.COLUMNS`), and its learning curve under `"curve"`. The status is `"done"`, `"diverged"`
        (a loss or gradient that is not finite), or `"failed"`, with a message; what failed for no reason of ours has
        a `"traceback"` too.
    """
    row: dict[str, Any] = {**trial.named(), "status": "done", "message": None}
    watch = Watch(study)
    try:
        schedule = trial.schedule(study.parts[0])
        row |= covered(schedule.coverage())
        with one_thread(trial.backend) as engine, warnings.catch_warnings():
            warnings.simplefilter("ignore", RnnkitWarning)  # the plan has told, for all trials at once
            run = _train(study, trial, schedule, engine, watch)
            row |= watch.row(run)
            row |= errors_of(study, run)
            if study.bias:
                row |= cell_bias(study, schedule, engine, run)
            if row.get("validation_loss", 0) is None or row.get("test_loss", 0) is None:
                row |= {"status": "diverged", "message": "the error after training is not finite"}
    except NonFiniteError as error:
        row |= {**watch.row(error.run), "status": "diverged", "message": str(error)}
    except RnnkitError as error:
        row |= {"status": "failed", "message": str(error)}
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
        row |= {"status": "failed", "message": message, "traceback": traceback.format_exc()}
    return row | {"curve": watch.curve}


def cell_bias(study: Study, schedule: Schedule, engine: Backend, run: Run) -> dict[str, float | None]:
    """How the gradient that a trial trains on differs from the whole one, at its trained parameters."""
    found = bias_of(study.model, run.params, schedule, backend=engine, loss=study.loss)
    return {"bias_cosine": finite(found.cosine), "bias_norm_ratio": finite(found.norm_ratio)}


@contextmanager
def one_thread(name: str) -> Iterator[Backend]:
    """A backend on one thread, so that trials that run side by side leave each other their processors."""
    if name == "numba":
        yield find_backend(name, threads=1)
        return
    engine = find_backend(name)
    if name != "torch":
        yield engine
        return
    import torch  # loaded by its backend

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield engine
    finally:
        torch.set_num_threads(before)


@dataclass
class Watch:
    """Looks on while a trial trains, its clock standing still meanwhile, and says when the budget is spent.

    Attributes:
        study: what is trained, and for how long.
        total: steps of all epochs, where the budget is in epochs.
        seconds, cpu: of training so far, by the clock on the wall and of this thread's processor.
        scored: rows scored so far.
        curve: what was seen: rows, seconds, the training loss since the look before, and the validation part's errors.
    """

    study: Study
    total: int = 0
    steps_an_epoch: int = 1
    seconds: float = 0.0
    cpu: float = 0.0
    scored: float = 0.0
    seen: int = 0
    told: int = 0
    curve: list[dict[str, float | None]] = field(default_factory=list)
    began: tuple[float, float] = (0.0, 0.0)

    def start(self) -> None:
        """Let the clock go on."""
        self.began = time.perf_counter(), time.thread_time()

    def pause(self) -> None:
        """Let the clock stand still."""
        self.seconds += time.perf_counter() - self.began[0]
        self.cpu += time.thread_time() - self.began[1]

    def __call__(self, run: Run) -> bool:
        """Whether the budget is spent."""
        self.pause()
        share = self.share(run)
        if share * POINTS >= len(self.curve) + 1 and share < 1:
            self.look(run)
        self.start()
        return share >= 1

    def share(self, run: Run) -> float:
        """How much of the budget is spent."""
        weights = run.history.steps["weight"]
        self.scored += sum(weights[self.seen :])
        self.seen = len(weights)
        equal = self.study.equal
        if equal.rows is not None:
            return self.scored / equal.rows
        if equal.seconds is not None:
            return self.seconds / equal.seconds
        return self.seen / self.total if self.total else 0.0

    def look(self, run: Run) -> None:
        """Add a point to the curve."""
        losses, weights = (np.array(run.history.steps[name][self.told :]) for name in ("loss", "weight"))
        point: dict[str, float | None] = {"rows": self.scored, "seconds": self.seconds}
        point["loss"] = float((losses * weights).sum() / weights.sum()) if weights.sum() else None
        validation = self.study.parts[1]
        if validation is not None:
            with np.errstate(all="ignore"):  # what is not finite is told at the end
                found = evaluate(run, validation, warm=self.study.warm)
            point |= {"validation_loss": finite(found.loss), "validation_mae": finite(found.model.mae)}
        self.told = self.seen
        self.curve.append(point)

    def row(self, run: Run | None) -> dict[str, Any]:
        """What was trained, and what it took."""
        if run is None:
            return {}
        steps = len(run.history.steps["loss"])
        read = int(sum(run.history.epochs["rows"]))
        return {
            "rows_scored": round(self.scored),
            "rows_read": read,
            "steps": steps,
            "epochs": steps / self.steps_an_epoch,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu,
            "rows_per_second": self.scored / self.seconds if self.seconds else None,
            "peak_memory": peak_memory(),
            "training_loss": self.curve[-1]["loss"] if self.curve else None,
        }


def _train(study: Study, trial: Trial, schedule: Schedule, engine: Backend, watch: Watch) -> Run:
    """Warm up, then train by the clock."""
    watch.steps_an_epoch = len(schedule)
    epochs, rate, grid = ENDLESS, study.learning_rate, schedule.grid()
    if study.equal.epochs is not None:
        epochs = study.equal.epochs
        watch.total = epochs * len(schedule)
        block_rows = epochs * grid.steps * grid.length * grid.lanes / POINTS
    elif study.equal.rows is not None:
        steps = _steps(study.equal.rows, schedule)
        rate = rate if isinstance(rate, Constant) else OverSteps(rate, steps)
        block_rows = _steps_a_block(steps, grid.steps) * grid.length * grid.lanes
    else:
        block_rows = 1.0
    settings: dict[str, Any] = {
        "backend": engine,
        "rule": study.rule,
        "loss": study.loss,
        "seed": trial.seed,
        "dtype": study.dtype,
        "clip": study.clip,
        "warm": study.warm,
        "remat": study.remat,
        "check_range": False,  # the study has been checked
    }
    probe = {**settings, "epochs": 1, "stop": lambda run: True}
    fit(study.model, schedule, **probe, block_rows=1)  # compiles and loads what the backend needs
    if study.equal.seconds is not None:
        block_rows = _speed(study, schedule, probe) * study.equal.seconds / CUTS
    settings["block_rows"] = int(min(max(block_rows, 1), BLOCK_ROWS))
    begin_peak()
    watch.start()
    run = fit(study.model, schedule, **settings, epochs=epochs, learning_rate=rate, stop=watch)
    watch.pause()
    watch.share(run)
    watch.look(run)
    return run


def _speed(study: Study, schedule: Schedule, probe: dict[str, Any]) -> float:
    """Rows a second, about: what is spent before the first block and after the last counts, too."""
    speed = 0.0
    for rows in PROBES:
        began = time.perf_counter()
        run = fit(study.model, schedule, **probe, block_rows=rows)
        took = time.perf_counter() - began
        speed = sum(run.history.epochs["rows"]) / took
        if took > (study.equal.seconds or 0) / CUTS:
            break
    return speed


def _steps(rows: int, schedule: Schedule) -> int:
    """Steps until a budget of scored rows is spent; about, where lengths are drawn."""
    scored = sum(float(block.weight.sum(dtype=np.float64)) for block in schedule.blocks())
    return max(1, math.ceil(rows * len(schedule) / max(scored, 1)))


def _steps_a_block(steps: int, steps_an_epoch: int) -> int:
    """So many that the budget ends at the end of a block, or a little before; every epoch begins a new one."""
    last, most = (steps - 1) % steps_an_epoch + 1, max(1, steps // CUTS)
    return min(range(most, most // 2, -1), key=lambda block: -last % block)


def covered(coverage: Coverage) -> dict[str, Any]:
    """The account of an epoch, a column each; its steps are `steps_an_epoch`."""
    found: dict[str, Any] = {}
    for name in (column.name for column in fields(coverage)):
        value, label = getattr(coverage, name), "steps_an_epoch" if name == "steps" else name
        if isinstance(value, Reach):
            found |= {f"{label}_{part}": number for part, number in value._asdict().items()}
        else:
            found[label] = value
    return found


def errors_of(study: Study, run: Run) -> dict[str, float | str | None]:
    """Errors on the validation and test part, where there are such parts."""
    found: dict[str, float | str | None] = {}
    for name, part in zip(("validation", "test"), study.parts[1:], strict=True):
        if part is not None:
            with np.errstate(all="ignore"):
                errors = evaluate(run, part, period=study.period, baseline=study.baseline, warm=study.warm)
                found |= _errors(name, errors)
    return found


def _errors(name: str, found: Evaluation) -> dict[str, float | str | None]:
    ratio = found.ratio
    return {
        f"{name}_mae": finite(found.model.mae),
        f"{name}_rmse": finite(found.model.rmse),
        f"{name}_loss": finite(found.loss),
        f"{name}_ratio": None if ratio is None else finite(ratio),
        "baseline": found.baseline,
    }


def finite(value: float) -> float | None:
    """The number, or None for what is none."""
    return float(value) if np.isfinite(value) else None
