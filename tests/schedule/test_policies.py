"""Every splitter with every state policy, on every backend, against a loop over rows that knows of none of them.

The reference walks windows given as lists of rows, which are derived here from what each splitter's docstring says. It
keeps states in dicts, by lane or by row, and walks back through time row by row.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import rnnkit as rk

SEGMENTS = ((1, 12), (13, 17), (18, 31))
FIRST = {start for start, _ in SEGMENTS}
ROWS = [row for start, stop in SEGMENTS for row in range(start, stop)]
LAYERS = (rk.LSTM(2, 3), rk.LSTM(3, 2), rk.Dense(2, 1))
MODEL = rk.Chain(*LAYERS, initial=rk.Learned())
RATE, EPOCHS, SEED = 0.2, 3, 5

X, Y = (np.random.default_rng(seed).normal(size=(32, size)) for seed, size in ((1, 2), (2, 1)))
SERIES = rk.Sequence(X, Y, segments=list(SEGMENTS), name="made")


pytestmark = pytest.mark.usefixtures("one_torch_thread")


def drawn_parameters(model: rk.Chain = MODEL) -> dict[str, np.ndarray]:
    """Large enough for the state to matter; a learned initial state that is not zero."""
    rng = np.random.default_rng(3)
    return {key: rng.normal(size=p.shape) for key, p in rk.setup(model, dtype="float64")[0].items()}


@dataclass(frozen=True)
class Window:
    """Rows in the order they are read; the first `lead` of them are not scored. `strip`: the lane begins here."""

    rows: list[int]
    lead: int = 0
    strip: bool = False


def steps_of(splitter: Any, epoch: int) -> list[list[Window | None]]:
    """The windows of an epoch by step and lane; only what is drawn by chance is read off a schedule that resets."""
    unweighed = replace(splitter, reweight=False) if getattr(splitter, "reweight", False) else splitter
    batches = list(rk.Schedule(SERIES, unweighed, rk.Reset(), SEED).batches(epoch))
    if isinstance(splitter, rk.Continuation):
        counts = [len(ROWS) // splitter.lanes + (lane < len(ROWS) % splitter.lanes) for lane in range(splitter.lanes)]
        strips = [ROWS[sum(counts[:lane]) : sum(counts[: lane + 1])] for lane in range(splitter.lanes)]
        steps, done = [], 0
        for batch in batches:
            drawn = isinstance(splitter.length, rk.Uniform | rk.Geometric)
            stop = done + (int((batch.weight[:, 0] > 0).sum()) if drawn else splitter.length)
            begin = max(done - splitter.lookback, 0)
            steps.append([Window(s[begin:stop], done - begin, begin == 0) if s[done:] else None for s in strips])
            done = stop
        return steps
    stride = splitter.length if isinstance(splitter, rk.Chunked) else splitter.stride
    windows = {}
    for start, stop in SEGMENTS:
        for first in range(start, stop, stride):
            windows[first] = Window(list(range(first, min(first + splitter.length, stop))))
            if stride <= splitter.length and first + splitter.length >= stop:
                break
    order = [int(row) for batch in batches for row in batch.row if row >= 0] if splitter.shuffle else list(windows)
    assert sorted(order) == sorted(windows)
    lanes: list[Window | None] = [windows[first] for first in order]
    lanes += [None] * (-len(lanes) % splitter.lanes)
    return [lanes[k : k + splitter.lanes] for k in range(0, len(lanes), splitter.lanes)]


def sigmoid(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def initial(params: Any) -> Any:
    return [(params[f"{k}.initial_h"], params[f"{k}.initial_c"]) for k in range(2)]


def read_row(params: Any, row: int, state: Any) -> tuple[Any, Any, Any]:
    """One row: the prediction, the state after it, and what the way back needs."""
    value, after, kept = X[row], [], []
    for k, (h, c) in enumerate(state):
        gates = params[f"{k}.weight_ih"] @ value + params[f"{k}.weight_hh"] @ h
        i, f, g, o = np.split(gates + params[f"{k}.bias_ih"] + params[f"{k}.bias_hh"], 4)
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        c_new = f * c + i * g
        kept.append((value, h, c, i, f, g, o, c_new))
        value = o * np.tanh(c_new)
        after.append((value, c_new))
    return params["2.weight"] @ value + params["2.bias"], after, (kept, value)


def read_row_back(params: Any, grads: Any, kept: Any, d_y: np.ndarray, d_state: Any) -> Any:
    """The way back through one row: adds to `grads`, returns the gradient of the state before it."""
    layers, top = kept
    grads["2.weight"] += np.outer(d_y, top)
    grads["2.bias"] += d_y
    d_value, before = params["2.weight"].T @ d_y, []
    for k in (1, 0):
        value, h, c, i, f, g, o, c_new = layers[k]
        d_h = d_value + d_state[k][0]
        d_c = d_state[k][1] + d_h * o * (1 - np.tanh(c_new) ** 2)
        d_i, d_f, d_o = d_c * g * i * (1 - i), d_c * c * f * (1 - f), d_h * np.tanh(c_new) * o * (1 - o)
        d_gates = np.concatenate([d_i, d_f, d_c * i * (1 - g**2), d_o])
        grads[f"{k}.weight_ih"] += np.outer(d_gates, value)
        grads[f"{k}.weight_hh"] += np.outer(d_gates, h)
        grads[f"{k}.bias_ih"] += d_gates
        grads[f"{k}.bias_hh"] += d_gates
        d_value = params[f"{k}.weight_ih"].T @ d_gates
        before.append((params[f"{k}.weight_hh"].T @ d_gates, d_c * f))
    return before[::-1]


def hazards(lengths: Any, count: int) -> np.ndarray:
    """P(L = n | L >= n) for n = 0 ... count - 1, by summation over the probabilities of the lengths."""
    n = np.arange(3000)
    if isinstance(lengths, rk.Uniform):
        chance = np.where((n >= lengths.low) & (n <= lengths.high), 1 / (lengths.high - lengths.low + 1), 0)
    else:
        chance = np.where(n > 0, (1 - 1 / lengths.mean) ** (n - 1.0) / lengths.mean, 0)
    return np.array([chance[k] / chance[k:].sum() if chance[k:].sum() > 1e-12 else 0 for k in range(count)])


def reference(splitter: Any, policy: Any, cold: Any, starts: Any = initial, epochs: int = EPOCHS) -> dict[str, Any]:
    """Train row by row with plain gradient descent.

    Args:
        cold: `cold[epoch][step][lane]`: that a window starts from the initial state by chance.
        starts: `starts(params)` is the initial state of the next window and lane; where it is learned its gradient
            is taken.
    """
    params, losses, norms = drawn_parameters(), [], []
    stored: dict[int, Any] = {}
    at_end: dict[int, Any] = {}
    factor = np.ones(64)
    if getattr(splitter, "reweight", False):
        cut = hazards(splitter.length, 64)
        factor[cut < 1] = 1 / (1 - cut[cut < 1])
    for epoch in range(epochs):
        seen: dict[int, dict[int, Any]] = {}  # by lane: the state before each row that its last window has seen
        for step, windows in enumerate(steps_of(splitter, epoch)):
            tapes, recordings = [], {}
            for lane, window in enumerate(windows):
                if window is None:
                    continue
                segment = max(first for first in FIRST if first <= window.rows[0])
                wanted = getattr(policy, "rows", getattr(policy, "burn_in", 0))
                burn = min(wanted, window.rows[0] - segment)
                rows = [*range(window.rows[0] - burn, window.rows[0]), *window.rows]
                state = None  # the initial one
                if isinstance(policy, rk.Carry):
                    every = policy.reset_every
                    if step == 0:
                        state = at_end.get(lane) if policy.across_epochs else None
                    elif cold[epoch][step][lane] or (every and step % every == 0):
                        state = None
                    elif window.strip:
                        state = seen[lane][rows[0]] if policy.across_epochs and epoch else None
                    elif rows[0] not in FIRST:
                        state = seen[lane][rows[0]]
                elif isinstance(policy, rk.Stored) and rows[0] not in FIRST:
                    state = stored.get(rows[0])
                in_gradient = getattr(policy, "in_gradient", not wanted)
                # what a look-back finds no row for in its own lane it takes from the burn-in
                reach = getattr(splitter, "lookback", 0) - window.lead
                outside = 0 if in_gradient else max(burn - reach, 0)
                tape = [state is None and not outside]
                start = starts(params)
                state, seen[lane] = start if state is None else state, {}
                run = 0
                for at, row in enumerate(rows):
                    fresh = at > 0 and row in FIRST
                    state, run = (start, 0) if fresh else (state, run)
                    seen[lane][row] = state
                    y, state, kept = read_row(params, row, state)
                    run += 1
                    scored = at >= burn + window.lead
                    tape.append((kept, y - Y[row] if scored else None, fresh, factor[max(at - burn, 0)]))
                    seen[lane][row + 1] = state
                    if recordings.get(row + 1, (0,))[0] <= run:
                        recordings[row + 1] = run, state
                at_end[lane] = state
                tapes.append((tape, outside))
            errors = [error for tape, _ in tapes for _, error, *_ in tape[1:] if error is not None]
            share = 1 / len(errors)
            if getattr(splitter, "reweight", False):
                share = 1 / (splitter.length.mean * splitter.lanes)
            grads = {key: np.zeros_like(p) for key, p in params.items()}
            for (began_cold, *tape), outside in tapes:
                d_state = [(0.0, 0.0), (0.0, 0.0)]
                for at in reversed(range(outside, len(tape))):
                    kept, error, fresh, weight = tape[at]
                    d_y = np.zeros(1) if error is None else 2 * error * share
                    d_state = read_row_back(params, grads, kept, d_y, d_state)
                    if (fresh or (at == 0 and began_cold)) and starts is initial:
                        for k, (d_h, d_c) in enumerate(d_state):
                            grads[f"{k}.initial_h"] += d_h
                            grads[f"{k}.initial_c"] += d_c
                    weight = 0.0 if fresh else weight
                    d_state = [(d_h * weight, d_c * weight) for d_h, d_c in d_state]
            losses.append(np.mean(np.square(errors)))
            norms.append(np.sqrt(sum((g**2).sum() for g in grads.values())))
            params = {key: p - RATE * grads[key] for key, p in params.items()}
            stored |= {row: state for row, (_, state) in recordings.items() if row not in FIRST}
    return {"loss": losses, "norm": norms, **params}


SPLITTERS = [
    rk.Sliding(6, 2),
    rk.Sliding(6, 4, lanes=3),
    rk.Sliding(5, 2, lanes=2, shuffle=True),
    rk.Sliding(3, 5, lanes=2),
    rk.Chunked(5),
    rk.Chunked(4, lanes=3),
    rk.Chunked(4, lanes=2, shuffle=True),
    rk.Continuation(5),
    rk.Continuation(4, lanes=3),
    rk.Continuation(4, lanes=3, lookback=3),
    rk.Continuation(3, lookback=7),
    rk.Continuation(rk.Uniform(2, 6), lanes=2),
    rk.Continuation(rk.Uniform(2, 6), reweight=True),
    rk.Continuation(rk.Geometric(4), lanes=2, reweight=True),
]
POLICIES = [
    rk.Reset(),
    rk.Carry(),
    rk.Carry(reset_every=2),
    rk.Carry(reset_probability=0.4),
    rk.Carry(across_epochs=True),
    rk.BurnIn(3),
    rk.BurnIn(2, in_gradient=True),
    rk.Stored(),
    rk.Stored(burn_in=2),
]
OUT_OF_ORDER = [SPLITTERS[k] for k in (1, 2, 3, 5, 6)]
DRAWN = SPLITTERS[-3:]


def allowed(splitter: Any, policy: Any) -> bool:
    if getattr(splitter, "reweight", False):
        return policy in (rk.Carry(), rk.Carry(across_epochs=True))
    if isinstance(policy, rk.Carry):
        return splitter not in OUT_OF_ORDER
    return not (isinstance(policy, rk.Stored) and splitter in DRAWN)


PAIRS = [(splitter, policy) for splitter in SPLITTERS for policy in POLICIES if allowed(splitter, policy)]


@cache
def expected(splitter: Any, policy: Any) -> dict[str, Any]:
    schedule = rk.Schedule(SERIES, splitter, policy, SEED)
    by_chance = getattr(policy, "reset_probability", 0)
    cold = [[(batch.origin == -1) & bool(by_chance) for batch in schedule.batches(epoch)] for epoch in range(EPOCHS)]
    return reference(splitter, policy, cold)


def trained(splitter: Any, policy: Any, backend: Any, model: rk.Chain = MODEL, **settings: Any) -> dict[str, Any]:
    run = rk.fit(
        model,
        rk.Schedule(SERIES, splitter, policy, SEED),
        **{"backend": backend, "rule": rk.SGD(RATE), "epochs": EPOCHS, "dtype": "float64", "block_rows": 40}
        | {"params": {key: drawn_parameters()[key] for key in rk.setup(model)[0]}}
        | settings,
    )
    return {"loss": run.history.steps["loss"], "norm": run.history.steps["norm"], **run.params}


def assert_same(got: dict[str, Any], wanted: dict[str, Any], relative: float = 1e-10) -> None:
    for name in got:
        a, b = np.asarray(got[name]), np.asarray(wanted[name])
        assert a.shape == b.shape, name
        assert np.isfinite(b).all(), name
        assert np.abs(a - b).max() <= relative * np.abs(b).max(), name


@pytest.mark.parametrize("backend", ["numpy", "numba", "torch"])
@pytest.mark.parametrize(("splitter", "policy"), PAIRS, ids=str)
def test_every_pair_trains_as_the_loop_over_rows(splitter: Any, policy: Any, backend: str) -> None:
    assert_same(trained(splitter, policy, backend), expected(splitter, policy))


def test_those_pairs_train_differently_but_for_the_few_that_must_not() -> None:
    """A reference that the policies leave alone would prove nothing."""
    alike: dict[float, list[Any]] = {}
    for pair in PAIRS:
        alike.setdefault(round(expected(*pair)["norm"][-1], 9), []).append(pair)
    in_order = [SPLITTERS[k] for k in (0, 4, 7, 10)]  # one lane in order: what is carried is what was recorded last
    same = {((splitter, rk.Carry()), (splitter, rk.Stored())) for splitter in in_order}
    same.add(((SPLITTERS[3], rk.Reset()), (SPLITTERS[3], rk.Stored())))  # rows left out: nothing is ever recorded
    assert {tuple(pairs) for pairs in alike.values() if len(pairs) > 1} == same


@pytest.mark.parametrize("policy", [policy for policy in POLICIES if isinstance(policy, rk.Carry)], ids=str)
@pytest.mark.parametrize("splitter", OUT_OF_ORDER, ids=str)
def test_carrying_is_refused_where_windows_are_no_continuations(splitter: Any, policy: Any) -> None:
    with pytest.raises(rk.ContinuityError, match=r"Carry\(.*the window at step .* reads rows .* but .*; use "):
        rk.Schedule(SERIES, splitter, policy, SEED)


@pytest.mark.parametrize("policy", [rk.Stored(), rk.Stored(burn_in=2)], ids=str)
@pytest.mark.parametrize("splitter", [*DRAWN, rk.Chunked(4, lanes=4, shuffle=True, tail="drop")], ids=str)
def test_storing_is_refused_where_windows_start_elsewhere_in_every_epoch(splitter: Any, policy: Any) -> None:
    with pytest.raises(
        rk.ScheduleError, match=r"Stored\(.* expects windows that start at the same rows in every epoch"
    ):
        rk.Schedule(SERIES, splitter, policy, SEED)


def test_storing_takes_shuffled_windows_of_which_none_is_dropped() -> None:
    whole = rk.Chunked(4, lanes=2, shuffle=True, tail="drop")  # 2 + 1 + 3 windows
    schedule = rk.Schedule(SERIES, whole, rk.Stored(), SEED)
    slots = [schedule.slots(epoch) for epoch in range(3)]
    assert all(table is not None and table.offset.tolist() == [4, 4, 8] for table in slots)


@pytest.mark.parametrize("backend", ["numpy", "numba", "torch"])
@pytest.mark.parametrize("splitter", [rk.Continuation(4, lanes=3, lookback=3), rk.Sliding(5, 2, lanes=2)], ids=str)
def test_given_numbers_are_where_lanes_start_and_resets_lead(splitter: Any, backend: str) -> None:
    numbers = initial(drawn_parameters())
    given = rk.Given(**{name: tuple(tuple(entry[k]) for entry in numbers) for k, name in enumerate("hc")})
    assert given == rk.Given.of(tuple(rk.LSTMState(h[None], c[None]) for h, c in numbers))
    policy = rk.Reset()
    got = trained(splitter, policy, backend, rk.Chain(*LAYERS, initial=given))
    assert_same(got, reference(splitter, policy, None, starts=lambda params: numbers))


@pytest.mark.parametrize("backend", ["numpy", "numba", "torch"])
def test_noise_is_drawn_anew_for_every_window_and_lane(backend: str) -> None:
    draws, splitter, engine = [], rk.Continuation(5), rk.backend(backend)  # with resets inside windows

    def remember(model: Any, carried: Any, block: Any, update: Any, drawn: Any) -> Any:
        noise = drawn.initial
        draws.extend([(h[k, 0], c[k, 0]) for h, c in noise[:2]] for k in range(len(noise[0].h)))
        return engine.train_block(model, carried, block, update, drawn)

    names = ("name", "forward", "backward", "update", "from_numpy", "to_numpy")
    watched = SimpleNamespace(**{name: getattr(engine, name) for name in names}, train_block=remember)
    model = rk.Chain(*LAYERS, initial=rk.Noise(0.5))
    got = trained(splitter, rk.Reset(), watched, model)
    numbers = np.array([value for draw in draws for entry in draw for values in entry for value in values])
    assert len(np.unique(numbers)) == len(numbers) == len(got["loss"]) * 10
    assert np.std(numbers) == pytest.approx(0.5, rel=0.2)
    left = iter(draws)
    assert_same(got, reference(splitter, rk.Reset(), None, starts=lambda params: next(left)))
    run = rk.fit(model, rk.Schedule(SERIES, splitter, rk.Reset()), backend=backend, epochs=1)
    from_zeros = rk.predict(replace(run, model=rk.Chain(*LAYERS)), SERIES)
    np.testing.assert_array_equal(rk.predict(run, SERIES), from_zeros)


def test_a_share_of_windows_resets_by_chance_and_anew_each_epoch() -> None:
    series = rk.Sequence(np.zeros(40_000))
    schedule = rk.Schedule(series, rk.Continuation(5, lanes=4), rk.Carry(reset_probability=0.3))
    origins = [np.concatenate([batch.origin for batch in schedule.batches(epoch)]) for epoch in range(2)]
    for origin in origins:
        assert set(origin) == {-1, 5}
        assert abs((origin == -1).mean() - 0.3) < 4 * np.sqrt(0.21 / len(origin))
    assert 0.3 < (origins[0] != origins[1]).mean() < 0.54  # 2 · 0.3 · 0.7 = 0.42 of them
    always = replace(schedule, policy=rk.Carry(reset_probability=1))
    assert all((batch.origin == -1).all() for batch in always.batches())


@pytest.mark.parametrize(
    ("policy", "first"),
    [
        (rk.Carry(across_epochs=True), [[-1, 10], [10, 10]]),  # after the last row of the epoch before
        (rk.Carry(across_epochs=True, reset_every=2), [[-1, 10], [-1, 10]]),
        (rk.Carry(across_epochs=True, reset_every=1), [[-1, -1], [-1, -1]]),
        (rk.Carry(across_epochs=True, reset_probability=1), [[-1, -1], [-1, -1]]),
        (rk.Carry(), [[-1, 10], [-1, 10]]),
    ],
    ids=str,
)
def test_an_epoch_begins_where_the_one_before_ended_unless_a_reset_is_due(policy: Any, first: list[list[int]]) -> None:
    schedule = rk.Schedule(rk.Sequence(np.arange(41.0)), rk.Continuation(10, lanes=2), policy)
    origins = [[batch.origin.tolist() for batch in schedule.batches(epoch)] for epoch in range(2)]
    assert origins == [[[origin] * 2 for origin in epoch] for epoch in first]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rk.Carry(reset_every=0), r"Carry expects reset_every to be a whole number >= 1, got 0"),
        (lambda: rk.Carry(reset_probability=1.5), r"Carry expects 0 <= reset_probability <= 1, got 1.5"),
        (lambda: rk.BurnIn(0), r"BurnIn expects rows to be a whole number >= 1, got 0"),
        (lambda: rk.Stored(burn_in=-1), r"Stored expects burn_in to be a whole number >= 0, got -1"),
    ],
)
def test_settings_out_of_range_are_refused(make: Any, message: str) -> None:
    with pytest.raises(rk.ScheduleError, match=message):
        make()
