"""What a comparison says: summary, report, pictures, and what is chosen."""

from __future__ import annotations

import numpy as np
import pytest

import rnnkit as rk
from builders.studies import MODEL, STRIPS, compared, parts_of, read_table
from rnnkit.model.losses import as_loss
from rnnkit.schedule.brief import brief
from rnnkit.study import Study
from rnnkit.study.compare import Comparison
from rnnkit.study.pictures import plot_curves
from rnnkit.study.report import CARRIED, CHOSEN, NOISY, table, with_spread


def test_the_summary_is_over_seeds():
    found = compared(seeds=3)
    assert [(line["splitter"][:4], line["policy"], line["seeds"]) for line in found.summary] == [
        ("Cont", "Carry()", 3), ("Cont", "Reset()", 3), ("Chun", "Carry()", 0), ("Chun", "Reset()", 3),
    ]  # fmt: skip
    values = [row["test_mae"] for row in found.rows if row["policy"] == "Reset()" and row["splitter"][:4] == "Chun"]
    assert found.summary[3]["test_mae_mean"] == pytest.approx(sum(values) / 3)
    variance = sum((value - sum(values) / 3) ** 2 for value in values) / 2
    assert found.summary[3]["test_mae_spread"] == pytest.approx(variance**0.5)
    assert found.summary[2]["refused"] == 3
    assert found.summary[2]["test_mae_mean"] is None
    assert compared(seeds=1).summary[0]["test_mae_spread"] is None


def test_the_report_has_pictures_the_summary_and_what_was_refused(tmp_path):
    found = compared(out=tmp_path, seeds=2)
    report = (tmp_path / "report.md").read_text()
    for name in ("error_by_policy.png", "error_against_time.png", "learning_curves.png"):
        assert f"]({name})" in report
        assert (tmp_path / name).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    best = min((line for line in found.summary if line["seeds"]), key=lambda line: line["validation_mae_mean"])
    told = with_spread(best["validation_mae_mean"], best["validation_mae_spread"]).partition(" ")[0]
    ranked = [line for line in report.splitlines() if line.startswith("| C")]
    assert ranked[0].startswith(f"| {best['splitter']} | {best['policy']} | 2 | {told} ± ")
    assert "Chunked(length=10, lanes=2), Carry(): refused" in report
    assert "Every trial was trained for 200 scored rows." in report
    assert report.count(CARRIED) == repr(found).count(CARRIED) == 1
    assert "Errors are in the data's own units." in report
    assert NOISY not in report
    assert {path.name for path in tmp_path.iterdir()} == {
        "trials", "results.csv", "results.parquet", "report.md",
        "error_by_policy.png", "error_against_time.png", "learning_curves.png",
    }  # fmt: skip


def test_a_comparison_of_classifiers_tells_shares_of_wrong_classes(tmp_path, monkeypatch):
    import rnnkit.study.pictures as drawing

    rng = np.random.default_rng(0)
    parts = rk.Sequence(rng.standard_normal(300), rng.integers(0, 2, 300)).split(0.6, 0.2)
    drawn, draw = {}, drawing.pictures
    monkeypatch.setattr(drawing, "pictures", lambda found: drawn.update(draw(found)) or drawn)
    model = rk.Chain(rk.LSTM(1, 3), rk.Dense(3, 2))
    found = rk.compare(
        model, parts, splitters=[STRIPS], backends=["numpy"], loss="cross_entropy", equal=rk.Equal(rows=200),
        seeds=2, jobs=1, out=tmp_path,
    )  # fmt: skip
    report = (tmp_path / "report.md").read_text()
    assert "| validation share wrong | test share wrong | share wrong / most frequent class |" in report
    assert "Errors are shares of classes that are wrong." in report
    said = [caption for _, caption in drawn.values()]
    said += [text() for figure, _ in drawn.values() for a in figure.axes for text in (a.get_xlabel, a.get_ylabel)]
    for text in (report, repr(found), *said):
        assert "MAE" not in text
        assert "own units" not in text
    assert said.count("share of wrong classes on the validation part") == 3


