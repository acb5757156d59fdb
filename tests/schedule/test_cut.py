"""Samples that are scored at their last row: cut into windows, and whole."""

from typing import Any

import numpy as np
import pytest

import rnnkit as rk
from rnnkit.cli.commands import main
from rnnkit.schedule.cut import lost

ROWS = np.array([7, 26, 12, 10, 19, 8, 25, 11, 9, 20, 14, 13])
MODEL = rk.Chain(rk.LSTM(1, 3), rk.Dense(3, 2))


def panel(rows: Any = ROWS, name: str = "panel") -> rk.Sequence:
    rng = np.random.default_rng(0)
    return rk.Sequence.panel([rng.standard_normal(n) for n in rows], np.arange(len(rows)) % 2, name=name)


def train(schedule):
    return rk.fit(MODEL, schedule, backend="numpy", loss="cross_entropy", epochs=1)


def seen_by_the_loss(schedule: rk.Schedule) -> dict[int, int]:
    """For each sample the rows that a change of x shows in the output of its last row: slow and obvious."""
    found = {}
    for batch in schedule.batches():
        scored = np.argwhere(batch.weight > 0)
        for t, lane in scored:
            first = t
            while first > 0 and batch.valid[first - 1, lane] and not batch.reset[first, lane]:
                first -= 1
            found[int(batch.segment[lane])] = int(batch.rows[t, lane] - batch.rows[first, lane] + 1)
    return found


@pytest.mark.parametrize(
    ("splitter", "policy"),
    [
        (rk.Chunked(10, lanes=4, shuffle=True), rk.Reset()),
        (rk.Chunked(10), rk.Reset()),
        (rk.Sliding(10, stride=3, lanes=2), rk.Reset()),
        (rk.Chunked(10), rk.BurnIn(4)),
        (rk.Chunked(10, lanes=3, shuffle=True), rk.BurnIn(4, in_gradient=True)),
    ],
)
def test_rows_that_never_reach_the_loss_are_told(splitter, policy):
    schedule = rk.Schedule(panel(), splitter, policy)
    (found,) = map(lost, schedule.panels())
    assert found.rows == ROWS.sum() - sum(seen_by_the_loss(schedule).values()) > 0
    message = rf"cuts {found.cut} of 12 samples of 'panel'.*{found.rows / ROWS.sum():.1%} of all rows.*up to 26 rows"
    with pytest.warns(rk.RnnkitWarning, match=message):
        train(schedule)


@pytest.mark.parametrize("policy", [rk.Reset(), rk.Carry(reset_every=1)])
@pytest.mark.parametrize("lookback", [0, 5])
def test_strips_cut_samples_too(policy, lookback):
    """Every one of the pieces of advice in the message is silent."""
    with pytest.warns(rk.RnnkitWarning, match=r"use Chunked\(length='segment'\).*or Carry\(\), which hands"):
        train(rk.Schedule(panel(), rk.Continuation(5, lanes=2, lookback=lookback), policy))
    train(rk.Schedule(panel(), rk.Continuation(5, lanes=2, lookback=lookback), rk.Carry()))
    train(rk.Schedule(panel(), rk.Chunked("segment"), rk.Reset()))


@pytest.mark.parametrize(
    ("splitter", "policy"),
    [
        (rk.Chunked(10), rk.Carry()),
        (rk.Chunked(10), rk.Carry(reset_probability=0.5)),
        (rk.Continuation(10, lanes=3), rk.Carry()),
        (rk.Chunked(10, lanes=3, shuffle=True), rk.Stored()),
        (rk.Chunked(10, lanes=3), rk.BurnIn(20)),
        (rk.Chunked(26, lanes=3), rk.Reset()),
    ],
)
def test_samples_whose_state_has_seen_all_are_not(splitter, policy):
    schedule = rk.Schedule(panel(), splitter, policy)
    assert [(each.cut, each.rows, each.unscored) for each in map(lost, schedule.panels())] == [(0, 0, 0)]
    train(schedule)


def test_a_series_that_is_scored_everywhere_is_not():
    train(rk.Schedule(rk.Sequence(np.arange(90.0), np.arange(90) % 2), rk.Chunked(10), rk.Reset()))


def test_a_reset_inside_of_a_sample_cuts_it_in_the_strip_that_begins_with_it_too():
    for policy, found in ((rk.Carry(reset_every=2), (1, 20, 0)), (rk.Carry(reset_every=1), (2, 25 + 5, 0))):
        (cut,) = map(lost, rk.Schedule(panel([30, 9]), rk.Continuation(5), policy).panels())
        assert cut == found


