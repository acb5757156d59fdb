"""How far the gradient goes: truncation by its definition, recorded states, lengths drawn by chance, remat, leaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

import rnnkit as rk
from builders.training import train_through
from rnnkit import testing
from rnnkit.model import initial_rule_state
from rnnkit.train.fold import remat_rows
from rnnkit.train.gradient import epoch_gradient

BACKENDS = ["numpy", "numba", "torch"]
MODEL = rk.Chain(rk.LSTM(1, 2), rk.Dense(2, 1))


pytestmark = pytest.mark.usefixtures("one_torch_thread")


def parameters(model: rk.Chain, seed: int = 0, remember: float = 0.0) -> dict[str, np.ndarray]:
    """Normal numbers; `remember` is added to the forget gate's bias of the first layer."""
    rng = np.random.default_rng(seed)
    params = {key: rng.normal(size=p.shape) for key, p in rk.setup(model, dtype="float64")[0].items()}
    hidden = params["0.weight_hh"].shape[1]
    params["0.bias_ih"][hidden : 2 * hidden] += remember
    return params


def flat(tree: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([np.ravel(a) for a in tree.values()])


X, Y = np.random.default_rng(2).normal(size=(2, 24, 1))
SERIES = rk.Sequence(X, Y)


def truncated(params: dict[str, np.ndarray], k1: int, k2: int) -> np.ndarray:
    """Every k1 rows the loss of the k1 new rows, derived through the last k2 rows, by the complex step."""
    engine = rk.backend("numpy")
    x, y = X[:, None], Y[:, None]
    total = {key: np.zeros(p.shape) for key, p in params.items()}
    state = rk.setup(MODEL, dtype="float64")[1]
    before = []
    for row in range(len(x)):
        before.append(state)
        _, state, _ = engine.forward(MODEL, params, x[row : row + 1], state)
    for end in range(k1, len(x) + 1, k1):
        begin = max(end - k2, 0)
        complex_params = {key: p.astype(complex) for key, p in params.items()}
        for key, p in complex_params.items():
            for place in np.ndindex(p.shape):
                p[place] += 1e-200j
                rows, _, _ = engine.forward(MODEL, complex_params, x[begin:end].astype(complex), before[begin])
                total[key][place] += ((rows - y[begin:end])[-k1:] ** 2).sum().imag / 1e-200
                p[place] = p[place].real
    return flat(total) / len(x)


@pytest.mark.parametrize(("k1", "k2"), [(1, 1), (1, 5), (3, 3), (3, 5), (4, 12), (6, 24), (24, 24)])
def test_lookback_is_truncation_by_its_definition(k1: int, k2: int) -> None:
    params = parameters(MODEL)
    schedule = rk.Schedule(SERIES, rk.Continuation(k1, lookback=k2 - k1), rk.Carry())
    _, gradient = epoch_gradient(MODEL, params, schedule, backend="numpy")
    np.testing.assert_allclose(flat(gradient), truncated(params, k1, k2), rtol=1e-10)


def forum_recipe(params: dict[str, np.ndarray], k1: int, k2: int, clear: bool) -> np.ndarray:
    """The loop that circulates: k2 states, each cut off from the one before, and a walk back through them.

    Args:
        clear: forget the gradients that the states have gathered before every walk, which the recipe does not.
    """
    p = {key: torch.tensor(a, requires_grad=True) for key, a in params.items()}
    x, y = torch.tensor(X), torch.tensor(Y)
    state, kept = torch.zeros(2, 2, dtype=torch.float64), []
    for row in range(len(x)):
        before = state.detach().requires_grad_()
        gates = p["0.weight_ih"] @ x[row] + p["0.bias_ih"] + p["0.weight_hh"] @ before[0] + p["0.bias_hh"]
        i, f, g, o = gates.split(2)
        c = f.sigmoid() * before[1] + i.sigmoid() * g.tanh()
        state = torch.stack([o.sigmoid() * c.tanh(), c])
        kept = [*kept, (before, state, (p["1.weight"] @ state[0] + p["1.bias"] - y[row]).square().sum())][-k2:]
        if (row + 1) % k1 == 0:
            for leaf, _, _ in kept if clear else ():
                leaf.grad = None
            for back, (_, after, loss) in enumerate(reversed(kept)):
                if back:
                    after.backward(kept[-back][0].grad, retain_graph=True)
                if back < k1:
                    loss.backward(retain_graph=True)
    return flat({key: a.grad.numpy() for key, a in p.items()}) / len(x)


@pytest.mark.parametrize(("k1", "k2"), [(3, 3), (3, 5), (1, 5), (4, 12)])
def test_the_recipe_that_keeps_gradients_in_states_counts_rows_more_than_once(k1: int, k2: int) -> None:
    params = parameters(MODEL)
    definition = truncated(params, k1, k2)
    np.testing.assert_allclose(forum_recipe(params, k1, k2, clear=True), definition, rtol=1e-10)
    error = np.linalg.norm(forum_recipe(params, k1, k2, clear=False) - definition) / np.linalg.norm(definition)
    assert error < 1e-12 if k1 == k2 else error > 0.02


@dataclass(frozen=True)
class InOrder:
    """Windows of 2 rows that start at these rows, `(steps, lanes)`, the same in every epoch."""

    starts: tuple[tuple[int, ...], ...]

    def grid(self, lengths: np.ndarray, rng: np.random.Generator, name: str) -> rk.Grid:
        offset = np.array(self.starts)
        step, lane = np.indices(offset.shape)

        def pieces(first: int, stop: int) -> rk.Pieces:
            here = slice(first, stop)
            s, b, at = step[here].ravel(), lane[here].ravel(), offset[here].ravel()
            return rk.Pieces(s, b, 0 * s, 0 * s, at, 0 * s + 2)

        return rk.Grid(2, 0, offset.shape[1], len(offset), pieces)


def recorded(schedule: rk.Schedule, epoch: int) -> list[Any]:
    """By step: the slots read, and `(lane, at, slot)` of what is recorded."""
    steps = []
    for batch in schedule.batches(epoch):
        lane, nth = np.nonzero(batch.slots.write >= 0)
        at, write = batch.slots.at[lane, nth], batch.slots.write[lane, nth]
        read = np.where(batch.origin == -2, batch.slots.read, -1)
        steps.append((read.tolist(), list(zip(lane.tolist(), at.tolist(), write.tolist(), strict=True))))
    return steps


def test_what_is_recorded_read_and_how_old_by_hand() -> None:
    series = rk.Sequence(np.zeros(6), np.zeros(6))
    schedule = rk.Schedule(series, InOrder(((4,), (0,), (2,))), rk.Stored())
    # slot 0 belongs to row 2, slot 1 to row 4
    assert recorded(schedule, 0) == [([-1], []), ([-1], [(0, 2, 0)]), ([0], [(0, 2, 1)])]
    assert recorded(schedule, 1) == [([1], []), ([-1], [(0, 2, 0)]), ([0], [(0, 2, 1)])]
    first, second = schedule.coverage(0), schedule.coverage(1)
    assert (first.recorded, first.age) == (1, (1, 1, 1))
    assert (second.recorded, second.age) == (2, (1, 1, 1))  # row 4: recorded in step 2 of 3, read in step 0
    overlapping = rk.Schedule(series, InOrder(((2, 1), (3, 0), (4, 1))), rk.Stored())
    # slots of rows 1 to 4; the lane counts that has read more rows before the slot's row
    assert recorded(overlapping, 0) == [
        ([-1, -1], [(0, 2, 3), (1, 1, 1), (1, 2, 2)]),
        ([2, -1], [(0, 1, 3), (1, 1, 0), (1, 2, 1)]),
        ([3, 0], [(1, 1, 1), (1, 2, 2)]),
    ]
    assert overlapping.coverage(0).age == (1, 1, 1)
    # in the second epoch rows 2 and 1 are read in step 0, recorded last in steps 2 and 1 of 3
    assert recorded(overlapping, 1)[0][0] == [1, 0]
    assert overlapping.coverage(1).age == (1, 1, 2)


def test_at_fixed_parameters_what_was_recorded_in_order_is_what_would_be_carried() -> None:
    params = parameters(MODEL)
    for splitter in (rk.Chunked(5), rk.Sliding(6, 4)):
        carried, stored = (
            epoch_gradient(MODEL, params, rk.Schedule(SERIES, splitter, policy), backend="numpy", epoch=epoch)
            for policy, epoch in ((rk.Carry(), 0), (rk.Stored(), 1))
        )
        assert carried[0] == stored[0]
        np.testing.assert_array_equal(flat(carried[1]), flat(stored[1]))


REMAT = [
    (rk.Continuation(9, lanes=2), rk.Carry()),
    (rk.Continuation(rk.Geometric(6), reweight=True), rk.Carry()),
    (rk.Continuation(4, lookback=5), rk.BurnIn(3)),
    (rk.Sliding(7, 3, lanes=2, shuffle=True), rk.Stored(burn_in=2)),
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("splitter", "policy"), REMAT, ids=str)
def test_remat_changes_no_gradient(splitter: Any, policy: Any, backend: str) -> None:
    model = rk.Chain(*MODEL.layers, initial=rk.Learned())
    schedule = rk.Schedule(SERIES, splitter, policy)
    settings = {"backend": backend, "rule": rk.SGD(0.1), "dtype": "float64", "epochs": 2, "params": parameters(model)}
    whole = rk.fit(model, schedule, **settings)
    for remat in (1, 3, "sqrt", 1000):
        run = rk.fit(model, schedule, remat=remat, **settings)
        np.testing.assert_allclose(run.history.steps["norm"], whole.history.steps["norm"], rtol=1e-12)
        np.testing.assert_allclose(flat(run.params), flat(whole.params), rtol=1e-11)
        assert run.history.steps["loss"] == pytest.approx(whole.history.steps["loss"], rel=1e-12)


@pytest.mark.parametrize(
    ("rows", "remat", "kept"),
    [(16, "sqrt", 4), (17, "sqrt", 5), (1, "sqrt", 1), (16, 15, 15), (16, 16, 0), (16, 99, 0), (16, None, 0)],
)
def test_how_many_rows_of_tape_are_kept(rows: int, remat: Any, kept: int) -> None:
    """0: the whole tape, as a piece as long as the window would be kept and computed again for nothing."""
    schedule = rk.Schedule(rk.Sequence(np.arange(100.0)), rk.Continuation(rows, lookback=3), rk.BurnIn(2))
    block = next(schedule.blocks())
    assert remat_rows(remat, block._replace(detached=block.x.shape[1] - rows)) == kept


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("where", ["at padding", "before a reset"])
def test_what_stands_there_has_no_influence_on_what_comes_after(where: str, backend: str) -> None:
    rng, engine, loss = np.random.default_rng(4), rk.backend(backend), rk.MSE()
    case = testing.random_case(rng, 3)
    block = testing.random_block(rng, case, loss, 5, testing.MECHANISMS)
    also = testing.random_settings(rng, case, block, testing.MECHANISMS)
    cut = block.detached + 2
    changed = ~block.valid
    if where == "before a reset":
        changed = np.broadcast_to(np.arange(block.x.shape[1])[:, None] < cut, block.valid.shape)
        block.reset[:, cut] = True
        block.weight[:] = block.valid & (np.arange(block.x.shape[1])[:, None] >= cut)
        block.weight[2] = 0
        block.slots.at[:] = np.maximum(block.slots.at, cut + 1)
        block.origin[block.origin >= 0] = np.maximum(block.origin[block.origin >= 0], cut + 1)
    scored = (block.weight > 0).any((1, 2))
    assert changed.any()
    assert scored.sum() >= 3
    rule_state = initial_rule_state(rk.SGD(), case.params)
    rates, results = np.full(5, 0.1), []
    for scale in (0.0, 1.0, 30.0):
        noise = [np.where(changed[..., None], scale * rng.normal(size=a.shape), 0) for a in (block.x, block.y)]
        spoilt = block._replace(x=block.x + noise[0], y=block.y + noise[1])
        given = engine.from_numpy((case.params, case.state, rule_state))
        settings = {**also, "store": engine.from_numpy(copied(also["store"]))}
        settings |= {"rule": rk.SGD(), "loss": loss, "clip": None, "learning_rates": rates}
        result = train_through(engine, case.model, *given, spoilt, **settings)
        arrays = testing.leaves(engine.to_numpy((result.params, result.state, result.store)))
        results.append([result.loss, result.norm, *arrays])
    assert ((results[0][1] > 0) == scored).all()
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def copied(tree: Any) -> Any:
    return tuple(type(entry)(*(a.copy() for a in entry)) if entry else () for entry in tree)


def chances(lengths: Any) -> np.ndarray:
    """P(L = n) for n = 0, 1, 2 ..."""
    n = np.arange(2000)
    if isinstance(lengths, rk.Uniform):
        return np.where((n >= lengths.low) & (n <= lengths.high), 1 / (lengths.high - lengths.low + 1), 0)
    return np.where(n > 0, (1 - 1 / lengths.mean) ** (n - 1.0) / lengths.mean, 0)


@pytest.mark.parametrize("lengths", [rk.Uniform(3, 7), rk.Uniform(1, 2), rk.Uniform(4, 4), rk.Geometric(5)], ids=str)
def test_lengths_are_drawn_as_they_say_and_factors_undo_the_hazard(lengths: Any) -> None:
    chance = chances(lengths)
    assert chance.sum() == pytest.approx(1)
    assert lengths.mean == pytest.approx((chance * np.arange(2000)).sum())
    schedule = rk.Schedule(rk.Sequence(np.zeros(60_000)), rk.Continuation(lengths), rk.Carry(), seed=1)
    rows = np.concatenate([k.valid.sum((1, 2)) for e in range(2) for k in schedule.blocks(e)])
    counts = np.bincount(rows, minlength=40)[:40]
    spread = 4 * np.sqrt(len(rows) * chance[:40] * (1 - chance[:40])) + 3  # and the last window of an epoch is short
    assert (np.abs(counts - len(rows) * chance[:40]) <= spread).all()
    left = chance[::-1].cumsum()[::-1]
    factors = np.array([1 / (1 - chance[n] / left[n]) if left[n + 1] > 1e-9 else 1.0 for n in range(12)])
    np.testing.assert_allclose(lengths.factors(12), factors, rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rk.Uniform(3, 2), r"Uniform expects whole numbers 1 <= low <= high, got 3 and 2"),
        (lambda: rk.Uniform(0, 2), r"Uniform expects whole numbers 1 <= low <= high, got 0 and 2"),
        (lambda: rk.Geometric(1), r"Geometric expects mean > 1 \(rows\), got 1"),
        (lambda: rk.Continuation(8, reweight=True), r"expects reweight=True with a length that is drawn, got length=8"),
        (lambda: rk.Continuation(rk.Geometric(8), lookback=2, reweight=True), r"expects lookback=0 with reweight=True"),
    ],
)
def test_lengths_and_weights_that_make_no_sense_are_refused(make: Any, message: str) -> None:
    with pytest.raises(rk.ScheduleError, match=message):
        make()


