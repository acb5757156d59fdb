"""Finding, loading and checking backends; what an import loads."""

import json
import pickle
import subprocess
import sys
from importlib.metadata import EntryPoint
from types import SimpleNamespace

import numpy as np
import pytest

import rnnkit as rk
from rnnkit.backend import PARTS, Backend, check_parameters


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_import_loads_little_but_numpy_and_what_describes_a_model():
    code = "import sys, json, numpy; n = set(sys.modules); import rnnkit; print(json.dumps(list(set(sys.modules) - n)))"
    loaded = {name for name in json.loads(run_python(code)) if name.partition(".")[0] not in sys.stdlib_module_names}
    ours = {".".join(name.split(".")[:2]) for name in loaded if name.partition(".")[0] == "rnnkit"}
    assert ours == {"rnnkit", *(f"rnnkit.{name}" for name in ("backend", "checks", "errors", "memory", "model"))}
    theirs = {name.partition(".")[0] for name in loaded} - {"rnnkit", "numpy"}
    assert {name for name in theirs if "cython" not in name} == set()  # numpy.random brings what Cython needs


def test_nothing_heavy_is_loaded_before_a_file_is_read_or_a_net_is_trained():
    code = (
        "import sys, rnnkit as rk; [getattr(rk, name) for name in rk.__all__ if name != 'plots']; "
        "heavy = ('numba', 'torch', 'pydantic', 'matplotlib', 'pyarrow', 'polars', 'pandas', '_duckdb', 'rich', "
        "'safetensors'); print([name for name in heavy if name in sys.modules])"
    )
    assert run_python(code).strip() == "[]"


def test_the_numba_backend_does_not_need_torch():
    code = "import sys; sys.modules['torch'] = None; import rnnkit as rk; print(rk.backend('numba').name)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "numba"


def test_public_names_are_there_and_sorted_out():
    for name in rk.__all__:
        assert getattr(rk, name) is not None
    assert dir(rk) == sorted(set(rk.__all__))
    assert len(rk.__all__) == len(set(rk.__all__))
    assert 55 <= len(rk.__all__) <= 70  # what most people use; the rest stands in namespaces
    wanted = "Sequence Chain LSTM Dense Schedule Sliding Chunked Continuation Reset Carry Adam fit predict evaluate"
    assert set(wanted.split()) | {"forecast", "Stream", "setup", "backend", "RnnkitError"} <= set(rk.__all__)


def test_every_public_name_that_comes_late_is_listed_and_none_hides_another():
    code = """
import rnnkit as rk
from rnnkit import *
late = {**rk.LATE, **rk.MODULES}
for name in rk.LATE:
    assert name in rk.__all__ or any(name in vars(getattr(rk, space)) for space in rk.MODULES), name
assert set(rk.__all__) <= {*rk.LATE, *rk.MODULES, *vars(rk)}
assert not set(rk.LATE) & set(rk.MODULES)
assert not {name for name in late if name in vars(rk) and vars(rk)[name] is not getattr(rk, name)}
for name in rk.__all__:
    assert getattr(rk, name) is globals()[name], name
assert rk.backend("numpy").name == "numpy" and callable(backend)
"""
    run_python(code)


def test_each_module_that_comes_late_can_be_the_first():
    code = """
import sys
from importlib import import_module
import rnnkit
for module in sorted({*rnnkit.LATE.values(), *rnnkit.MODULES.values()}):
    for name in [name for name in sys.modules if name.partition(".")[0] == "rnnkit"]:
        del sys.modules[name]
    import_module(module)
"""
    run_python(code)


def test_a_name_that_is_not_there_is_told_as_python_does():
    with pytest.raises(AttributeError, match="module 'rnnkit' has no attribute 'LSTN'"):
        rk.LSTN  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'LSTN' from 'rnnkit'"):
        exec("from rnnkit import LSTN")