@pytest.mark.parametrize("policy", [rk.Carry(), rk.Stored()], ids=str)
def test_samples_without_their_last_row_are_told(policy):
    schedule = rk.Schedule(panel(), rk.Chunked(7, tail="drop"), policy)
    with pytest.warns(rk.RnnkitWarning, match=r"the last row of 10 of 12 samples of 'panel'.*use tail='keep'"):
        train(schedule)
    train(rk.Schedule(panel(), rk.Chunked(7, tail="keep"), rk.Carry()))


@pytest.mark.parametrize("interleave", [rk.OneByOne(), rk.RoundRobin(), rk.SideBySide()])
def test_many_data_sets_are_told_once(interleave):
    sets = {"a": panel(ROWS[:6]), "b": panel(ROWS[6:]), "c": rk.Sequence(np.arange(30.0), np.arange(30) % 2)}
    if isinstance(interleave, rk.SideBySide):
        sets.pop("c")
    with pytest.warns(rk.RnnkitWarning, match=r"of 12 samples of 'a.*never reach the loss") as caught:
        train(rk.Curriculum(sets, rk.Chunked(10, lanes=2), rk.Reset(), interleave=interleave))
    assert len(caught) == 1
    train(rk.Curriculum(sets, rk.Chunked("segment", lanes=2), rk.Reset(), interleave=interleave))


@pytest.mark.parametrize("shuffle", [False, True])
def test_whole_segments_are_windows_as_long_as_the_longest(shuffle):
    schedule = rk.Schedule(panel(), rk.Chunked("segment", lanes=5, shuffle=shuffle), rk.Reset())
    alike = rk.Schedule(panel(), rk.Chunked(26, lanes=5, shuffle=shuffle), rk.Reset())
    for ours, other in zip(schedule.batches(), alike.batches(), strict=True):
        for one, two in zip(ours, other, strict=True):
            np.testing.assert_array_equal(one, two)
    coverage = schedule.coverage()
    assert (coverage.scored_once, coverage.length, coverage.steps) == (12, 26, 3)
    assert coverage.gradient_reach == coverage.state_reach == (6, 11.5, 25)
    assert "Chunked(length='segment', lanes=5" in schedule.describe()
    assert eval(repr(schedule.splitter), {"Chunked": rk.Chunked}) == schedule.splitter


def test_each_data_set_has_its_own_longest_segment():
    sets = {"a": panel([4, 6]), "b": panel([30, 9])}
    shapes = [batch.x.shape for batch in rk.Curriculum(sets, rk.Chunked("segment", lanes=2), rk.Reset()).batches()]
    assert shapes == [(6, 2, 1), (30, 2, 1)]


def test_other_splitters_say_whose_word_it_is():
    for make in (rk.Sliding, rk.Continuation):
        with pytest.raises(rk.ScheduleError, match=r"length in rows, got 'segment'.*Chunked\(length='segment'\)"):
            make("segment")  # pyright: ignore[reportArgumentType]
    with pytest.raises(rk.ScheduleError, match=r"Chunked expects length to be a whole number >= 1 or 'segment', got"):
        rk.Chunked("segments")  # type: ignore[arg-type]
    with pytest.raises(rk.ScheduleError, match=r"expects tail='keep', got 'drop'"):
        rk.Chunked("segment", tail="drop")


CONFIG = """\
name = "forms"
backend = "numpy"
out = "run"
splitter = {SPLITTER}
policy = "Reset"
[data]
path = "a.csv"
series_id = "id"
features = ["x"]
target = "kind"
horizon = 0
score = "last"
[model]
layers = [{type = "LSTM", hidden = 2}, {type = "Dense", outputs = 2}]
[train]
epochs = 1
loss = "cross_entropy"
"""


def test_plan_tells_it_of_a_config(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = (f"{place},{t * 0.5},{place % 2}\n" for place, n in enumerate(ROWS) for t in range(n))
    (tmp_path / "a.csv").write_text("id,x,kind\n" + "".join(rows))
    for splitter in ('{type = "Chunked", length = 5}', '{type = "Chunked", length = "segment"}'):
        (tmp_path / "a.toml").write_text(CONFIG.replace("{SPLITTER}", splitter))
        assert main(["plan", "a.toml"]) == 0
        told = capsys.readouterr()
        advised = 'never reach the loss; use {type = "Chunked", length = "segment"}' in told.err
        assert advised is ("segment" not in splitter)
    assert "Chunked(length='segment'" in told.out
    (tmp_path / "a.toml").write_text(CONFIG.replace("{SPLITTER}", '{type = "Sliding", length = "segment"}'))
    assert main(["plan", "a.toml"]) == 2
    assert "splitter.length: expects a whole number, got 'segment'" in capsys.readouterr().err
