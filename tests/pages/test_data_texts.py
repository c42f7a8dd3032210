"""Texts on the Data page: columns are chosen, what would be saved is shown, and nothing is saved before one says so."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core.data.dataset import TextDataset
from core.data.task_spec import TaskSpec
from core.lab import Lab
from core.run_spec import RunSpec
from core.study.report.evidence import overlaps_of
from tests.data.text_files import GOOD, ROWS, separated
from tests.networks.tiny import save_tiny
from tests.pages.test_data import HOSTILE, files, upload, visit
from tests.pages.test_pages import draw, links, press, texts

NAMES = ("Was gesagt wurde", "id", "Sorte", "welcher Teil")
MAILS = separated(
    [(f"{text}, twice", n, label, ("train", "", "test")[n % 3]) for n, (text, label) in enumerate(ROWS * 2)], NAMES
).encode()
"""Each text stands in the file twice."""


def with_texts(name: str, content: bytes) -> AppTest:
    app = draw("data")
    app.session_state["upload-kind"] = "text"
    return upload(app.run(), name, content)


def box(app: AppTest, label: str):
    (found,) = [field for field in app.selectbox if field.label == label]
    return found


def facts(app: AppTest) -> dict[str, str]:
    return app.table[0].value["Value"].to_dict()


def as_read(app: AppTest) -> AppTest:
    """Open the fold that shows how a network reads the texts."""
    (key,) = [fold.proto.id for fold in app.expander if fold.label == "As a network reads them"]
    app.session_state[f"tokens-{key.rpartition('-tokens-')[2]}"] = True
    return app.run()


def test_texts_are_previewed_then_saved_and_deleted_like_images(opened: Lab) -> None:
    app = with_texts("My Mails.csv.gz", gzip.compress(MAILS))
    assert not app.error
    assert [box(app, name).value for name in ("Text", "Label", "Part")] == [NAMES[0], NAMES[2], None]
    assert "36 texts from" in texts(app)
    assert facts(app)["Repeated rows"] == "18, kept"
    assert app.dataframe[0].value.shape == (5, 4)
    assert files(opened) == set()
    (toggle,) = app.toggle
    toggle.set_value(True).run()
    assert f"in 3 classes from {NAMES[2]!r}: 15 for training and 3 for testing" in texts(app)
    assert facts(app)["Repeated rows"] == "18, left out"
    assert facts(app)["Words per text"] == "4 to 4; median 4, 95 % have at most 4"
    box(app, "Texts of class").set_value(1).run()
    assert "fig number" in texts(app)
    assert files(opened) == set()
    assert app.text_input[0].value == "my-mails"
    app.button(key="upload-keep").click().run()
    assert files(opened) == {"my-mails.texts.safetensors", "my-mails.sha256"}
    kept = opened.catalog.load("my-mails")
    assert isinstance(kept, TextDataset)
    assert len(kept.train_texts) == 15
    app = draw("data")
    assert "Uploaded: 18 texts in 3 classes, 15 of them for training." in texts(app)
    app.button(key="delete-my-mails").click().run()
    app.button(key="dataset-delete-yes").click().run()
    assert files(opened) == {"my-mails.sha256"}


def test_the_columns_are_chosen_on_the_page(opened: Lab) -> None:
    app = with_texts("a.csv", MAILS)
    box(app, "Label").set_value("id").run()
    assert "The labels in 'id' are 36 different numbers" in app.error[0].value
    assert not app.text_input
    box(app, "Label").set_value("Sorte").run()
    box(app, "Part").set_value("welcher Teil").run()
    assert "Row 3 has '' in 'welcher Teil'" in app.error[0].value
    box(app, "Part").set_value(None).run()
    assert not app.error
    assert app.text_input


def test_a_column_of_parts_is_offered_as_such_and_overlap_is_told(opened: Lab) -> None:
    rows = [(text, label, "train") for text, label in ROWS] + [(text, label, "test") for text, label in ROWS[:3]]
    app = with_texts("a.csv", separated(rows, ("a", "b", "c")).encode())
    assert box(app, "Part").value == "c"
    assert facts(app)["Test texts that are also trained on"] == "3"
    told = "3 of 3 test texts are also in the training part: accuracy on the test part is too high."
    assert f"{told} *Leave out repeated rows*, above, keeps one of each." in texts(app)
    app.button(key="upload-keep").click().run()
    assert [warning.value for warning in draw("data").warning] == [told]
    assert overlaps_of(opened, [RunSpec.of(method="pretrain", task=TaskSpec.of(dataset="a"))]) == (f"In a, {told}",)


def test_what_has_no_likely_columns_asks_for_them(opened: Lab) -> None:
    rows = [(f"{n}", f"{n + 100}") for n in range(30)]
    app = with_texts("a.csv", separated(rows, ("p", "q")).encode())
    assert "Choose the columns with the texts and with the labels." in texts(app)
    assert not app.text_input
    assert not app.error


def test_rows_without_a_label_are_in_one_list_and_left_out_by_a_button(opened: Lab, tmp_path: Path) -> None:
    opened.networks.import_folder(save_tiny(tmp_path / "tiny"), "tiny")
    (card,) = opened.networks.list()
    rows = [*((text, label, "x") for text, label in ROWS), ("one more", "", "y"), ("another", "null", "y")]
    app = with_texts("fruit.csv", separated(rows, ("text", "label", "other")).encode())
    (warning,) = app.warning
    assert "2 rows cannot be used" in warning.value
    assert "Row 20 has a text but no label" in warning.value
    assert not app.text_input
    press(app, "Leave these out")
    assert "18 texts from" in texts(app)
    box(app, "Label").set_value("other").run()
    assert "18 texts" not in texts(app), "another column has other faults"
    box(app, "Label").set_value("label").run()
    app.button(key="upload-keep").click().run()
    address = links(app)["Fine-tune on this dataset"]
    assert address == {"base": card.digest, "dataset": "fruit"}
    assert links(draw("data")) == links(app), "the card has the links of the dialog"
    form = draw("new", **address)
    assert form.selectbox(key="new-dataset").value == "fruit"


def test_choices_of_a_file_in_review_are_kept_over_a_visit_to_another_page(opened: Lab) -> None:
    rows = [*((text, label, "x") for text, label in ROWS), ("one more", "", "y")]
    app = with_texts("fruit.csv", separated(rows, ("text", "label", "other")).encode())
    press(app, "Leave these out")
    app.toggle[0].set_value(True)
    box(app, "Text").set_value("other").run()
    visit(visit(app, "networks"), "data")
    assert "fruit.csv is still here" in texts(app)
    assert [box(app, name).value for name in ("Text", "Label", "Part")] == ["other", "label", None]
    assert app.toggle[0].value is True
    box(app, "Text").set_value("text").run()
    assert "that cannot be used is left out" in texts(app)
    app.button(key="upload-keep").click().run()
    assert opened.catalog.info("fruit").kind == "text"


def test_pairs_of_texts_are_told_before_a_column_is_chosen(opened: Lab) -> None:
    rows = [(f"the text {n}", f"another text {n}", "ab"[n % 2]) for n in range(20)]
    app = with_texts("pairs.csv", separated(rows, ("premise", "hypothesis", "label")).encode())
    assert "'premise' and 'hypothesis' are a pair of texts" in app.warning[0].value
    assert (box(app, "Text").value, box(app, "Label").value) == (None, "label")
    assert not app.text_input
    box(app, "Text").set_value("premise").run()
    assert app.text_input


def test_a_bad_table_gives_a_message_and_the_next_file_is_accepted(opened: Lab) -> None:
    app = draw("data")
    app.session_state["upload-kind"] = "text"
    app.run()
    for number, (content, sentence) in enumerate(
        (
            (b"hello\nthere", "has 1 passage: it needs at least 4"),
            (b"\x80\x04", "pickle"),
            ("\n".join(f"{text},{label}" for text, label in ROWS).encode(), "names no columns"),
            (GOOD["parquet"][:-9], "damaged or incomplete"),
        )
    ):
        upload(app, f"{number}.csv", content)
        assert [sentence in error.value for error in app.error] == [True]
        assert files(opened) == set()
    upload(app, "b.csv", GOOD["csv"])
    assert not app.error
    app.button(key="upload-discard").click().run()
    assert not app.text_input
    assert files(opened) == set()


def test_texts_and_class_names_are_shown_verbatim(opened: Lab) -> None:
    rows = [(f"{HOSTILE} **bold** {n}", ("**b**", "[c](http://evil.org)")[n % 2]) for n in range(20)]
    shown = texts(with_texts("a.csv", separated(rows).encode()))
    assert "evil" in shown
    for markup in (HOSTILE, "**bold**", "**b**", "[c](http"):
        assert markup not in shown


@pytest.mark.parametrize("name", ["definitions", "digits"])
def test_examples_of_a_dataset_are_shown_by_its_kind(name: str, opened: Lab) -> None:
    app = draw("data")
    dataset = opened.catalog.load(name)
    assert not [field for field in app.selectbox if field.label == "Texts of class"]
    app.session_state[f"browse-{name}"] = True
    app.run()
    if isinstance(dataset, TextDataset):
        assert box(app, "Texts of class").options == list(dataset.class_names)
        row = dataset.train_labels.tolist().index(0)
        assert dataset.train_texts[row] in texts(app)
    else:
        assert len(app.get("image")) == 10


def test_lengths_in_tokens_are_shown_at_the_length_that_is_chosen_for_a_network(opened: Lab, tmp_path: Path) -> None:
    app = with_texts("a.csv", MAILS)
    assert "Lengths in tokens are shown once there is a network" in texts(app)
    opened.networks.import_folder(save_tiny(tmp_path / "tiny", "bert", max_position_embeddings=100))
    app.run()
    assert "Lengths in tokens are shown once" not in texts(app)
    as_read(app)
    (field,) = app.select_slider
    assert (field.value, max(map(int, field.options))) == (100, 100)  # what the network reads, since it is below 128
    field.set_value(16).run()
    assert "than 16 tokens" in texts(app)


def test_networks_and_classes_have_their_own_names_in_choices_and_tables(opened: Lab, tmp_path: Path) -> None:
    for seed in (0, 1):
        opened.networks.import_folder(save_tiny(tmp_path / str(seed), seed=seed), "my_net [1]")
    classes = ("a_b", "[c]")
    app = with_texts("a.csv", separated([(f"text {n}", classes[n % 2]) for n in range(20)]).encode())
    as_read(app)
    (batch,) = [frame.value for frame in app.dataframe if "Tokens" in frame.value]
    assert set(batch["Label"]) == set(classes)
    pretrain = draw("pretrain")
    pretrain.selectbox(key="pretrain-dataset").set_value("definitions").run()
    for page in (app, pretrain):
        options = box(page, "Network").options
        assert len(set(options)) == 2
        assert all(option.startswith("my_net [1]") for option in options)


def test_a_text_dataset_without_a_network_leaves_the_rest_of_the_page(opened: Lab) -> None:
    app = draw("pretrain")
    app.selectbox(key="pretrain-dataset").set_value("definitions").run()
    app.button_group(key="pretrain-learned").set_value("text").run()
    assert [heading.value for heading in app.subheader][-2:] == ["Estimated cost", "Bases"]
    assert "Import a network first." in texts(app)


def test_which_column_could_be_the_label_is_asked_until_a_person_has_chosen(opened: Lab) -> None:
    rows = [(f"a ticket {number}", ("mail", "web")[number % 2], "abc"[number % 3]) for number in range(60)]
    app = with_texts("tickets.csv", separated(rows, ("body", "ch.", "queue")).encode())
    assert any("could be the label" in each.value for each in app.warning)
    box(app, "Label").set_value("queue").run()
    assert "in 3 classes from" in texts(app)
    assert not any("could be the label" in each.value for each in app.warning)