def test_reweighting_leaves_no_bias_and_plain_truncation_does() -> None:
    """A row raises the target of the next few rows and lowers it later: a cut between the two points the wrong way."""
    rows, lanes = 20, 40
    series = rk.tasks.influence_balancing(rows * lanes, size=5, positive=2)
    model = rk.Chain(rk.LSTM(1, 3), rk.Dense(3, 1))
    params = parameters(model, seed=1, remember=2.0)

    def gradient(length: Any, epoch: int = 0, reweight: bool = False) -> np.ndarray:
        schedule = rk.Schedule(series, rk.Continuation(length, lanes, reweight=reweight), rk.Carry(), seed=3)
        return flat(epoch_gradient(model, params, schedule, backend="numpy", epoch=epoch)[1])

    full = gradient(rows)
    directions = [*np.random.default_rng(0).normal(size=(4, len(full))), gradient(4) - full, full]
    directions = np.array([d / np.linalg.norm(d) for d in directions])

    def standard_errors(length: Any, reweight: bool, epochs: int = 150) -> np.ndarray:
        off = np.array([directions @ (gradient(length, epoch, reweight) - full) for epoch in range(epochs)])
        return np.abs(off.mean(0)) / (off.std(0, ddof=1) / np.sqrt(epochs))

    assert standard_errors(rk.Geometric(5), reweight=True).max() < 4
    assert standard_errors(rk.Geometric(5), reweight=False, epochs=40).max() > 12
    assert standard_errors(rk.Uniform(2, 8), reweight=False, epochs=40).max() > 12
    recurrent = slice(None, -4)  # the gradient of the dense layer needs no row before
    assert np.linalg.norm((gradient(5) - full)[recurrent]) > 0.2 * np.linalg.norm(full[recurrent])
