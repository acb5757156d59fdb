"""Arguments of the wrong kind, and what messages advise: names that are near, extras that exist."""

import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rnnkit as rk
from rnnkit.cli.commands import main
from rnnkit.errors import did_you_mean, did_you_mean_file

ROOT = Path(__file__).parent.parent
torch = pytest.importorskip("torch")

SERIES = rk.Sequence(np.sin(np.arange(60) / 5))
SCHEDULE = rk.Schedule(SERIES, rk.Continuation(8), rk.Carry())
MODEL = rk.Chain(rk.LSTM(1, 2), rk.Dense(2, 1))
PARAMS, STATE = rk.setup(MODEL)

WRONG = [None, "abc", {"a": 1}, [1, 2], float("nan"), -1, 10**30, torch.ones(2, requires_grad=True), object()]
"""What no argument below may be."""


@pytest.fixture(scope="module")
def run() -> rk.Run:
    return rk.fit(MODEL, SCHEDULE, backend="numpy", epochs=1)


def fit(**changes: Any) -> rk.Run:
    return rk.fit(MODEL, SCHEDULE, **{"backend": "numpy", "epochs": 1} | changes)


NUMBERS = {
    "weight_decay": lambda _, v: rk.AdamW(weight_decay=v),
    "learning_rate": lambda _, v: rk.Adam(v),
    "momentum": lambda _, v: rk.SGD(momentum=v),
    "nesterov": lambda _, v: rk.SGD(momentum=0.5, nesterov=v),
    "alpha": lambda _, v: rk.RMSProp(alpha=v),
    "maximum": lambda _, v: rk.ClipNorm(v),
    "maximum ": lambda _, v: rk.ClipValue(v),
    "delta": lambda _, v: rk.Huber(v),
    "patience": lambda _, v: rk.EarlyStopping(v),
    "every": lambda _, v: rk.StepDecay(v),
    "factor": lambda _, v: rk.Plateau(v),
    "floor": lambda _, v: rk.Cosine(v),
    "rise": lambda _, v: rk.OneCycle(v),
    "scaler": lambda _, v: SERIES.with_scaler(v),
    "x_mean": lambda _, v: rk.Standard(v, [1.0]),
    "seed": lambda _, v: rk.setup(MODEL, seed=v),
    "lanes": lambda _, v: rk.setup(MODEL, lanes=v),
    "seed of fit": lambda _, v: fit(seed=v),
    "check_range": lambda _, v: fit(check_range=v),
    "rule_state": lambda _, v: fit(rule_state=v),
    "params": lambda _, v: fit(params=v),
    "a parameter": lambda _, v: fit(params=PARAMS | {"1.bias": v}),
    "warm": lambda run, v: rk.predict(run, SERIES, warm=v),
    "period": lambda run, v: rk.evaluate(run, SERIES, period=v),
    "steps": lambda run, v: rk.forecast(run, SERIES, steps=v),
    "lanes of a stream": lambda run, v: rk.Stream(run, lanes=v),
    "a row": lambda run, v: rk.Stream(run).step(v),
    "a run": lambda _, v: rk.Stream(v),
    "state": lambda run, v: setattr(rk.Stream(run), "state", v),
    "state of forward": lambda _, v: rk.backend("numpy").forward(MODEL, PARAMS, np.zeros((2, 1, 1), "float32"), v),
    "an entry of the state": lambda _, v: rk.backend("numpy").forward(
        MODEL, PARAMS, np.zeros((2, 1, 1), "float32"), (v, ())
    ),
    "options": lambda _, v: rk.DataSet("a.csv", options=v),
    "names": lambda _, v: rk.Phase(v),
    "folder": lambda _, v: rk.load(v),
    "moments": lambda _, v: rk.initial_rule_state(rk.Adam(), v),
    "dtype": lambda _, v: rk.summary(MODEL, v),
    "splitter seed": lambda _, v: rk.Schedule(SERIES, rk.Continuation(8), rk.Carry(), v),
}
FITTING = {  # what is right for some of them
    "scaler": (None,), "params": (None,), "rule_state": (None,), "period": (None,), "lanes": (),
    "names": (None,), "moments": ({"a": 1},),
    "seed": (10**30,), "splitter seed": (10**30,), "seed of fit": (10**30,), "weight_decay": (10**30,),
    "learning_rate": (10**30,), "maximum": (10**30,), "maximum ": (10**30,), "delta": (10**30,), "every": (10**30,),
    "patience": (10**30,),
}  # fmt: skip


