"""Threads: the same bits for any number of them, no thread left behind, processes that fork and spawn."""

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import rnnkit_numba as compiled
from rnnkit_numba import train as training
from rnnkit_numba.compiled import entry
from rnnkit_numba.layout import GROUP_LANES
from rnnkit_numba.places import (
    ALLOWED,
    CAN_MOVE,
    ROOM,
    WORDS,
    free_processor,
    keep_apart,
    new_places,
    processor,
    stands_behind,
)
from rnnkit_numba.threads import ARRIVED, STOPPED, Team, meet, new_barrier, processors, run_threads

import rnnkit as rk
from builders.training import train_through
from rnnkit.errors import BackendError
from rnnkit.model import MSE, ClipNorm, initial_rule_state
from rnnkit.schedule.batch import Block, Slots

MODEL = rk.Chain(rk.LSTM(3, 7), rk.Dense(7, 4, "tanh"), rk.LSTM(4, 9), rk.Dense(9, 2))


def block_of(lanes, windows=4, steps=6, bad=False):
    rng = np.random.default_rng(0)
    shape = (windows, steps, lanes)
    y = rng.normal(size=(*shape, 2))
    if bad:
        y[2, 1, lanes - 1] = np.nan
    return Block(
        x=rng.normal(size=(*shape, 3)),
        y=y,
        reset=rng.random(shape) < 0.1,
        valid=rng.random(shape) < 0.9,
        weight=np.ones(shape),
        origin=np.array([[-1] * lanes, *[[steps] * lanes] * windows]),
        rows=np.zeros(shape, int),
        segment=np.zeros((windows, lanes), int),
        row=np.zeros((windows, lanes), int),
    )


def train(threads, lanes=3 * GROUP_LANES + 5, dtype="float32", bad=False, rule=rk.Adam(0.01)):  # noqa: B008
    params, state = rk.setup(MODEL, 0, lanes, dtype)
    settings = {"rule": rule, "loss": MSE(), "clip": ClipNorm(0.1), "learning_rates": np.full(4, 0.01)}
    moments = initial_rule_state(rule, params)
    backend = rk.backend("numba", threads=threads)
    block = block_of(lanes, bad=bad)
    block = block._replace(x=block.x.astype(dtype))
    return train_through(backend, MODEL, params, state, moments, block, **settings)


def bits(tree):
    if isinstance(tree, dict):
        return [b for value in tree.values() for b in bits(value)]
    if isinstance(tree, tuple):
        return [b for value in tree for b in bits(value)]
    return [np.asarray(tree).tobytes()]


@pytest.fixture
def eager(monkeypatch):
    """Threads for windows of any size."""
    monkeypatch.setattr(training, "SMALL_FLOPS", 0)
    counts = []
    original = training.run_threads
    monkeypatch.setattr(training, "run_threads", lambda n, *a: (counts.append(n), original(n, *a))[1])
    return counts


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_number_of_threads_gives_the_same_bits(eager, dtype):
    expected = bits(train(1, dtype=dtype))
    for threads in (2, 3, 4, 9):
        assert bits(train(threads, dtype=dtype)) == expected
    assert eager == [1, 2, 3, 4, 4]  # never more than blocks of lanes


def test_any_number_of_threads_clears_what_pads_parameters_where_a_rule_has_no_epsilon(eager):
    rule = rk.RMSProp(0.01, epsilon=0, momentum=0.5)
    expected = train(1, rule=rule)
    assert all(np.isfinite(p).all() for p in expected.params.values())
    for threads in (2, 3, 4):
        assert bits(train(threads, rule=rule)) == bits(expected)


def test_all_threads_stop_where_the_loss_is_not_finite(eager):
    one, two = train(1, bad=True), train(2, bad=True)
    assert one.done == two.done == 2
    assert bits(one) == bits(two)


def test_by_default_there_is_a_thread_for_each_processor_and_small_work_stays_on_one(eager, monkeypatch):
    train(0)
    assert eager == [min(processors(), 4)]
    monkeypatch.undo()
    before = threading.active_count()
    assert train(0, lanes=2).done == 4
    assert threading.active_count() == before


def test_no_thread_outlives_the_call(eager):
    before = threading.active_count()
    train(3)
    assert threading.active_count() == before


@entry
def wait(barrier, places, thread, threads):
    return meet(Team(barrier, places, thread, threads))


