import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Windows, chunks, lanes: which row comes after which")

with app.setup:
    import time

    import marimo as mo
    import numpy as np
    from exercise import Exercise, differs, show, summary

    import rnnkit as rk
    from rnnkit.view.plots import INITIAL, MODEL, NAIVE, legend, new_figure, tidy


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    # 4. Windows, chunks, lanes: which row comes after which

    *"I have one series of 47,249 observations. How do I cut it, and what happens to the state between the pieces?"*

    This lesson answers that. It has hardly any mathematics; it is about **which row comes after which**. Many a
    stateful net that does not work is right in its equations and wrong here, and nothing says so.

    You need lesson 1, and the difference between state and gradient from lesson 3. About 15 minutes, with four
    exercises.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## A series whose values are its row numbers

    To see who follows whom, take a series of 24 rows in which row 7 holds the number 7. A **step** of training reads
    a window of some rows in each of some **lanes**, side by side. The state of a lane lives on from step to step;
    lanes never look at each other.
    """)
    return


@app.cell
def _():
    numbers = rk.Sequence(np.arange(24.0), np.arange(24.0), horizon=0, name="24 rows")
    return (numbers,)


@app.function(hide_code=True)
def as_table(schedule, steps=4):
    """Which rows each lane reads, step by step; a dot is padding."""
    lines = []
    for step, batch in zip(range(steps), schedule.batches(), strict=False):
        for lane in range(batch.rows.shape[1]):
            rows = " ".join(f"{row:>2}" if row >= 0 else " ·" for row in batch.rows[:, lane])
            lines.append(f"{f'step {step}' if not lane else '':<8} lane {lane}:  {rows}")
    return mo.plain_text("\n".join(lines))


@app.cell
def _(numbers):
    mo.vstack(
        [
            mo.md("**Sliding windows**: `Sliding(length=4, stride=1, lanes=3)`"),
            as_table(rk.Schedule(numbers, rk.Sliding(length=4, stride=1, lanes=3), rk.Reset()), 3),
            mo.md("**Chunks**: `Chunked(length=4, lanes=3)`"),
            as_table(rk.Schedule(numbers, rk.Chunked(length=4, lanes=3), rk.Reset()), 2),
            mo.md("**Continuation**: `Continuation(length=4, lanes=3)`"),
            as_table(rk.Schedule(numbers, rk.Continuation(length=4, lanes=3), rk.Reset()), 2),
        ]
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    Put your finger on lane 0 and go from step 0 to step 1.

    - **Sliding**: 0 1 2 3, then 3 4 5 6. Rows overlap: with stride 1 every row is read four times, with windows of 64
      rows 64 times. For a net that starts each window from nothing this is fine, if slow.
    - **Chunks**: 0 1 2 3, then 12 13 14 15. Each row is read once. But where are rows 4 to 11? In lanes 1 and 2 of
      the **same** step. A chunk's successor is its neighbour, not its follower.
    - **Continuation**: 0 1 2 3, then 4 5 6 7. Each lane has a strip of the series for itself and walks along it.

    Only in the last one does the state of a lane meet, in the next step, the rows that come after those it has read.
    """)
    return


@app.function
def my_chunk_row(step, lane, length, lanes):
    """Exercise 1: the first row that Chunked(length, lanes) reads in a lane of a step."""
    return None


@app.function(hide_code=True)
def chunk_row_solution(step, lane, length, lanes):
    """Chunks are dealt out like cards: lanes of them in each step."""
    return (step * lanes + lane) * length


@app.function
def my_strip_row(step, lane, length, lanes, rows):
    """Exercise 2: the same for Continuation(length, lanes) over a series of so many rows, a multiple of the lanes."""
    return None