@pytest.mark.parametrize("name", NUMBERS)
def test_a_wrong_kind_is_refused_in_words(run, name):
    for value in WRONG:
        if any(value is fitting or value == fitting for fitting in FITTING.get(name, ()) if not hasattr(value, "dim")):
            continue
        with pytest.raises(rk.RnnkitError, match=r"expects|takes|found|has no|cannot"):
            NUMBERS[name](run, value)


def test_the_advice_of_a_wrong_kind_works():
    for make, value in ((rk.AdamW, {"weight_decay": {"0": 1}}), (rk.Adam, {"learning_rate": {}})):
        with pytest.raises(rk.ModelError, match="to be a number") as refused:
            make(**value)
        assert eval(str(refused.value).partition("; write ")[2], {"AdamW": rk.AdamW, "Adam": rk.Adam})


def test_a_tensor_that_requires_grad_is_detached(run):
    x = torch.linspace(0, 1, 60, requires_grad=True)
    for make in (
        rk.Sequence,
        lambda x: rk.Stream(run).step(x[:1, None]),
        lambda x: fit(params=PARAMS | {"1.bias": x[:1]}),
    ):
        with pytest.raises(rk.RnnkitError, match=r"requires grad; write x\.detach\(\)"):
            make(x)
        make(x.detach())


class MinMaxScaler:
    """Like scikit-learn's."""


def test_the_scaler_of_another_library_is_refused_and_its_numbers_taken():
    with pytest.raises(rk.DataError, match=r"a Standard or None.* got MinMaxScaler; write rk\.Standard\.fit"):
        SERIES.with_scaler(MinMaxScaler())  # type: ignore[arg-type]
    scaled = SERIES.with_scaler(rk.Standard([-1.0], [2.0], [-1.0], [2.0])).read_x(0, 59)
    assert 0 <= scaled.min() < scaled.max() <= 1


def test_an_empty_column_is_left_out_and_not_every_row(tmp_path):
    (tmp_path / "a.csv").write_text("a,b,c\n" + "".join(f"{n},,{n}\n" for n in range(9)))
    x = np.column_stack([np.arange(9.0), np.full(9, np.nan)])
    with pytest.raises(rk.DataError, match=r"as in every row of column 1 of x; leave that column out"):
        rk.Sequence(x, target=0)
    assert rk.Sequence(x[:, :1])
    x[3, 1] = 1.0
    with pytest.raises(rk.DataError, match=r"missing='cut'"):
        rk.Sequence(x, target=0)


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("tahn", ["identity", "tanh", "relu"], "tanh"),
        ("mes", ["mse", "mae"], "mse"),
        ("Vlaue", ["time", "value"], "value"),
        ("msee", ["mse", "huber"], "mse"),
        ("sales", ["value", "time"], None),
        ("temp", ["time", "id"], None),
        ("price", ["time", "power"], None),
    ],
)
def test_only_a_slip_is_asked_for(word, known, meant):
    assert did_you_mean(word, known) == (f"; did you mean {meant!r}?" if meant else "")


def test_files_are_near_that_have_near_names_before_their_suffix(tmp_path, monkeypatch, capsys):
    assert did_you_mean_file("nyc_taxy.toml", ["nyc_taxi.toml", "b.toml"]) == "; did you mean 'nyc_taxi.toml'?"
    assert did_you_mean_file("a.toml", ["b.toml", "xyz.toml"]) == ""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "b.toml").write_text("")
    assert main(["train", "a.toml"]) == 2
    assert "did you mean" not in capsys.readouterr().err


def test_extras_that_messages_name_exist():
    known = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    texts = [*(ROOT / "rnnkit").rglob("*.py"), *(ROOT / "backends").rglob("*.py"), *ROOT.glob("*.md")]
    named = {
        extra
        for file in texts
        for match in re.finditer(r"pip install[^\n]*?(?:rnnkit|\.)\[([\w,-]+)\]", file.read_text())
        for extra in match[1].split(",")
    }
    assert {"torch", "parquet", "study"} <= named
    assert named <= known


@pytest.mark.parametrize(
    ("name", "missing", "advised"),
    [("numba", "numba", "pip install numba"), ("torch", "torch", r"pip install 'rnnkit\[torch\]'")],
)
def test_a_backend_without_its_library_names_an_extra_only_where_there_is_one(name, missing, advised, monkeypatch):
    from importlib.metadata import entry_points

    def load(self: Any) -> Any:
        raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)

    kinds = {type(point) for point in entry_points(group="rnnkit.backends")}  # a library may bring a class of its own
    for kind in kinds:
        monkeypatch.setattr(kind, "load", load)
    with pytest.raises(rk.BackendError, match=rf"needs {missing!r}, which is not installed; {advised}$"):
        rk.backend(name)
