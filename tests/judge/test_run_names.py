"""Settings in the names of runs are found, asked about, and read only if somebody says so."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import JudgeError
from core.judge import reading
from core.judge.reading import settings_in
from tests.judge.samples import asked, csv_of, read, rows_of

ROWS = rows_of(seeds=range(2))
SETTINGS = ("method", "rank", "learning_rate", "seed")


WORDS = {
    "learning_rate": ("lr", "LR", "learning_rate", "learning-rate"),
    "rank": ("r", "rank"),
    "alpha": ("a", "alpha"),
    "seed": ("seed", "s"),
    "epochs": ("epochs", "ep"),
}
VALUES = {
    "learning_rate": st.floats(1e-9, 100, exclude_min=True),
    "rank": st.integers(1, 10**6 - 1),
    "alpha": st.integers(0, 10**6),
    "seed": st.integers(0, 10**12),
    "epochs": st.integers(1, 9999),
}


@given(st.data())
def test_values_are_read_back_as_they_were_formatted(data: st.DataObject) -> None:
    between = data.draw(st.sampled_from(["", "=", "_", "-", ": "]))
    chosen = data.draw(st.lists(st.sampled_from(sorted(VALUES)), unique=True))
    values = {name: data.draw(VALUES[name]) for name in chosen}
    form = data.draw(st.sampled_from(["{!r}", "{:g}", "{:.2e}"])) if "learning_rate" in values else "{}"
    texts = {name: form.format(value) if name == "learning_rate" else str(value) for name, value in values.items()}
    parts = [f"{data.draw(st.sampled_from(WORDS[name]))}{between}{text}" for name, text in texts.items()]
    method = data.draw(st.sampled_from([[], ["lora"], ["full"], ["DoRA"]]))
    found = settings_in(data.draw(st.sampled_from(["-", "_", ",", " ", "/"])).join([*method, *parts, "x1"]))
    expected = {name: float(text) for name, text in texts.items()}
    assert {name: float(text) for name, text in found.items() if name != "method"} == expected
    assert found.get("method") == next(iter(map(str.lower, method)), None)


@given(st.text(st.characters(exclude_categories=["Nd"])))
def test_names_without_numbers_have_no_settings_but_a_method(name: str) -> None:
    assert settings_in(name).keys() <= {"method"}


@pytest.mark.parametrize(
    "name", ["gaudy-sow-371", "run3", "20261202-s3x", "lr1e-3b", "lr0", "model-r0", "r8-r16", "r1.5"]
)
def test_what_is_no_setting_is_not_taken_for_one(name: str) -> None:
    assert settings_in(name) == {}


def test_the_examples_hold() -> None:
    assert doctest.testmod(reading) == (0, 1)


def named(rows: list[dict[str, object]], form: str = "{method}-lr{learning_rate}-r{rank}-seed{seed}") -> bytes:
    """A table whose settings are in the names of its runs alone."""
    names = [form.format(**row).replace("-r-", "-") for row in rows]
    rest = [{name: value for name, value in row.items() if name not in SETTINGS} for row in rows]
    return csv_of({"Name": name, **row} for name, row in zip(names, rest, strict=True))


@pytest.mark.usefixtures("read_here")
def test_settings_in_names_are_columns_once_somebody_says_so() -> None:
    found = read(named(ROWS))
    assert asked(found) == ["in_names"]
    assert found.results is None
    with pytest.raises(JudgeError, match="--in-names with one of 'read'"):
        found.answered()
    assert "has method lora, rank 4, learning rate 0.000316 and seed 0" in found.questions[0].text
    done, plain = read(named(ROWS), in_names="read"), read(csv_of(ROWS))
    assert done.results is not None
    assert plain.results is not None
    for one, other in zip(done.results.rows, plain.results.rows, strict=True):
        assert [getattr(one, name) for name in SETTINGS] == [getattr(other, name) for name in SETTINGS]
        assert (one.value, one.validation) == (other.value, other.validation)
    assert asked(read(named(ROWS), in_names="ignore")) == ["method", "seed_pattern"]


@pytest.mark.usefixtures("read_here")
def test_a_column_is_taken_instead_of_names_and_a_full_table_is_not_asked_about() -> None:
    wrong = [{"run": f"lora-lr9-r9-s{90 + place}", **row} for place, row in enumerate(ROWS)]
    assert read(csv_of(wrong)).results == read(csv_of([{"run": row["run"], **row} for row in wrong])).results
    found = read(csv_of(wrong)).results
    assert found is not None
    assert {row.learning_rate for row in found.rows} == {row["learning_rate"] for row in ROWS}
    without = csv_of({name: value for name, value in row.items() if name != "learning_rate"} for row in wrong)
    results = read(without, in_names="read", repeated="last").results
    assert results is not None
    assert {row.learning_rate for row in results.rows} == {9.0}
    assert {row.seed for row in results.rows} == {0, 1}


@pytest.mark.usefixtures("read_here")
def test_names_that_lack_what_others_have_are_told() -> None:
    lines = named(ROWS).replace(b"full-lr0.000316-seed1", b"full-seed1")
    (question,) = read(lines).questions
    assert f"Only {len(ROWS) - 1} of {len(ROWS)} names say the learning rate." in question.text
    results = read(lines, in_names="read").results
    assert results is not None
    assert any("names say the learning rate" in note for note in results.notes)
    some = named(ROWS).replace(b"full-lr0.000316-seed1", b"lr0.000316-seed1")
    assert asked(read(some)) == ["in_names", "method"], "a run without a method has no setting"
