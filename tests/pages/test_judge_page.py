"""The page Judge: files are asked about, judged, kept and grown; Home, Runs, Compare and Report show what was kept."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from core.answer.lines import headline
from core.errors import JudgeError
from core.judge.reading import MAX_OFFERED
from core.judge.results import Gathered
from core.lab import Lab
from core.store.judged import Judged
from core.study.report.judged import REPORTED, judged_evidence
from pages.shared.ui.literal import literal
from tests.judge.samples import csv_of, judged, rows_of
from tests.judge.test_judged import HOSTILE
from tests.pages.test_pages import draw, texts

FULL = csv_of(rows_of())
UNKNOWN = csv_of(
    {"algo": row["method"], "r": row["rank"], "seed": row["seed"], "score": float(str(row["accuracy"])) / 100}
    for row in rows_of(seeds=range(3), rates=(0.001,))
)


pytestmark = pytest.mark.usefixtures("read_here")


@pytest.fixture
def kept(opened: Lab) -> Judged:
    return judged(opened, FULL).judged


def upload(app: AppTest, content: bytes, name: str = "results.csv", place: int = 0) -> AppTest:
    app.file_uploader[place].upload(name, content)
    app.run()
    return app


def test_a_table_with_known_names_is_judged_by_one_press(opened: Lab) -> None:
    app = upload(draw("judge"), FULL)
    assert "72 runs of 9 settings, seeds 0 to 7; compared with full; by accuracy, higher is better" in texts(app)
    assert opened.judged.list() == [], "nothing is kept before somebody says so"
    app.button(key="judge-new:judge").click().run()
    (found,) = opened.judged.list()
    assert app.query_params["experiment"] in (found.id, [found.id])
    answer = judged_evidence(opened, found)
    assert literal(headline(answer.verdict)) in texts(app)
    assert literal(REPORTED) in texts(app)
    assert [look.seeds for look in opened.looks.of(found.id)] == [8]


def test_what_is_open_is_asked_one_after_the_other_and_answers_stay(opened: Lab) -> None:
    app = upload(draw("judge"), UNKNOWN)
    prefix = "judge-new-0"
    for field, answer, words in (
        ("method", "algo", "No column says the method"),
        ("measure", "score", "No column has the name of a known measure"),
        ("unit", "fraction", "its unit is not known"),
        ("better", "higher", "Whether higher or lower values of score are better"),
    ):
        assert words in texts(app), field
        assert not [button for button in app.button if button.key == "judge-new:judge"]
        app.selectbox(key=f"{prefix}-{field}").select(answer).run()
    assert "The margin of score is not known" in texts(app)
    app.number_input(key=f"{prefix}-within").set_value(1.0).run()
    assert app.selectbox(key=f"{prefix}-method").value == "algo"
    app.button(key="judge-new:judge").click().run()
    (found,) = opened.judged.list()
    assert judged_evidence(opened, found).measure.title == "score"


def test_a_bad_file_is_one_sentence_and_keeps_nothing(opened: Lab) -> None:
    app = upload(draw("judge"), b"\x80\x04\x95 a pickle")
    (error,) = app.error
    assert "pickle" in error.value
    assert opened.judged.list() == []


def test_what_was_kept_is_on_home_in_the_lists_and_opens_as_an_experiment_does(filled: Lab, kept: Judged) -> None:
    said = literal(headline(judged_evidence(filled, kept).verdict))
    for page, query in (
        ("home", {}),
        ("judge", {}),
        ("experiment", {"experiment": kept.id}),
        ("judge", {"experiment": kept.id}),
    ):
        app = draw(page, **query)
        assert said in texts(app), page
        assert "reported by others" in texts(app).lower(), page
    for page in ("weights", "adapters", "tryit"):
        app = draw(page)
        assert said not in texts(app), page
        assert kept.id not in texts(app), page


def test_a_further_file_is_a_further_look_and_name_and_note_can_be_changed(opened: Lab, kept: Judged) -> None:
    app = draw("judge", experiment=kept.id)
    assert [look.seeds for look in opened.looks.of(kept.id)] == [8]
    upload(app, csv_of(rows_of(seeds=range(8, 16))), "more.csv")
    app.button(key=f"judge-{kept.id}:judge").click().run()
    assert [look.seeds for look in opened.looks.of(kept.id)] == [8, 16]
    app.text_input(key=f"judged-name-{kept.id}").set_value("Mine")
    app.text_area(key=f"judged-note-{kept.id}").set_value("**said**")
    app.button(key=f"judged-save-{kept.id}").click().run()
    assert (opened.judged.get(kept.id).name, opened.judged.get(kept.id).note) == ("Mine", "**said**")
    assert literal("**said**") in texts(app)


def test_results_are_deleted_only_when_somebody_confirms_it(opened: Lab, kept: Judged) -> None:
    app = draw("judge", experiment=kept.id)
    app.button(key="judged-ask").click().run()
    app.button(key="judged-delete-no").click().run()
    assert opened.judged.list() == [kept]
    app.button(key="judged-ask").click().run()
    app.button(key="judged-delete-yes").click().run()
    assert opened.judged.list() == []
    assert opened.looks.of(kept.id) == []


def test_results_that_are_gone_are_said_to_be(opened: Lab, kept: Judged) -> None:
    opened.judged.delete(kept.id)
    for page in ("judge", "experiment"):
        app = draw(page, experiment=kept.id)
        assert "may have been deleted" in texts(app), page


def test_names_with_html_markdown_and_formulas_are_shown_as_they_are(opened: Lab) -> None:
    rows = [{"method": name, "seed": seed, "accuracy": 50 + seed} for name in ("full", *HOSTILE) for seed in range(3)]
    app = upload(draw("judge"), csv_of(rows))
    app.button(key="judge-new:judge").click().run()
    for element in app.markdown:
        assert "<script" not in element.value
        assert "<b>" not in element.value
    labels = [label for frame in app.dataframe if "Setting" in frame.value for label in frame.value["Setting"]]
    assert "**md** $x^2$ :smile:" in labels


@pytest.mark.parametrize(("column", "field"), [("experiment", "only"), ("part", "test"), ("method", "reference")])
def test_of_very_many_answers_the_first_are_offered_and_any_other_can_be_typed(
    opened: Lab, column: str, field: str
) -> None:
    each = {"method": "full", "seed": 0, "accuracy": 90.0}
    last = [{"experiment": "last", "method": method, "seed": seed} for method in ("full", "lora") for seed in (0, 1)]
    rows = [each | one for one in last] if column == "experiment" else []  # of which one can be judged
    many = [each | {column: f"own {number}"} for number in range(15_000)]
    app = upload(draw("judge"), csv_of([*many, *rows]))
    box = app.selectbox(key=f"judge-new-0-{field}")
    assert len(box.options) == MAX_OFFERED + 1
    assert f"The first {MAX_OFFERED} of {15_000 + bool(rows):,} answers are offered" in texts(app)
    assert sum(len(found.options) for found in app.selectbox) < 1000
    assert len(texts(app)) < 20_000
    if rows:
        box.options.append("experiment=last")  # AppTest can choose, and not type
        box.set_value("experiment=last").run()
        assert "4 runs of 2 settings" in texts(app)


def test_the_command_names_few_of_very_many_answers() -> None:
    found = Gathered()
    found.ask("only", "There are many.", (f"experiment={number}" for number in range(100_000)))
    with pytest.raises(JudgeError) as caught:
        found.answered()
    assert "'experiment=11' and 188 more" in str(caught.value)
    assert len(str(caught.value)) < 1000