@app.function(hide_code=True)
def strip_row_solution(step, lane, length, lanes, rows):
    """The lane's strip begins at its share of the rows, and each step goes on by a window."""
    return lane * (rows // lanes) + step * length


@app.function(hide_code=True)
def first_rows_check(splitter, first_row):
    """Compare with the schedule's own first rows, for some lengths and lanes."""
    for length, lanes, rows in ((4, 3, 24), (5, 2, 60), (3, 4, 48), (5, 3, 24)):  # the last ones are no whole windows
        series = rk.Sequence(np.zeros(rows), np.zeros(rows), horizon=0)
        schedule = rk.Schedule(series, splitter(length=length, lanes=lanes), rk.Reset())
        for step, batch in enumerate(schedule.batches()):
            for lane, row in enumerate(batch.row):
                got = first_row(step, lane, length, lanes, rows)
                if row >= 0 and got != row:
                    return f"length {length}, {lanes} lanes, step {step}, lane {lane}: row {row}, and not {got}."
    return ""


@app.function(hide_code=True)
def chunk_row_check(chunk_row):
    return first_rows_check(rk.Chunked, lambda step, lane, length, lanes, _: chunk_row(step, lane, length, lanes))


@app.function(hide_code=True)
def strip_row_check(strip_row):
    return first_rows_check(rk.Continuation, strip_row)


@app.cell(hide_code=True)
def _():
    chunk_row = Exercise(my_chunk_row, chunk_row_solution, chunk_row_check)
    strip_row = Exercise(my_strip_row, strip_row_solution, strip_row_check)
    mo.vstack([show(chunk_row), show(strip_row)])
    return chunk_row, strip_row


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## Continuity, as a test

    State may be carried from step to step if, in every lane, the first row of a window is the row after the last one
    of the window before. That can be checked without knowing anything about the splitter, by looking at the rows
    alone.
    """)
    return


@app.function
def my_proof(rows):
    """Exercise 3: rows (K, T, B), K steps of windows of T rows in B lanes: does each lane go on where it stopped?"""
    return None


@app.function(hide_code=True)
def proof_solution(rows):
    """The first row of each window but the first, and the last row of the one before, in every lane."""
    return bool((rows[1:, 0] == rows[:-1, -1] + 1).all())


@app.function(hide_code=True)
def proof_check(proof):
    series = rk.Sequence(np.zeros(48), np.zeros(48), horizon=0)
    for splitter in (
        rk.Continuation(length=4, lanes=3),
        rk.Chunked(length=4, lanes=3),
        rk.Chunked(length=4),
        rk.Chunked(length=4, shuffle=True),
        rk.Sliding(length=4, stride=4, lanes=2),
    ):
        try:
            rk.Schedule(series, splitter, rk.Carry())
            wanted = True
        except rk.ContinuityError:
            wanted = False
        rows = np.stack([batch.rows for batch in rk.Schedule(series, splitter, rk.Reset()).batches()])
        if bool(proof(rows)) != wanted:
            return f"for {splitter!r} the answer is {wanted}."
    strips = np.arange(36).reshape(3, 3, 4).transpose(1, 2, 0)  # three steps of four rows, three lanes
    for step, lane, row, where in ((1, 1, 0, "in lane 1"), (2, 0, 0, "in the last step"), (1, 2, 2, "inside a window")):
        broken = strips.copy()
        broken[step, row:, lane] += 100
        if proof(broken):
            return f"of rows that jump {where} the answer is False."
    return ""


@app.cell(hide_code=True)
def _():
    proof = Exercise(my_proof, proof_solution, proof_check)
    show(proof)
    return (proof,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    rnnkit makes this check whenever a schedule is made that carries. (Its own version knows about overlaps, padding
    and segments, too.) What fails is refused, with the first window that is wrong, and what would do instead:
    """)
    return


@app.cell
def _(numbers):
    refusals = {}
    for _splitter in (rk.Chunked(length=4, lanes=3), rk.Chunked(length=4, shuffle=True)):
        try:
            rk.Schedule(numbers, _splitter, rk.Carry())
        except rk.ContinuityError as _error:
            refusals[repr(_splitter)] = str(_error)
    mo.md("\n\n".join(f"> {text}" for text in refusals.values()))
    return (refusals,)


