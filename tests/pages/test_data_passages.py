"""Texts for language models on the Data page: what is learned is shown before anything is saved."""

from __future__ import annotations

import json

import pytest
from streamlit.testing.v1 import AppTest

from core.data.dataset import LanguageDataset
from core.data.passage import Passage
from core.data.uploads import read_passages
from core.lab import Lab
from pages.shared.ui.literal import literal
from tests.data.passage_files import PASSAGES, ROWS, chat, written
from tests.data.text_files import CSV
from tests.data.text_files import ROWS as LABELLED
from tests.pages.test_data import HOSTILE, files
from tests.pages.test_data_texts import as_read, box, facts, with_texts
from tests.pages.test_pages import draw, press, texts

LEARNED = ":primary-background["


def control(app: AppTest, label: str):
    (found,) = [field for field in app.segmented_control if field.label == label]
    return found


def toggle(app: AppTest, label: str):
    (found,) = [field for field in app.toggle if field.label == label]
    return found


def shown(app: AppTest) -> list[str]:
    """The markdown of each passage that is shown."""
    return [element.value for element in app.markdown if LEARNED in element.value]


@pytest.mark.parametrize("rows", ROWS)
def test_passages_are_previewed_with_what_is_learned_then_saved(rows: str, opened: Lab) -> None:
    app = with_texts("My Passages.jsonl", written(rows, "jsonl"))
    assert not app.error
    assert not app.warning
    assert control(app, "Objective").value == "language"
    assert "20 passages, of which" in texts(app)
    first = next(passage for passage in PASSAGES[rows] if passage in trained_on(rows))
    scored = [text for text, is_it in first.parts if is_it]
    scored += [text for role, text in first.messages if role == "assistant"]
    assert all(f"{LEARNED}{literal(text)}]" in shown(app)[0] for text in scored), shown(app)[0]
    assert shown(app)[0].count(LEARNED) == len(scored)
    assert facts(app)["Repeated passages"] == "none"
    assert files(opened) == set()
    app.button(key="upload-keep").click().run()
    assert files(opened) == {"my-passages.passages.safetensors", "my-passages.sha256"}
    kept = opened.catalog.load("my-passages")
    assert isinstance(kept, LanguageDataset)
    assert {*kept.train_texts, *kept.test_texts} == {*PASSAGES[rows]}
    assert "Uploaded: 20 passages, 16 of them for training." in texts(app)
    app = draw("data")
    app.session_state["browse-my-passages"] = True
    app.run()
    assert all(f"{LEARNED}{literal(text)}]" in shown(app)[0] for text in scored)


def trained_on(rows: str) -> set[Passage]:
    """The passages of the training part."""
    return {*read_passages(written(rows, "jsonl")).dataset.train_texts}


def test_the_loss_is_on_completions_or_on_everything_and_that_is_kept(opened: Lab) -> None:
    app = with_texts("a.csv", written("prompts", "csv"))
    loss = control(app, "Loss on")
    assert loss.options == ["Completions only", "Everything"]
    before = facts(app)["Bytes learned in all"]
    loss.set_value(True).run()
    as_read(app)
    assert "No text is longer than" in texts(app)
    assert facts(app)["Bytes learned in all"] != before
    assert facts(app)["Bytes learned per passage"] == facts(app)["Bytes per passage"]
    app.button(key="upload-keep").click().run()
    kept = opened.catalog.load("a")
    assert isinstance(kept, LanguageDataset)
    assert all(scored for passage in kept.train_texts for _, scored in passage.parts)


