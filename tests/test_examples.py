"""What the README and the docstrings show, runs."""

import doctest
import importlib
import pkgutil
import re
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
    assert printed.count("_system_failure") == 4
    numba, numpy = (float(re.search(rf"^{name} (\S+)$", printed, re.MULTILINE)[1]) for name in ("numba", "numpy"))
    assert numba == pytest.approx(numpy, rel=1e-9)


def test_readme_names_files_that_are_there():
    for path in re.findall(r"examples/\w+(?:\.toml)?|CONTRIBUTING\.md", README):
        assert (ROOT / path).exists(), path
    for name in re.findall(r"`(\w+\.toml)`", README):
        assert (ROOT / "examples" / name).exists(), name


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_docstring_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = [test for name in MODULES for test in finder.find(importlib.import_module(name)) if test.examples]
    assert len(found) >= 8