@app.cell
def _(numbers):
    rk.Schedule(numbers, rk.Continuation(length=4, lanes=3), rk.Carry()).plot()
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    This one is accepted. Lanes start from the initial state (orange), and from then on every window goes on from the
    one before (blue). Lanes 1 and 2 start in the middle of the series without knowing what was before: that is the
    price of lanes, paid once an epoch for each of them.

    ## What a shuffled stateful net really sees

    Elsewhere nothing stops you. A loop that shuffles its windows **and** hands on the state trains without complaint.
    What does the net see? To know, take a problem where the state is everything: a **tank**. Each hour some water
    flows in or out, and the tank leaks 2 % of its level. The net reads the inflow, and is to say the level.

    $$ \text{level}_t = 0.98\,\text{level}_{t-1} + 0.2\,\text{inflow}_t $$

    An inflow counts for about fifty hours. The windows have 8 rows, so most of what matters lies before the window:
    in the state, or nowhere.
    """)
    return


@app.function
def tank(rows, seed):
    """Inflow and level of a leaking tank."""
    inflow = np.random.default_rng(seed).standard_normal(rows)
    level = np.zeros(rows)
    for t in range(rows):
        level[t] = 0.98 * level[t - 1] + 0.2 * inflow[t] if t else 0.2 * inflow[t]
    return rk.Sequence(inflow, level, horizon=0, name="tank")


@app.cell
def _():
    rows = 8
    model = rk.Chain(rk.LSTM(1, 16), rk.Dense(16, 1))
    training, testing = tank(8000, seed=1), tank(4000, seed=2)
    settings = {"rule": rk.Adam(5e-3), "seed": 0}

    carried = rk.fit(model, rk.Schedule(training, rk.Chunked(length=rows), rk.Carry()), epochs=20, **settings)
    fresh = rk.fit(model, rk.Schedule(training, rk.Chunked(length=rows), rk.Reset()), epochs=20, **settings)
    return carried, fresh, model, rows, settings, testing, training


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    The third net is the shuffled one. `Carry()` refuses shuffled windows, so we have to cheat: cut the series into
    windows, shuffle them, glue them together, and **claim** that the result is a series. Every epoch anew. That is
    what a loop with shuffled windows and a carried state amounts to.
    """)
    return