@entry
def gather(barrier, places, thread, threads):
    met = meet(Team(barrier, places, thread, threads))
    keep_apart(places, thread, threads)
    return processor() if met else -2


def test_threads_that_start_on_one_processor_part_and_may_run_anywhere_again():
    allowed = os.sched_getaffinity(0) if CAN_MOVE else set()
    crowded = max(allowed, default=-1)
    barrier, places, where, free = new_barrier(), new_places(2), {}, {}

    def work(thread):
        if CAN_MOVE:
            os.sched_setaffinity(0, {crowded})
            os.sched_setaffinity(0, allowed if thread else {crowded})
        where[thread] = gather(barrier, places, thread, 2)
        free[thread] = os.sched_getaffinity(0) if CAN_MOVE else set()

    try:
        run_threads(2, barrier, work)
    finally:
        if CAN_MOVE:
            os.sched_setaffinity(0, allowed)
    assert where[0] == crowded
    assert where[1] in (allowed - {crowded} or {crowded})
    assert free == {0: {crowded} - {-1}, 1: allowed}


@entry
def choose(places, thread, threads):
    return free_processor(places, thread, threads) if stands_behind(places, thread) else -2


@pytest.mark.parametrize(
    ("allowed", "told", "chosen"),
    [
        ({0, 1}, [0, 0], [-2, 1]),
        ({0, 1}, [1, 1], [-2, 0]),
        ({0, 1}, [0, 1], [-2, -2]),
        ({5}, [5, 5], [-2, -1]),
        ({0, 1, 2, 3}, [0, 0, 1, 0], [-2, 2, -2, 3]),
        ({0, 1, 2, 3}, [2, 2, 2, 2], [-2, 3, 0, 1]),
        ({0, 1, 2}, [0, 0, 0, 0], [-2, 1, 2, 1]),  # more threads than processors
        ({63, 64, 127, 961, 1023}, [64, 64, 64, 64, 961], [-2, 127, 1023, 63, -2]),
        ({0, 1}, [-1, -1], [-2, -2]),  # unknown places
    ],
)
def test_each_thread_that_stands_behind_another_gets_a_free_processor_of_its_own(allowed, told, chosen):
    places = new_places(len(told))
    bits = np.frombuffer(sum(1 << n for n in allowed).to_bytes(8 * WORDS, "little"), "<i8")
    for thread, place in enumerate(told):
        places[thread * ROOM] = place
        places[thread * ROOM + ALLOWED :][:WORDS] = bits
    assert [choose(places, thread, len(told)) for thread in range(len(told))] == chosen


def test_training_keeps_its_threads_apart(eager, monkeypatch):
    allowed, kept = os.sched_getaffinity(0) if CAN_MOVE else set(), []
    made, run = training.new_places, training.run_block

    def crowd(team, *rest):
        if CAN_MOVE:
            os.sched_setaffinity(0, {max(allowed)})
            os.sched_setaffinity(0, allowed if team.thread else {max(allowed)})
        return run(team, *rest)

    monkeypatch.setattr(training, "new_places", lambda n: (kept.append(made(n)), kept[-1])[1])
    monkeypatch.setattr(training, "run_block", crowd)
    try:
        train(2)
    finally:
        if CAN_MOVE:
            os.sched_setaffinity(0, allowed)
    first, second = kept[0][[0, ROOM]]
    moved_to = np.flatnonzero(kept[0][ROOM + ALLOWED + WORDS :][:WORDS])
    assert first == max(allowed, default=-1)
    assert second != first or len(moved_to) or len(allowed) < 2


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("failing", [0, 1])
def test_a_thread_that_fails_lets_the_others_go(error, failing):
    barrier, places, met, before = new_barrier(), new_places(3), [], set(threading.enumerate())

    def work(thread):
        if thread == failing:
            raise error("no")
        met.append(wait(barrier, places, thread, 3))

    with pytest.raises(error, match="no"):
        run_threads(3, barrier, work)
    assert met == [False, False]
    assert not set(threading.enumerate()) - before


def test_options_are_checked():
    assert rk.backend("numba", threads=2) == rk.backend(compiled.configure(threads=2))
    with pytest.raises(BackendError, match="expects threads to be a whole number from 0 on, got -1"):
        rk.backend("numba", threads=-1)
    with pytest.raises(BackendError, match=r"expects threads to be a whole number from 0 on, got 1\.5"):
        rk.backend("numba", threads=1.5)
    with pytest.raises(BackendError, match="takes the option threads, got device"):
        rk.backend("numba", device="cuda")


