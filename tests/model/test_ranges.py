"""Models whose last layer cannot give what the loss or the targets want."""

import re
import textwrap
from pathlib import Path

import numpy as np
import pytest

import rnnkit as rk
from builders.files import write_csv
from rnnkit.cli.commands import main

LAST = rk.LSTM(1, 3)
WAVE = np.sin(np.arange(240) / 5)


def chain(activation: str, outputs: int = 1) -> rk.Chain:
    return rk.Chain(LAST, rk.Dense(3, outputs, activation))  # type: ignore[arg-type]


def train(model, series, loss="mse", **more):
    schedule = rk.Schedule(series, rk.Continuation(16), rk.Carry())
    return rk.fit(model, schedule, backend="numpy", loss=loss, epochs=1, **more)


def labelled() -> rk.Sequence:
    return rk.Sequence(WAVE, (WAVE > 0).astype(int))


def standard(values: np.ndarray) -> rk.Sequence:
    series = rk.Sequence(values)
    return series.with_scaler(rk.Standard.fit(series))


@pytest.mark.parametrize("activation", ["sigmoid", "relu", "tanh"])
@pytest.mark.parametrize(("loss", "outputs"), [("binary_cross_entropy", 1), ("cross_entropy", 2)])
def test_an_entropy_wants_logits(activation, loss, outputs):
    """Following the advice trains."""
    with pytest.raises(rk.ModelError, match=rf"{loss} expects logits.*last activation '{activation}' gives") as refused:
        train(chain(activation, outputs), labelled(), loss)
    advised = re.search(r"let it be linear: (Dense\(.*\))", str(refused.value))
    assert advised
    assert train(rk.Chain(LAST, eval(advised[1], {"Dense": rk.Dense})), labelled(), loss)


def test_an_entropy_wants_logits_of_a_recurrent_layer_too():
    with pytest.raises(rk.ModelError, match=r"LSTM\(inputs=1, hidden=2\) as the last layer gives -1 to 1") as refused:
        train(rk.Chain(rk.LSTM(1, 2)), labelled(), "cross_entropy")
    assert "let a linear layer follow: Dense(2, 2)" in str(refused.value)
    assert train(rk.Chain(rk.LSTM(1, 2), rk.Dense(2, 2)), labelled(), "cross_entropy")


def test_an_entropy_wants_logits_of_every_head_and_in_a_comparison():
    sets = [rk.DataSet(labelled(), name, head=name) for name in ("a", "b")]
    model = rk.Chain(LAST, rk.Heads(a=rk.Dense(3, 2), b=rk.Chain(rk.Dense(3, 4, "tanh"), rk.Dense(4, 2, "sigmoid"))))
    with pytest.raises(rk.ModelError, match=r"cross_entropy expects logits.*'sigmoid'"):
        rk.fit(model, rk.Curriculum(sets, rk.Continuation(16)), backend="numpy", loss="cross_entropy")
    with pytest.raises(rk.ModelError, match=r"cross_entropy expects logits.*'relu'"):
        rk.compare(
            chain("relu", 2), labelled().split(), splitters=[rk.Continuation(16)], backends=["numpy"],
            loss="cross_entropy", jobs=1,
        )  # fmt: skip


@pytest.mark.parametrize(("activation", "reach"), [("sigmoid", "0 to 1"), ("relu", "0 and more"), ("tanh", "-1 to 1")])
@pytest.mark.parametrize("scaled", [True, False])
def test_targets_out_of_reach_are_refused(activation, reach, scaled):
    """Both ranges are named; each of the three things to do trains."""
    values = 40 + 10 * WAVE if scaled else 3 * WAVE
    series = standard(values) if scaled else rk.Sequence(values)
    with pytest.raises(rk.ModelError, match=rf"'{activation}' gives {reach}, but .* % of the") as refused:
        train(chain(activation), series)
    message = str(refused.value)
    assert ("scaled training targets of 'series'" in message) is scaled
    least, most = (float(n) for n in re.findall(r"run from (\S+) to (\S+),", message)[0])
    y = series.read_y(0, len(series), np.float64)
    assert least == pytest.approx(y.min(), rel=1e-3)
    assert most == pytest.approx(y.max(), rel=1e-3)
    advised = re.search(r"with_scaler\((rk.Standard\(.*?\]\))\)", message)
    assert advised
    assert train(chain(activation), series.with_scaler(eval(advised[1], {"rk": rk, "scaler": series.scaler})))
    assert train(chain("identity"), series)
    assert train(chain(activation), series, check_range=False)


def test_a_recurrent_layer_reaches_from_minus_one_to_one():
    with pytest.raises(rk.ModelError, match=r"hidden=1\) as the last layer gives -1 to 1, but .* let a linear layer"):
        train(rk.Chain(rk.LSTM(1, 1)), standard(WAVE))
    assert train(rk.Chain(rk.LSTM(1, 1)), rk.Sequence(WAVE))


@pytest.mark.parametrize("outside", [1, 4, 5])
def test_one_in_a_hundred_is_told_and_trained(outside):
    """Of 400 targets, so many beyond."""
    values = np.resize(np.linspace(0, 1, 7), 401)
    values[np.arange(outside) * 50 + 7] = 3.5
    series = rk.Sequence(values)
    if outside == 5:
        with pytest.raises(rk.ModelError, match=r"but 1.25 % of the training targets"):
            train(chain("sigmoid"), series)
        return
    with pytest.warns(rk.RnnkitWarning, match=rf"{outside / 4:g} % of the .* the farthest at 3.5;.*check_range=False"):
        train(chain("sigmoid"), series)
    assert train(chain("sigmoid"), series, check_range=False)