@pytest.mark.parametrize(
    ("mean", "spread", "said"),
    [
        (1043.7, 162.0, "1040 ± 160"),
        (0.2461, 0.1704, "0.25 ± 0.17"),
        (12.3456, 0.0996, "12.35 ± 0.10"),
        (3.0, 25.2, "3 ± 25"),
        (99.96, 9.96, "100 ± 10"),
        (0.0, 0.0, "0 ± 0"),
        (1.5, 0.0, "1.5 ± 0"),
        (2e-9, 3.14e-10, "2e-09 ± 3.1e-10"),
    ],
)
def test_a_mean_has_the_digits_of_its_spread(mean, spread, said):
    assert with_spread(mean, spread) == said


def test_a_curve_is_the_mean_of_its_seeds_in_the_band_that_they_fill():
    def row(seed, *points):
        curve = [dict(zip(("rows", "seconds", "validation_mae"), point, strict=True)) for point in points]
        return {"splitter": "s", "policy": "p", "backend": "b", "seed": seed, "curve": curve}

    rows = [row(0, (10, 1.0, 4.0), (20, 2.0, 2.0)), row(1, (10, 1.5, 6.0), (20, 3.5, 2.0))]
    scored, seconds = plot_curves(rows).axes
    (mean,), (band,) = scored.lines, scored.collections
    assert mean.get_xydata().tolist() == [[10, 5], [20, 2]]
    assert band.get_paths()[0].get_extents().extents.tolist() == [10, 2, 20, 6]
    (mean,) = seconds.lines
    assert mean.get_xydata().tolist() == [[1.5, (3 + 6) / 2], [2, (2 + 5) / 2]]  # where both have been
    alone = plot_curves(rows[:1]).axes[0]
    assert not alone.collections


def test_a_comparison_says_what_it_is():
    found = compared(seeds=2)
    head, names, *lines = repr(found).splitlines()
    assert head == "Comparison of 8 trials, 200 scored rows each: 6 done, 2 refused"
    assert names.split()[:7] == ["splitter", "policy", "seeds", "validation", "MAE", "test", "MAE"]
    best = min((line for line in found.summary if line["seeds"]), key=lambda line: line["validation_mae_mean"])
    assert lines[0].split("  ")[1].strip() == best["splitter"]
    assert "Chunked(length=10, lanes=2), Carry(): refused" in lines[-1]


def test_without_later_parts_cells_are_told_by_their_time(tmp_path):
    training, _, _ = parts_of()
    settings = {"splitters": [STRIPS], "backends": ["numpy"], "equal": rk.Equal(rows=100), "jobs": 1, "out": tmp_path}
    found = rk.compare(MODEL, (training, None, None), **settings)
    assert [row["status"] for row in found.rows] == ["done", "done"]
    assert "MAE" not in repr(found)
    assert (tmp_path / "learning_curves.png").exists()


# What is chosen

STUDY_OF_NUMBERS = Study(
    MODEL, parts_of(), rk.Equal(rows=100), rk.Adam(), as_loss("mse"),
    "float32", None, rk.Constant(), 8, None, False,
)  # fmt: skip


def row_of(splitter, validation, test, seed=0, status="done", **others):
    errors = {"validation_mae": validation, "test_mae": test} if status == "done" else {}
    place = {"splitter": splitter, "policy": "Reset()", "backend": "numpy", "seed": seed}
    return {**place, "status": status, "message": None, **errors, **others}


def comparison_of(rows):
    return Comparison(STUDY_OF_NUMBERS, rows, None)


