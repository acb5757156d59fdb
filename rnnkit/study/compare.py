"""The comparison: a grid of splitters x policies x backends x seeds, each trial trained alike."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rnnkit.checks import is_whole
from rnnkit.errors import ConfigError, Interrupted, RnnkitError
from rnnkit.model.layers import Chain
from rnnkit.model.losses import Loss, as_loss
from rnnkit.model.rules import Adam, Clip, Rule
from rnnkit.schedule import Carry, Reset, Splitter, StatePolicy
from rnnkit.study.equal import Equal
from rnnkit.study.measure import train_trial
from rnnkit.study.plan import Row, StudyPlan, make_plan
from rnnkit.study.results import FINISHED, PLACE, chosen, open_folder, summarise, write_table, write_trial
from rnnkit.study.trials import Parts, Study, Trial
from rnnkit.train.baselines import Baseline
from rnnkit.train.learning_rates import Constant, LearningRate
from rnnkit.train.passes import WARM_ROWS


@dataclass(frozen=True, repr=False)
class Comparison:
    """What a study found.

    Attributes:
        study: what its trials have in common.
        rows: a dict a trial, its keys as `results.COLUMNS` says; a trial that was trained has its `"curve"` too.
        folder: where everything is, or None.
    """

    study: Study
    rows: list[Row]
    folder: Path | None

    @property
    def summary(self) -> list[Row]:
        """A dict for each splitter, policy and backend: seeds done, and mean and spread of each measure."""
        return summarise(self.rows)

    @property
    def chosen(self) -> Row | None:
        """The entry of `summary` with the lowest error on the validation part, mean over seeds; None without one.

        The test part had no say in it, so its `test_mae_mean` is what to expect on new data. Where a seed diverged or
        failed, an entry is chosen only if all others lost one, too.
        """
        return chosen(self.summary)

    def __repr__(self) -> str:
        from rnnkit.study.report import as_text

        return as_text(self)


def compare(
    model: Chain,
    parts: Parts,
    *,
    splitters: Iterable[Splitter],
    policies: Iterable[StatePolicy] = (Carry(), Reset()),
    backends: Iterable[str] = ("numba",),
    seeds: int | Iterable[int] = 1,
    equal: Equal = Equal(epochs=10),  # noqa: B008 - frozen
    rule: Rule = Adam(1e-3),  # noqa: B008 - frozen
    loss: str | Loss = "mse",
    dtype: str = "float32",
    clip: Clip | None = None,
    learning_rate: LearningRate = Constant(),  # noqa: B008 - frozen
    warm: int = WARM_ROWS,
    period: int | None = None,
    baseline: Baseline = None,
    bias: bool = False,
    remat: int | Literal["sqrt"] | None = None,
    out: str | Path | None = None,
    jobs: int | None = -1,
    fresh: bool = False,
    on_trial: Callable[[Row], None] | None = None,
    check_range: bool = True,
) -> Comparison:
    """Train every splitter with every policy, backend and seed for the same budget, and compare their errors.

    The best is chosen by its error on the validation part, mean over seeds; its error on the test part is reported.

    A pair that the schedule refuses is reported and not trained; a trial that fails is reported, and the others go on.

    Args:
        model: a `Chain`.
        parts: training, validation and test part, as `series.split` gives them; the training part with its scaler.
        splitters, policies: what is compared.
        backends: names of backends.
        seeds: so many, from 0 on, or the seeds themselves: of the first parameters and of shuffled windows.
        equal: what every trial gets the same of.
        rule, loss, dtype, clip, learning_rate: as for `fit`; `Cosine` and `OneCycle` move over the rows of a budget.
        warm, period, baseline: as for `evaluate`.
        bias: measure how each trial's gradient differs from the whole one.
        remat: as for `fit`.
        out: a folder for the results, a report with pictures, and the trials: trials that are finished there are not
            trained again, unless something that determines them has changed. None keeps nothing.
        jobs: trials trained at a time, each on one thread of a process of its own, by joblib: -1 is one for each
            processor, None what `joblib.parallel_config` says, 1 trains here.
        fresh: train again what is finished.
        on_trial: called with the row of each trial that has been trained.
        check_range: as for `fit`.

    Returns:
        A `Comparison`.

    Raises:
        ConfigError: settings that no trial could be trained with, a test part without a validation part to choose by,
            or joblib that is not installed.
        ScheduleError: every pair is refused.
        SourceError: a folder that cannot be written, or that holds other things.
        Interrupted: Ctrl-C; finished trials are kept in `out`.

    Example:
        >>> import numpy as np, rnnkit as rk
        >>> series = rk.Sequence(np.sin(np.arange(400) / 5))
        >>> splitters, equal = [rk.Continuation(length=16), rk.Chunked(length=16, lanes=4)], rk.Equal(rows=500)
        >>> model = rk.Chain(rk.LSTM(1, 4), rk.Dense(4, 1))
        >>> found = rk.compare(model, series.split(), splitters=splitters, backends=["numpy"], equal=equal, jobs=1)
        >>> [row["status"] for row in found.rows]
        ['done', 'done', 'refused', 'done']
        >>> found.chosen["validation_mae_mean"] == min(row["validation_mae"] for row in found.rows if "curve" in row)
        True
    """
    judging = warm, period, bias, remat, baseline
    study = Study(model, parts, equal, rule, as_loss(loss), dtype, clip, learning_rate, *judging)
    plan = make_plan(study, splitters, policies, backends, seeds, out, fresh, check_range)
    return carry_out(plan, jobs, on_trial)


def carry_out(plan: StudyPlan, jobs: int | None = -1, on_trial: Callable[[Row], None] | None = None) -> Comparison:
    """Train the trials that remain, and write results and report.

    Raises:
        ConfigError: `jobs` that are none, or joblib that is not installed.
        SourceError: a folder that cannot be written.
        Interrupted: Ctrl-C; finished trials are kept.
    """
    if jobs is not None and (not is_whole(jobs) or jobs < -1 or jobs == 0):
        raise ConfigError(f"compare expects jobs to be a number of processes, or -1 for one a processor, got {jobs!r}")
    if plan.folder is not None:
        open_folder(plan.folder)
    found = {planned.digest: planned.row for planned in plan.trials if planned.row is not None}
    try:
        with warnings.catch_warnings(), closing(_trained(plan, jobs)) as trained:
            warnings.filterwarnings("ignore", r"\d+ tasks which were still being processed", UserWarning)
            for digest, row in trained:
                found[digest] = row | {"digest": digest}
                if plan.folder is not None:
                    write_trial(plan.folder, found[digest])
                if on_trial is not None:
                    on_trial(found[digest])
    except KeyboardInterrupt as interrupt:
        refused = sum(planned.status == "refused" for planned in plan.trials)
        finished = sum(row["status"] in FINISHED for row in found.values())
        kept = f" and kept in {str(plan.folder)!r}; run it again to go on" if plan.folder else ""
        raise Interrupted(
            f"compare was interrupted: {finished} of {len(plan.trials) - refused} trials are finished{kept}"
        ) from interrupt
    rows = [found[planned.digest] for planned in plan.trials]
    best = chosen(summarise(rows))
    rows = [{**row, "chosen": int(best is not None and all(row[name] == best[name] for name in PLACE))} for row in rows]
    comparison = Comparison(plan.study, rows, plan.folder)
    if plan.folder is not None:
        from rnnkit.study.report import write_report

        write_report(comparison, write_table(plan.folder, comparison.rows))
    return comparison


def _trained(plan: StudyPlan, jobs: int | None) -> Generator[tuple[str, Row]]:
    """The rows of the trials that remain, as they are finished."""
    if not plan.remaining:
        return
    if jobs == 1:
        for planned in plan.remaining:
            yield planned.digest, train_trial(plan.study, planned.trial)
        return
    try:
        import joblib
    except ModuleNotFoundError:
        raise ConfigError(
            "compare needs joblib to train trials side by side, which is not installed; pip install 'rnnkit[study]', "
            "or train one after the other with jobs=1 (--jobs 1)"
        ) from None
    from concurrent.futures.process import BrokenProcessPool

    tasks = (joblib.delayed(_train)(planned.digest, plan.study, planned.trial) for planned in plan.remaining)
    alone: Any = 1  # each trial is sent by itself: they are long, and of different lengths
    try:
        parallel = joblib.Parallel(n_jobs=jobs, batch_size=alone, return_as="generator_unordered")
    except ValueError:  # a backend of joblib whose results come all at once
        parallel = joblib.Parallel(n_jobs=jobs, batch_size=alone)
    results: Any = parallel(tasks)
    try:
        yield from results
    except BrokenProcessPool as error:
        raise RnnkitError(
            "compare lost a process that trained a trial, killed from outside or for its memory; finished trials are "
            "kept: run it again to go on, with fewer jobs"
        ) from error
    except pickle.PicklingError as error:
        raise ConfigError(
            f"compare cannot send its data to another process: {error}; give the parts as arrays or files, or train "
            f"here with jobs=1 (--jobs 1)"
        ) from error


def _train(digest: str, study: Study, trial: Trial) -> tuple[str, Row]:
    """Train a trial in another process."""
    try:
        return digest, train_trial(study, trial)
    except Interrupted:  # holds a whole run, which need not travel
        raise KeyboardInterrupt from None