@app.cell
def _(model, rows, settings, training):
    _x, _y = training.take(np.arange(8000), np.float64)
    _rng = np.random.default_rng(0)
    shuffled = None
    for _epoch in range(20):
        _order = (_rng.permutation(8000 // rows)[:, None] * rows + np.arange(rows)).ravel()
        _glued = rk.Schedule(rk.Sequence(_x[_order], _y[_order], horizon=0), rk.Chunked(length=rows), rk.Carry())
        _before = {} if shuffled is None else {"params": shuffled.params, "rule_state": shuffled.rule_state}
        shuffled = rk.fit(model, _glued, epochs=1, **settings, **_before)
    return (shuffled,)


@app.cell(hide_code=True)
def _(carried, fresh, shuffled, testing):
    _x, _y = testing.take(np.arange(len(testing)), np.float64)
    _spread = _y.var()
    tank_error = {}
    _lines = ["| trained with | squared error, share of the level's variance |", "|---|---|"]
    for _name, _run in (
        ("windows in order, carried state", carried),
        ("windows in order, reset state", fresh),
        ("shuffled windows, carried state", shuffled),
    ):
        _predicted = rk.predict(_run, testing)[:, 0]
        tank_error[_name] = float(np.nanmean((_predicted - _y.ravel()) ** 2) / _spread)
        _lines.append(f"| {_name} | {tank_error[_name]:.0%} |")
    mo.vstack(
        [mo.md("Judged alike, in order and with carried state, on another 4,000 hours:"), mo.md("\n".join(_lines))]
    )
    return (tank_error,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    100 % would be saying "the mean" all the time. The shuffled net is not much better than that, and **worse than the
    one that forgets**. The reset net at least knows what it does not know: it starts from zeros, and zeros mean "the
    beginning of a window". The shuffled one starts from the level of some other hour, which has nothing to do with
    this one. All it can learn about its state is not to trust it.

    ## The same thing, seen at one net

    Take the net that was trained properly, and read test windows with it in three ways: with the right state, with
    zeros, and with the state of some other window. How wrong is it at the first row of the window, the second, ...?
    """)
    return


@app.cell
def _(carried, rows, testing):
    _x, _y = testing.take(np.arange(4000), np.float64)
    _engine, _model = rk.backend("numpy"), carried.model
    _params = {key: array.astype(np.float64) for key, array in carried.params.items()}
    _windows, _targets = _x.reshape(-1, rows, 1), _y.reshape(-1, rows)
    _state, _starts = rk.setup(_model, dtype="float64")[1], []
    for _window in _windows:  # in order: the state before each window
        _starts.append(_state[0])
        _, _state, _ = _engine.forward(_model, _params, _window[:, None], _state)
    right = rk.LSTMState(*(np.concatenate(part) for part in zip(*_starts, strict=True)))  # (500, H): a lane a window
    _other = np.random.default_rng(0).permutation(len(_windows))
    _ways = {
        "the right state": right,
        "zeros": rk.LSTMState(np.zeros_like(right.h), np.zeros_like(right.c)),
        "the state of another window": rk.LSTMState(right.h[_other], right.c[_other]),
    }
    by_place = {}
    for _name, _start in _ways.items():
        _says, _, _ = _engine.forward(_model, _params, _windows.transpose(1, 0, 2), (_start, ()))
        by_place[_name] = ((_says[..., 0] - _targets.T) ** 2).mean(1) / _y.var()
    figure_place, (_axes,) = new_figure(8, 3.4)
    for (_name, _errors), _colour in zip(by_place.items(), (MODEL, INITIAL, NAIVE), strict=True):
        _axes.plot(np.arange(rows), _errors, color=_colour, marker="o", label=_name)
    _axes.set_xlabel("row of the window")
    _axes.set_ylabel("squared error / variance")
    _axes.set_ylim(0)
    tidy(_axes)
    legend(_axes)
    figure_place
    return (by_place,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    With the right state the place in the window does not matter. With zeros the error begins at about the variance of
    the level, as the net knows nothing, and falls slowly while it reads on. With a foreign state it begins at nearly
    **twice** that: the difference of two independent levels has the sum of their variances. A wrong memory is worse
    than none.

    (On other data the difference can be small. Where little needs to be remembered, nearly anything works, which is
    why such mistakes live so long.)

    ## The question

    Now the 47,249 observations. What does an epoch cost with each way to cut?
    """)
    return


@app.cell
def _():
    observations = np.sin(np.arange(47_249) / 50) + 0.3 * np.random.default_rng(0).standard_normal(47_249)
    series = rk.Sequence(observations, name="observations", horizon=1)  # predict the next row
    cells = {}
    for _splitter in (
        rk.Sliding(length=64, stride=1, lanes=32, shuffle=True),
        rk.Sliding(length=64, stride=32, lanes=32, shuffle=True),
        rk.Chunked(length=64, lanes=32, shuffle=True),
        rk.Continuation(length=64, lanes=4),
    ):
        _coverage = rk.Schedule(series, _splitter, rk.Reset()).coverage()
        cells[repr(_splitter)] = _coverage.steps * _coverage.lanes * _coverage.length
    mo.md(
        "| splitter | rows computed in an epoch | times the series |\n|---|---|---|\n"
        + "\n".join(f"| `{name}` | {count:,} | {count / len(series):.1f} |" for name, count in cells.items())
    )
    return cells, series


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    Start with the last one: every row once, and the state goes on. In one lane there are 739 steps an epoch; with
    four lanes 185, each from four times as many rows. More lanes make an epoch faster to compute (lesson 6), but give
    fewer steps: with 32 lanes only 24.

    Your turn. Cut this series for **8** lanes so that every row counts once, and no window starts from nothing except
    at the start of a lane.
    """)
    return


@app.function
def my_schedule(series):
    """Exercise 4: a schedule of 8 lanes for one long series, whose state is carried."""
    return None


@app.function(hide_code=True)
def schedule_solution(series):
    """Strips, and the state goes on from window to window; the length is a matter of taste, and of lesson 3."""
    return rk.Schedule(series, rk.Continuation(length=64, lanes=8), rk.Carry())


@app.function(hide_code=True)
def schedule_check(schedule):
    series = rk.Sequence(np.zeros(47_249), horizon=1)
    coverage = schedule(series).coverage()
    wrong = differs(coverage.lanes, 8, "the number of lanes") or differs(
        coverage.scored_once, coverage.rows, "the number of rows that count once"
    )
    if wrong:
        return wrong
    found = schedule(series)
    carried = len(found) < 2 or all((batch.origin >= 0).all() for batch in list(found.batches())[1:])
    if not carried or coverage.resets != 8:
        return "each lane should start once from the initial state, and be carried from window to window then."
    return ""


@app.cell(hide_code=True)
def _():
    schedule_of_8 = Exercise(my_schedule, schedule_solution, schedule_check)
    show(schedule_of_8)
    return (schedule_of_8,)


@app.cell
def _(series):
    train, _, test = series.split(0.7, 0.15)  # contiguous in time: training, validation, test
    train = train.with_scaler(rk.Standard.fit(train))  # fitted on the training part alone
    _model = rk.Chain(rk.LSTM(1, 10), rk.Dense(10, 5, "tanh"), rk.Dense(5, 1))
    schedule = rk.Schedule(train, rk.Continuation(length=64, lanes=4), rk.Carry())
    rk.fit(_model, schedule, epochs=1)  # once before the clock starts, in case something is to be compiled
    _started = time.perf_counter()
    run = rk.fit(_model, schedule, rule=rk.Adam(3e-3), epochs=5, seed=0)
    print(f"five epochs over {len(train):,} rows: {time.perf_counter() - _started:.2f} s on this computer\n")
    evaluation = rk.evaluate(run, test)
    print(evaluation)
    print(schedule.describe(3))
    return evaluation, schedule


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    Read the account that `describe()` gives: rows scored once, how often a lane starts from nothing, and that the
    state reaches back thousands of rows while the gradient reaches 63 at most. If a schedule of yours says something
    else here than you meant, you have found a mistake before training.

    ## Several series, gaps

    Real series have gaps, or there are many of them. Then the rows lie in **segments**, and state must not flow from
    one to the next. `Continuation` lays the segments end to end, without padding, and resets the state where a new
    one begins. Below, segments begin at rows 0, 25 and 32. In the last window of lane 0 the bar turns orange at row
    25; in the first one of lane 1, which starts from nothing anyway, a thin line marks row 32.
    """)
    return


@app.cell
def _():
    pieces = rk.Sequence(
        np.arange(60.0), np.arange(60.0), horizon=0, segments=[(0, 25), (25, 32), (32, 60)], name="three segments"
    )
    packed = rk.Schedule(pieces, rk.Continuation(length=6, lanes=2), rk.Carry())
    packed.plot()
    return (packed,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## What to take along

    - Chunks side by side in a batch are neighbours in time, not continuations. Carry needs strips: `Continuation`.
    - Shuffle **or** carry. A shuffled stateful net sees the memory of another hour, which is worse than none.
    - Continuity can be tested on row numbers alone. If your own loop carries state, test it.
    - One long series: `Continuation(length=64, lanes=4)` with `Carry()`; then measure whether something else is better
      (`rnnkit compare`).
    """)
    return


@app.cell(hide_code=True)
def _(
    by_place,
    cells,
    chunk_row,
    evaluation,
    packed,
    proof,
    refusals,
    schedule,
    schedule_of_8,
    strip_row,
    tank_error,
):
    _in_order, _reset, _shuffled = tank_error.values()
    _right, _zeros, _foreign = (errors[0] for errors in by_place.values())
    checks = {
        "chunks side by side and shuffled chunks are refused a carried state": len(refusals) == 2,
        "on the tank, carried state is best, and shuffled with carried state worse than reset": bool(
            _in_order < _reset < _shuffled
        ),
        "at the first row of a window a foreign state is worse than none, and the right one best": bool(
            _right < _zeros < _foreign
        ),
        "sliding windows of stride 1 compute a row 64 times, strips once": bool(
            63 < next(iter(cells.values())) / 47_249 <= 65 and list(cells.values())[-1] / 47_249 < 1.01
        ),
        "every row of the long series counts once, and only four lanes start from nothing": (
            schedule.coverage().scored_once == schedule.coverage().rows and schedule.coverage().resets == 4
        ),
        "the net is better than persistence": evaluation.model.mae < evaluation.persistence.mae,
        "in three segments packed into two lanes the state starts anew four times": packed.coverage().resets == 4,
    }
    exercises = {"chunk_row": chunk_row, "strip_row": strip_row, "proof": proof, "schedule": schedule_of_8}
    summary(checks)
    return checks, exercises


if __name__ == "__main__":
    app.run()