def test_validation_chooses_and_test_is_told():
    """The trial that is best on the test part is not the one that is best on the validation part."""
    rows = [
        row_of("lucky", 3.0, 1.0), row_of("lucky", 3.0, 1.0, 1),
        row_of("best", 1.0, 2.0), row_of("best", 2.0, 2.5, 1),
        row_of("one good seed", 0.5, 0.9), row_of("one good seed", 3.0, 9.0, 1),
    ]  # fmt: skip
    found = comparison_of(rows)
    assert found.chosen is not None
    assert (found.chosen["splitter"], found.chosen["validation_mae_mean"]) == ("best", 1.5)
    names, *lines = table(found)
    assert names[:5] == ["splitter", "policy", "seeds", "validation MAE", "test MAE"]
    assert [line[0] for line in lines] == ["best", "one good seed", "lucky"]
    said = (
        "Chosen by its MAE on the validation part: best, Reset(). On the test part, which had no say in it, its MAE is"
    )
    assert f"{said} 2.25 ± 0.35." in repr(found)
    assert " ".join(CHOSEN.split()) in repr(found)


def test_a_place_that_lost_a_seed_is_chosen_only_where_all_did():
    rows = [row_of("a", 1.0, 1.0), row_of("a", 0, 0, 1, "diverged"), row_of("b", 2.0, 2.0), row_of("b", 2.0, 2.0, 1)]
    for row in rows:
        row["message"] = "m"
    found = comparison_of(rows)
    assert found.chosen is not None
    assert found.chosen["splitter"] == "b"
    assert [line[0] for line in table(found)[1:]] == ["b", "a"]
    alone = comparison_of(rows[:2]).chosen
    assert alone is not None
    assert alone["splitter"] == "a"
    assert comparison_of([row_of("a", 0, 0, 0, "failed")]).chosen is None


def test_the_table_of_results_marks_the_rows_of_what_was_chosen(tmp_path, undrawn):
    found = compared(seeds=2, out=tmp_path)
    best = min((line for line in found.summary if line["seeds"]), key=lambda line: line["validation_mae_mean"])
    marked = [(row["splitter"], row["policy"]) for row in read_table(tmp_path) if row["chosen"]]
    assert marked == [(best["splitter"], best["policy"])] * 2
    assert found.chosen == best
    report = (tmp_path / "report.md").read_text()
    assert f"Chosen by its MAE on the validation part: {best['splitter']}, {best['policy']}. On the test part" in report
    assert [row["chosen"] for row in compared(seeds=2, out=tmp_path).rows] == [row["chosen"] for row in found.rows]


def test_without_a_test_part_that_is_told():
    training, validation, _ = parts_of()
    found = rk.compare(
        MODEL, (training, validation, None), splitters=[STRIPS], backends=["numpy"], equal=rk.Equal(rows=100), jobs=1
    )
    assert "There is no test part; on new data expect it to be worse" in repr(found)


def test_a_test_part_alone_chooses_nothing():
    training, _, test = parts_of()
    settings = {"splitters": [STRIPS], "backends": ["numpy"], "equal": rk.Equal(rows=100), "jobs": 1}
    with pytest.raises(rk.ConfigError, match="expects a validation part to choose by, got a test part alone") as error:
        rk.compare(MODEL, (training, None, test), **settings)
    assert "series.split(0.7, 0.15)" in str(error.value)
    series = rk.Sequence(np.sin(np.arange(300) / 5))
    assert rk.compare(MODEL, series.split(0.7, 0.15), **settings).chosen is not None


@pytest.mark.parametrize(
    ("description", "said"),
    [
        (rk.Continuation(length=5), "Continuation(length=5)"),
        (rk.Continuation(5, lanes=1, lookback=3), "Continuation(length=5, lookback=3)"),
        (rk.Sliding(5, shuffle=True), "Sliding(length=5, shuffle=True)"),
        (rk.Reset(), "Reset()"),
        (3, "3"),
    ],
)
def test_names_leave_out_what_holds_its_default(description, said):
    assert brief(description) == said