SCRIPT = """
import hashlib, multiprocessing, sys
import numpy as np, rnnkit as rk
from rnnkit_numba import train
train.SMALL_FLOPS = 0

def digest(_):
    series = rk.Sequence(np.sin(np.arange(400) / 5).astype("float32"))
    schedule = rk.Schedule(series, rk.Continuation(length=5, lanes=20), rk.Carry())
    model = rk.Chain(rk.LSTM(1, 5), rk.Dense(5, 1))
    run = rk.fit(model, schedule, backend=rk.backend("numba", threads=2), epochs=2)
    return hashlib.sha256(b"".join(p.tobytes() for p in run.params.values())).hexdigest()

if __name__ == "__main__":
    here = digest(0)
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        assert pool.map(digest, range(2)) == [here, here]
    assert digest(0) == here
    print("same")
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_that_fork_and_spawn(tmp_path, method):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run([sys.executable, str(script), method], capture_output=True, text=True, env=dict(os.environ))
    assert done.stdout.strip() == "same", done.stderr


@pytest.mark.parametrize("scored", [False, True])
def test_nothing_is_recorded_before_every_thread_has_read_what_it_starts_from(eager, monkeypatch, scored):
    """Thread 0 is played by hand: while it has not come to the last meeting of a window, thread 1 must not write."""
    lanes, steps = GROUP_LANES + 1, 3
    params, state = rk.setup(MODEL, 0, lanes, "float64")
    shape = (2, steps, lanes)
    own = np.broadcast_to(np.arange(lanes), shape[::2])
    slots = Slots(own, np.full((*own.shape, 1), steps), own[..., None].copy())
    block = block_of(lanes, 2, steps)
    block = block._replace(weight=np.full(shape, float(scored)), origin=np.full((3, lanes), -2), slots=slots)
    block = block._replace(detached=steps if scored else 0)  # of the gradients thread 0 would add its share
    store = training.state_views(MODEL, np.full((lanes, 32), 0.25))
    before = bits(store)
    places, seen = [], []
    made = training.new_places
    monkeypatch.setattr(training, "new_places", lambda n: (places.append(made(n)), places[-1])[1])

    def play(team, barrier, work):
        other = threading.Thread(target=work, args=(1,), daemon=True)
        other.start()
        meetings = 2 + (4 if scored else 1)  # at the start, at that of the window, and in the window
        for _ in range(meetings):
            while barrier[ARRIVED] == 0 and other.is_alive():
                time.sleep(1e-4)
            seen.append(bits(store) == before)
            wait(barrier, places[0], 0, team)
        while barrier[ARRIVED] == 0 and other.is_alive():  # it is at the next window now
            time.sleep(1e-4)
        seen.append(bits(store) == before)
        barrier[STOPPED] = 1
        other.join()
        return 0, 0

    monkeypatch.setattr(training, "run_threads", play)
    moments, backend = initial_rule_state(rk.SGD(0.1), params), rk.backend("numba", threads=2)
    settings = {"rule": rk.SGD(0.1), "loss": MSE(), "clip": None, "learning_rates": np.zeros(2)}
    train_through(backend, MODEL, params, state, moments, block, store=store, **settings)
    assert seen == [True] * (len(seen) - 1) + [False]


def test_recorded_states_do_not_depend_on_the_threads():
    """Windows without a scored row make no update, and one lane records what another starts from in the same step."""
    series = rk.Sequence.panel(np.sin(np.arange(4800) / 7).reshape(40, 120), np.arange(40) % 2)
    schedule = rk.Schedule(series, rk.Continuation(3, lanes=160), rk.Stored())
    model = rk.Chain(rk.LSTM(1, 24), rk.Dense(24, 2))
    runs = [
        rk.fit(model, schedule, backend=rk.backend("numba", threads=n), loss="cross_entropy", epochs=3)
        for n in (1, 2, 2, 2)
    ]
    for run in runs[1:]:
        np.testing.assert_array_equal(run.store[0].h, runs[0].store[0].h)
        np.testing.assert_array_equal(run.params["0.weight_hh"], runs[0].params["0.weight_hh"])