def test_columns_are_chosen_on_the_page(opened: Lab) -> None:
    rows = [{"a": f"one {n} ", "b": f"two {n}", "c": ["train", "test"][n % 4 == 0]} for n in range(24)]
    rows = [row | {"Topic": "xyz"[n % 3], "other": f"o {n // 4 % 2}"} for n, row in enumerate(rows)]
    app = with_texts("a.jsonl", "\n".join(map(json.dumps, rows)).encode())
    control(app, "Objective").set_value("language").run()
    control(app, "Rows are").set_value("prompts").run()
    assert "Choose the columns of which passages are made." in texts(app)
    assert not app.text_input
    box(app, "Prompt").set_value("a").run()
    box(app, "Completion").set_value("b").run()
    assert box(app, "Part").value == "c"
    assert box(app, "Topic").value == "Topic"
    assert "24 passages on 3 topics, of which the completions are learned: 18 for training and 6" in texts(app)
    box(app, "Topic").set_value("other").run()
    assert "24 passages on 2 topics" in texts(app)
    box(app, "Topic").set_value("None").run()
    assert "24 passages, of which the completions are learned: 18 for training and 6 for testing" in texts(app)
    box(app, "Completion").set_value("a").run()
    assert "'a' is chosen twice" in app.error[0].value
    assert not app.text_input


@pytest.mark.parametrize(
    "content", [b"text\n" + b"hello there you\nfour words are here\n" * 10, b"Once upon a time.\nThere was.\n" * 10]
)
def test_texts_without_labels_are_offered_for_language(content: bytes, opened: Lab) -> None:
    app = with_texts("a.txt", content)
    assert not app.error
    assert control(app, "Objective").value == "language"
    assert "20 passages, of which everything is learned" in texts(app)
    assert facts(app)["Repeated passages"] == "18, kept"
    toggle(app, "Leave out repeated passages").set_value(True).run()
    assert "needs at least 4" in app.error[0].value
    control(app, "Objective").set_value("classification").run()
    assert "with the objective Language" in app.error[0].value
    assert not app.text_input


def test_a_table_with_labels_is_for_classes_and_can_be_continued_all_the_same(opened: Lab) -> None:
    app = with_texts("a.csv", CSV)
    assert control(app, "Objective").value == "classification"
    control(app, "Objective").set_value("language").run()
    assert "18 passages, of which everything is learned" in texts(app)
    toggle(app, "Read as plain text").set_value(True).run()
    assert "19 passages, of which everything is learned" in texts(app)


def test_what_is_no_table_can_be_read_as_plain_text(opened: Lab) -> None:
    app = with_texts("a.txt", "\n".join(f"{text},{label}" for text, label in LABELLED).encode())
    assert "names no columns" in app.error[0].value
    assert not app.text_input
    toggle(app, "Read as plain text").set_value(True).run()
    assert "18 passages, of which everything is learned" in texts(app)
    app.button(key="upload-keep").click().run()
    assert files(opened) == {"a.passages.safetensors", "a.sha256"}


def test_odd_conversations_are_in_one_list_and_left_out_by_a_button(opened: Lab) -> None:
    odd = [{"messages": [{"role": HOSTILE, "content": "x"}]}, {"messages": chat("Hi")}, {"messages": 3}]
    app = with_texts("a.jsonl", written("messages", "jsonl") + b"\n" + "\n".join(map(json.dumps, odd)).encode())
    (warning,) = app.warning
    assert "3 rows cannot be used" in warning.value
    assert "Row 22 has a conversation in which the assistant says nothing" in warning.value
    assert HOSTILE not in texts(app)
    assert not app.text_input
    press(app, "Leave these out")
    assert "20 passages" in texts(app)


def test_texts_of_strangers_are_shown_verbatim(opened: Lab) -> None:
    odd = f"{HOSTILE} **bold** :smile: $x$\n\n# heading\n- item:"
    rows = [{"prompt": f"{n} {odd}", "completion": f"]{odd}[ {n}"} for n in range(20)]
    found = "\n".join(shown(with_texts("a.jsonl", "\n".join(map(json.dumps, rows)).encode())))
    assert "heading" in found
    for markup in (HOSTILE, "**bold**", ":smile:", "$x$", "\n# ", "\n- ", "[]"):
        assert markup not in found, markup
