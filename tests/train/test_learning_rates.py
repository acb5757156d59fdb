"""Schedules of learning rates against PyTorch's own."""

import numpy as np
import pytest
import torch

import rnnkit as rk

EPOCHS, STEPS = 12, 5


def pytorch_rates(make, per_batch=False, losses=None):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1)
    scheduler = make(optimizer)
    rates = []
    for epoch in range(EPOCHS):
        for _ in range(STEPS):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if per_batch and len(rates) < EPOCHS * STEPS:
                scheduler.step()
        if losses is not None:
            scheduler.step(losses[epoch])
        elif not per_batch:
            scheduler.step()
    return rates


def our_rates(schedule, losses=()):
    return np.concatenate([0.1 * schedule.factors(e, EPOCHS, STEPS, losses[:e]) for e in range(EPOCHS)])


LR = torch.optim.lr_scheduler


@pytest.mark.parametrize(
    ("ours", "theirs", "per_batch"),
    [
        (rk.Constant(), lambda o: LR.ConstantLR(o, factor=1.0), False),
        (rk.StepDecay(3, 0.5), lambda o: LR.StepLR(o, 3, 0.5), False),
        (rk.Cosine(0.1), lambda o: LR.CosineAnnealingLR(o, EPOCHS, eta_min=0.01), False),
        (rk.OneCycle(), lambda o: LR.OneCycleLR(o, 0.1, total_steps=EPOCHS * STEPS), True),
        (
            rk.OneCycle(0.5, 10, 100),
            lambda o: LR.OneCycleLR(o, 0.1, total_steps=60, pct_start=0.5, div_factor=10, final_div_factor=100),
            True,
        ),
    ],
)
def test_rates_equal_pytorchs(ours, theirs, per_batch):
    np.testing.assert_allclose(our_rates(ours), pytorch_rates(theirs, per_batch), rtol=1e-9)


def test_plateau_equals_pytorchs():
    losses = [1.0, 0.9, 0.9, 0.9, 0.9, 0.8, 0.85, 0.8, 0.79999, 0.9, 0.9, 0.9]
    theirs = pytorch_rates(lambda o: LR.ReduceLROnPlateau(o, factor=0.5, patience=2), losses=losses)
    ours = our_rates(rk.Plateau(0.5, patience=2), losses)
    np.testing.assert_allclose(ours, theirs)
    assert len(set(ours)) > 2


def test_fit_follows_the_schedule():
    series = rk.Sequence(np.sin(np.arange(50.0)))
    schedule = rk.Schedule(series, rk.Chunked(8), rk.Reset())
    run = rk.fit(
        rk.Chain(rk.LSTM(1, 2), rk.Dense(2, 1)),
        schedule,
        backend="numpy",
        epochs=3,
        learning_rate=rk.StepDecay(1, 0.1),
    )
    assert run.history.steps["learning_rate"] == pytest.approx([1e-3] * 7 + [1e-4] * 7 + [1e-5] * 7)


@pytest.mark.parametrize(
    ("way", "rows"),
    [(rk.OneByOne(), 1000), (rk.OneByOne(), 32), (rk.RoundRobin(open_at_once=1), 32), (rk.SideBySide(1), 32)],
)
def test_a_curriculum_goes_on_with_the_rates_from_turn_to_turn_and_block_to_block(way, rows):
    """A cycle is of the whole run: no turn, and no block of a turn, begins it anew."""
    waves = {name: np.sin(np.arange(length) / 5) for name, length in (("a", 100), ("b", 61), ("c", 40))}
    factor = {"a": 1.0, "b": 0.5, "c": 2.0} if not isinstance(way, rk.SideBySide) else dict.fromkeys(waves, 1.0)
    sets = {name: rk.DataSet(rk.Sequence(x), learning_rate=factor[name]) for name, x in waves.items()}
    phases = (rk.Phase(["a", "b"]), rk.Phase(learning_rate=3.0))
    course = rk.Curriculum(sets, rk.Continuation(length=16), rk.Carry(), interleave=way, phases=phases)
    cycle = rk.OneCycle()
    settings = {"backend": "numpy", "rule": rk.SGD(0.1), "learning_rate": cycle, "block_rows": rows}
    run = rk.fit(rk.Chain(rk.Dense(1, 1)), course, **settings)
    wanted = []
    for epoch, names in enumerate(("ab", "abc")):
        turns = course.turns(epoch)
        assert [turn.names for turn in turns] == [(name,) for name in names]
        own = np.concatenate([np.full(turn.steps, factor[turn.names[0]] * (1, 3)[epoch]) for turn in turns])
        wanted.append(0.1 * own * cycle.factors(epoch, 2, len(own), []))
    np.testing.assert_allclose(run.history.steps["learning_rate"], np.concatenate(wanted), rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rk.StepDecay(0), "StepDecay expects every >= 1, got 0"),
        (lambda: rk.Cosine(2), "Cosine expects floor between 0 and 1, got 2"),
        (lambda: rk.OneCycle(1.5), "OneCycle expects rise between 0 and 1, got 1.5"),
        (lambda: rk.Plateau(2), "Plateau expects factor between 0 and 1, got 2"),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises(rk.ModelError, match=message):
        make()
