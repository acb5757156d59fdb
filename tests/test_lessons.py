"""The lessons run as they stand, what they say holds, and their exercises tell right from wrong."""

import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "lessons"
LESSONS = sorted(path.name for path in FOLDER.glob("[0-9]*.py"))

RUN = """
import importlib.util, json, sys
from pathlib import Path

import numpy as np

path, without = Path(sys.argv[1]), sys.argv[2:]
sys.modules.update(dict.fromkeys(without))  # whoever imports them finds that they are not there
sys.path.insert(0, str(path.parent))
spec = importlib.util.spec_from_file_location(path.stem, path)
lesson = importlib.util.module_from_spec(spec)
spec.loader.exec_module(lesson)
outputs, found = lesson.app.run()

from exercise import judge


def spoiled(value):
    if isinstance(value, bool):
        return not value
    if isinstance(value, dict):
        return {key: spoiled(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return tuple(spoiled(part) for part in value)
    return -value - 1 if isinstance(value, (int, float, np.ndarray, np.generic)) else "something else"


marks = {}
for name, exercise in found["exercises"].items():
    answers = {
        "as shipped": exercise.attempt,
        "solved": exercise.solution,
        "wrong": lambda *arguments: spoiled(exercise.solution(*arguments)),
        "broken": lambda *arguments: 1 / 0,
    }
    marks[name] = {kind: judge(answer, exercise.check).mark for kind, answer in answers.items()}
figures = sum(type(output).__name__ == "Figure" for output in outputs)
texts = {name: found[name] for name in ("first_message", "second_message", "kept", "cut") if name in found}
checks = {text: bool(holds) for text, holds in found["checks"].items()}
Path("report.json").write_text(json.dumps({"checks": checks, "marks": marks, "figures": figures, "texts": texts}))
"""


@cache
def report(lesson, *without):
    """What a lesson says when it is run in a process of its own, with warnings as errors."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-W", "error", "-c", RUN, str(FOLDER / lesson), *without]
        done = subprocess.run(
            command, cwd=folder, env=os.environ | {"MPLBACKEND": "Agg"}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads((Path(folder) / "report.json").read_text())


@pytest.fixture(scope="module", params=LESSONS)
def lesson(request):
    """Each lesson in turn for all tests of it, so that workers seldom run the same one."""
    return request.param


def test_there_are_six_lessons():
    assert [name[:2] for name in LESSONS] == ["01", "02", "03", "04", "05", "06"]


def test_what_a_lesson_says_holds(lesson):
    found = report(lesson)
    assert len(found["checks"]) >= 3
    assert [text for text, holds in found["checks"].items() if not holds] == []
    assert found["figures"] >= 1


def test_exercises_tell_right_from_wrong_and_from_not_yet(lesson):
    marks = report(lesson)["marks"]
    assert len(marks) == 4
    for name, given in marks.items():
        assert given == {"as shipped": "not yet", "solved": "right", "wrong": "wrong", "broken": "wrong"}, name


@pytest.mark.parametrize("lesson", ["02_bptt_by_hand.py", "03_truncation.py"])
def test_without_torch_a_lesson_goes_on(lesson):
    found = report(lesson, "torch")
    assert all(found["checks"].values())
    said = " ".join(found["checks"])
    assert "not installed" in said if lesson.startswith("03") else "torch" not in said


def test_what_is_shown_without_torch_is_what_torch_says():
    assert report("03_truncation.py", "torch")["texts"] == report("03_truncation.py")["texts"]


def test_a_lesson_becomes_a_page(tmp_path):
    pages = tmp_path / "lessons"
    pages.mkdir()
    for name in (LESSONS[0], "exercise.py"):
        (pages / name).write_text((FOLDER / name).read_text())
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    command = [sys.executable, "-m", "marimo", "export", "html", LESSONS[0], "-o", "page.html"]
    done = subprocess.run(command, cwd=pages, env=os.environ | {"MPLBACKEND": "Agg"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page = (pages / "page.html").read_text()
    assert "An LSTM by hand" in page
    assert "data:image/png;base64" in page
    assert "Not yet: " in page


def test_the_lessons_are_listed():
    listed = re.findall(r"`(\d\d_\w+\.py)`", (FOLDER / "README.md").read_text())
    assert sorted(set(listed)) == LESSONS