def test_values_of_late_classes_are_pickled():
    policy = rk.Carry(reset_every=3)
    assert pickle.loads(pickle.dumps((policy, rk.Sliding, rk.fit))) == (policy, rk.Sliding, rk.fit)


def points(*declared):
    return lambda group: [EntryPoint(name, value, group) for name, value in declared]


def test_unknown_backend_lists_the_installed_ones():
    with pytest.raises(
        rk.BackendError,
        match=r"installed backends \(numba, numpy, torch\), got 'nunba'; did you mean 'numba'\?",
    ) as e:
        rk.backend("nunba")
    assert isinstance(e.value, LookupError)


def test_backend_declared_twice(monkeypatch):
    monkeypatch.setattr("importlib.metadata.entry_points", points(("numpy", "rnnkit_numpy"), ("numpy", "other.module")))
    with pytest.raises(
        rk.BackendError, match=r"'numpy' is declared more than once: other.module, rnnkit_numpy; uninstall"
    ):
        rk.backend("numpy")


def test_the_same_declaration_found_twice_is_one(monkeypatch):
    monkeypatch.setattr("importlib.metadata.entry_points", points(("numpy", "rnnkit_numpy"), ("numpy", "rnnkit_numpy")))
    assert rk.backend("numpy").name == "numpy"


def test_backend_whose_library_is_missing(monkeypatch):
    code = (
        "import sys; sys.modules['torch'] = None; import rnnkit as rk\n"
        "try: rk.backend('torch')\n"
        "except rk.BackendError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "backend 'torch' needs 'torch', which is not installed; pip install 'rnnkit[torch]'"


def test_what_is_no_backend_is_refused():
    without = "without forward, backward, update, from_numpy, to_numpy; give the name"
    with pytest.raises(rk.BackendError, match=f"expects a module with name, forward, .* {without}"):
        rk.backend(SimpleNamespace(name="half"))


def test_what_a_backend_must_have_is_what_the_protocol_names():
    assert set(PARTS) == {name for name in vars(Backend) if not name.startswith("_")}


def test_options_of_a_backend_without_options():
    with pytest.raises(rk.BackendError, match="'numpy' takes no options, got device; leave them out"):
        rk.backend("numpy", device="cuda")


def forward(**changes):
    model = rk.Chain(rk.LSTM(2, 3), rk.Dense(3, 1))
    params, state = rk.setup(model, lanes=4, dtype="float64")
    arguments = {"params": params, "x": np.zeros((5, 4, 2)), "state": state, "reset": None, "valid": None}
    return rk.backend("numpy").forward(model, **arguments | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"x": np.zeros((5, 4, 3))},
            r"expects x of shape \(T, B, 2\) .*, got \(5, 4, 3\); arrays are time-major",
        ),
        ({"x": np.zeros((5, 4))}, r"got \(5, 4\)"),
        ({"state": ((),)}, r"expects a state of shapes .* for 4 lanes, got"),
        ({"reset": np.zeros((4, 5), bool)}, r"expects reset to be bool of shape \(5, 4\), got bool \(4, 5\)"),
        ({"valid": np.ones((5, 4))}, r"expects valid to be bool of shape \(5, 4\), got float64"),
        ({"params": {}}, r"expects a parameter '0.weight_ih' of shape \(12, 2\), got none"),
    ],
)
def test_arguments_that_do_not_fit(changes, message):
    with pytest.raises(rk.ModelError, match=message):
        forward(**changes)


def test_parameters_that_do_not_fit():
    model = rk.Chain(rk.Dense(2, 1))
    params, _ = rk.setup(model)
    with pytest.raises(rk.ModelError, match=r"expects no parameter '1.bias'"):
        check_parameters(model, params | {"1.bias": np.zeros(1)})
    with pytest.raises(rk.ModelError, match=r"parameter '0.bias' of shape \(1,\), got \(2,\)"):
        check_parameters(model, params | {"0.bias": np.zeros(2)})