def test_rows_that_do_not_count_are_not_asked():
    """Of a panel that is scored at its last rows, those alone; of a series, no row after its end."""
    samples = np.full((6, 5, 1), 9.0)
    targets = np.where(np.arange(5) == 4, 0.5, 9.0)[:, None] * np.linspace(0.8, 1, 6)[:, None, None]
    panel = rk.Sequence.panel(samples, targets, horizon=0, score="last")
    schedule = rk.Schedule(panel, rk.Chunked(5), rk.Reset())
    assert rk.fit(chain("sigmoid"), schedule, backend="numpy", epochs=1)
    assert train(chain("relu"), rk.Sequence(np.append(np.ones(64), -1.0), np.linspace(0.5, 1, 65), horizon=0))


def test_each_data_set_is_asked_through_its_own_scaler_and_head():
    sets = [
        rk.DataSet(rk.Sequence(5 + WAVE), "shifted", head="bounded", scaler=None),
        rk.DataSet(rk.Sequence(5 + WAVE), "scaled", head="bounded"),
        rk.DataSet(rk.Sequence(5 + WAVE), "free", head="free"),
    ]
    model = rk.Chain(LAST, rk.Heads(bounded=rk.Dense(3, 1, "relu"), free=rk.Dense(3, 1)))

    def go(chosen, **more):
        return rk.fit(model, rk.Curriculum(chosen, rk.Continuation(16)), backend="numpy", epochs=1, **more)

    with pytest.raises(rk.ModelError, match=r"'relu' gives 0 and more, but .* scaled training targets of 'scaled'"):
        go(sets)
    assert go([sets[0], sets[2]])
    assert go(sets, check_range=False)


def test_a_comparison_asks_once():
    parts = standard(WAVE).split()
    settings = {"splitters": [rk.Continuation(16)], "backends": ["numpy"], "equal": rk.Equal(rows=64), "jobs": 1}
    with pytest.raises(rk.ModelError, match=r"'relu' gives 0 and more"):
        rk.compare(chain("relu"), parts, **settings)
    found = rk.compare(chain("relu"), parts, **settings, check_range=False)
    assert {row["status"] for row in found.rows} == {"done"}


def test_check_range_is_true_or_false():
    with pytest.raises(rk.ModelError, match=r"check_range to be True or False, got 'no'; write check_range=False"):
        train(chain("identity"), rk.Sequence(WAVE), check_range="no")


CONFIG = """\
name = "taxi"
backend = "numpy"
out = "run"
[data]
path = "a.csv"
{data}
[model]
layers = [
    {{type = "LSTM", hidden = 2}},
    {{type = "Dense", activation = "{activation}"}},
]
[train]
epochs = 1
loss = "{loss}"
"""

MANY = """\
name = "servers"
backend = "numpy"
out = "run"
[[data]]
path = "a.csv"
head = "up"
[[data]]
path = "b.csv"
head = "down"
[model]
layers = [{type = "LSTM", hidden = 2}]
[model.heads.up]
outputs = 1
[model.heads.down]
layers = [
    {outputs = 2},
    {outputs = 1, activation = "relu"},
]
[train]
epochs = 1
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        write_csv(tmp_path / f"{name}.csv", value=5 + WAVE)
    return tmp_path


def test_a_config_is_refused_with_path_and_line(home, capsys):
    (home / "a.toml").write_text(CONFIG.format(activation="relu", loss="mse", data=""))
    for command in ("train", "plan"):
        assert main([command, "a.toml"]) == 2
        told = capsys.readouterr().err
        assert "line 10, model.layers.1.activation: the last activation 'relu' gives 0 and more, but" in told
    assert main(["train", "a.toml", "--train.check_range", "false"]) == 0
    assert main(["plan", "a.toml", "--data.scale", "false"]) == 0
    assert capsys.readouterr().err == ""
    (home / "b.toml").write_text(CONFIG.format(activation="sigmoid", loss="binary_cross_entropy", data=""))
    assert main(["train", "b.toml"]) == 2
    told = capsys.readouterr().err
    assert "line 10, model.layers.1.activation: the loss binary_cross_entropy expects logits" in told


def test_a_config_with_heads_is_refused_with_path_and_line(home, capsys):
    (home / "many.toml").write_text(MANY)
    assert main(["train", "many.toml"]) == 2
    told = capsys.readouterr().err
    assert "line 17, model.heads.down.layers.1.activation: the last activation 'relu' gives 0 and more, but" in told
    assert "scaled training targets of 'b' lie outside" in told
    assert main(["plan", "many.toml", "--train.check_range", "false"]) == 0


def test_a_study_is_refused_with_path_and_line(home, capsys):
    text = textwrap.dedent("""\
        backends = ["numpy"]
        splitters = ["Continuation"]
        policies = ["Carry"]
        """).replace('"Continuation"', '{type = "Continuation", length = 16}')
    body = CONFIG.format(activation="tanh", loss="mse", data="").replace('backend = "numpy"\n', text)
    (home / "study.toml").write_text(body)
    assert main(["compare", "study.toml", "--jobs", "1"]) == 2
    assert "model.layers.1.activation: the last activation 'tanh' gives -1 to 1" in capsys.readouterr().err
