"""What the README and the docstrings show, runs."""

import doctest
import importlib
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import rnnkit

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
MODULES = [module.name for module in pkgutil.walk_packages(rnnkit.__path__, "rnnkit.")]


def test_readme_code_runs_from_top_to_bottom(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(ROOT)
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) >= 4
    names = {}
    for block in blocks:
        exec(block.replace('"runs/', f'"{tmp_path}/'), names)
    printed = capsys.readouterr().out
    assert "gradient reaches back" in printed
    assert "MAE / persistence" in printed
    assert "Continuation(length=64, lanes=32)" in printed
    assert printed.count("_system_failure") == 10  # four turns, and six names in the matrix
    assert "forgotten (backward transfer)" in printed
    numba, numpy = (float(re.search(rf"^{name} (\S+)$", printed, re.MULTILINE)[1]) for name in ("numba", "numpy"))
    assert numba == pytest.approx(numpy, rel=1e-9)


def test_readme_names_files_that_are_there():
    for path in re.findall(r"examples/\w+(?:\.toml|\.py)?|CONTRIBUTING\.md", README):
        assert (ROOT / path).exists(), path
    for name in re.findall(r"`(\w+\.toml)`", README):
        assert (ROOT / "examples" / name).exists(), name


def run_example(name: str, folder: Path) -> str:
    """What an example prints, run by itself: Keras is slow to import and keeps its settings in a file."""
    command = [sys.executable, "-W", "error", str(ROOT / "examples" / name)]
    done = subprocess.run(command, env=os.environ | {"KERAS_HOME": str(folder)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_feed_for_pytorch_learns_both_data_sets(tmp_path):
    printed = run_example("feed_pytorch.py", tmp_path)
    for name in ("ambient", "machine"):
        errors = [
            float(e) for e in re.findall(rf"{name}_temperature_system_failure  mean squared error (\S+)", printed)
        ]
        assert len(errors) == 3
        assert errors[2] < errors[0] / 4


def test_the_feed_for_keras_learns_both_data_sets(tmp_path):
    printed = run_example("feed_keras.py", tmp_path)
    right = dict(re.findall(r"^(.+): (\S+)% of", printed, re.MULTILINE))
    assert list(right) == ["sine or square", "sine or square or saw"]
    assert all(float(share) > 85 for share in right.values()), printed


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_docstring_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = [test for name in MODULES for test in finder.find(importlib.import_module(name)) if test.examples]
    assert len(found) >= 8
