"""Passages come through character by character, whatever they are written in, and what should give pause is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.data.dataset import LanguageDataset
from core.data.passage import Passage
from core.data.sources.catalog import Catalog
from core.data.task_spec import TaskSpec
from core.data.uploads import (
    Draft,
    draft_passages,
    guess_passages,
    is_for_language,
    read_passages,
    read_text_table,
    read_texts,
)
from core.data.uploads.limits import MAX_TEXT
from core.data.uploads.passage_draft import bytes_of, prompt_of
from core.data.uploads.passage_forms import LONGEST, pieces_of
from core.errors import DatasetError
from core.tasks.views.language import LanguageView
from tests.bad_files.sentences import refusal
from tests.data.passage_files import FORMATS, PASSAGES, QUESTIONS, ROWS, chat, written
from tests.data.text_files import CSV, GOOD

pytestmark = pytest.mark.usefixtures("read_here")


PROMPTS = "Test passages with a prompt of the training part"
"""A fact of a draft."""


def held(draft: Draft[LanguageDataset]) -> list[Passage]:
    """All passages, sorted."""
    return sorted((*draft.dataset.train_texts, *draft.dataset.test_texts), key=repr)


def json_lines(*rows: Any) -> bytes:
    return "\n".join(json.dumps(row) for row in rows).encode()


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("format_", FORMATS)
def test_every_form_in_every_format_gives_the_same_passages(rows: str, format_: str) -> None:
    content = written(rows, format_)
    draft = read_passages(content)
    assert held(draft) == sorted(PASSAGES[rows], key=repr)
    assert is_for_language(read_text_table(content))
    assert (len(draft.dataset.train_texts), len(draft.dataset.test_texts)) == (16, 4)
    assert draft.dataset.train_texts == read_passages(written(rows, "jsonl")).dataset.train_texts
    assert not draft.dataset.train_labels.flags.writeable
    assert draft.warnings == ()


@pytest.mark.parametrize("kind", GOOD)
def test_tables_with_labels_are_not_taken_for_language(kind: str) -> None:
    assert not is_for_language(read_text_table(GOOD[kind]))


@pytest.mark.parametrize("rows", ROWS)
def test_scored_bytes_are_those_of_the_answers_or_of_everything(rows: str) -> None:
    answers, everything = (read_passages(written(rows, "jsonl"), all_scored=flag) for flag in (False, True))
    sizes = [len(a.encode()) + 4 * (rows == "messages") for _, a in QUESTIONS]
    if rows != "texts":
        assert sum(map(bytes_of, held(answers))) == sum(sizes)
        assert dict(answers.facts)["Bytes per passage"] == dict(everything.facts)["Bytes per passage"]
    assert len({dict(everything.facts)[f"Bytes {learned}per passage"] for learned in ("", "learned ")}) == 1
    assert all(bytes_of(passage) > 0 for passage in held(answers))


@pytest.mark.parametrize(
    ("first", "kind", "learned"),
    [
        ({"prompt": "", "completion": "Alone"}, "prompts", "the completions are"),
        ({"messages": [{"role": "assistant", "content": "Alone"}]}, "messages", "the answers of the assistant are"),
    ],
)
def test_what_is_learned_is_said_of_all_passages_and_not_of_the_first(
    first: dict[str, Any], kind: str, learned: str
) -> None:
    rows = json_lines(first, *ROWS[kind])
    assert f"of which {learned} learned" in read_passages(rows).line
    assert "of which everything is learned" in read_passages(rows, all_scored=True).line


def test_the_test_part_shares_no_prompt_with_the_training_part_unless_the_file_says_so() -> None:
    rows = [{"prompt": f"p {n % 12}", "completion": f" c {n}"} for n in range(60)]
    drawn = read_passages(json_lines(*rows))
    of_parts = [{prompt_of(each) for each in part} for part in (drawn.dataset.train_texts, drawn.dataset.test_texts)]
    assert of_parts[0] & of_parts[1] == set()
    assert (drawn.dataset.overlap, dict(drawn.facts)[PROMPTS], drawn.warnings) == (0, "none", ())
    parted = [row | {"part": "test" if n < 20 else "train"} for n, row in enumerate(rows + rows[:1])]
    given_parts = read_passages(json_lines(*parted))
    assert (given_parts.dataset.overlap, dict(given_parts.facts)[PROMPTS], given_parts.duplicates) == (1, "20", 1)
    assert "1 of 20 test passages is also in the training part" in " ".join(given_parts.warnings)
    assert "19 of 20 test passages have a prompt" in " ".join(given_parts.warnings)
    without = read_passages(json_lines(*parted), drop_duplicates=True)
    assert (len(without.dataset.train_texts), len(without.dataset.test_texts), without.dataset.overlap) == (40, 20, 0)


TOPICS = ("birds", "cars", "fish")


def topical(count: int = 60) -> list[dict[str, str]]:
    """Prompts with two completions each, and a column of topics."""
    return [
        {"prompt": f"p {n // 2} ", "completion": f"c {n}", "topic": TOPICS[n // 2 % len(TOPICS)]} for n in range(count)
    ]


def test_topics_choose_passages_for_source_and_target_and_each_has_a_test_part(catalog: Catalog) -> None:
    rows = topical()
    drawn = read_passages(json_lines(*rows), topic="topic")
    catalog.keep(drawn.dataset, "mine")
    info, dataset = catalog.info("mine"), catalog.load("mine")
    assert "60 passages on 3 topics, of which the completions are learned" in drawn.line
    assert (info.class_names, info.objective) == (TOPICS, "language")
    assert "60 passages on 3 topics" in info.line
    topic_of = {row["completion"]: row["topic"] for row in rows}
    parts = [(dataset.train_texts, dataset.train_labels), (dataset.test_texts, dataset.test_labels)]
    for label, name in enumerate(TOPICS):
        chosen = LanguageView().outline(TaskSpec.of(dataset="mine", classes=(label, (label + 1) % 3)), dataset)
        assert label in chosen.classes
        for texts, labels in parts:
            found = [text.parts[1][0] for text, own in zip(texts, labels, strict=True) if own == label]
            assert len(found) >= 4
            assert {topic_of[each] for each in found} == {name}
    in_parts = [{prompt_of(each) for each in texts} for texts, _ in parts]
    assert in_parts[0] & in_parts[1] == set()
    assert read_passages(json_lines(*rows)).dataset.class_names == ()
    parted = [row | {"part": "test" if n % 5 == 0 else "train"} for n, row in enumerate(rows)]
    assert read_passages(json_lines(*parted, *parted[:9]), topic="topic", drop_duplicates=True).dataset.num_classes == 3


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"topic": ""}, "has no topic in 'topic': fill it in, or remove the row."),
        ({"topic": "rare"}, "The topic 'rare' has 1 passage: each topic needs at least 5."),
    ],
)
def test_topics_that_cannot_be_used_are_one_sentence(changed: dict[str, str], sentence: str) -> None:
    rows = topical()
    assert sentence in refusal(DatasetError, read_passages, json_lines(*rows[:-1], rows[-1] | changed), topic="topic")
    alike = [row | {"topic": "a"} for row in rows]
    assert "has 1 topic: a dataset needs 2" in refusal(DatasetError, read_passages, json_lines(*alike), topic="topic")
    assert "is chosen twice" in refusal(DatasetError, read_passages, json_lines(*rows), topic="prompt")
    view, dataset = LanguageView(), replace(read_passages(json_lines(*rows)).dataset, name="mine")
    with pytest.raises(DatasetError, match="mine has no topics: leave the topics kept out"):
        view.outline(TaskSpec.of(dataset="mine", classes=(0, 1)), dataset)


def test_passages_with_one_prompt_are_parted_all_the_same() -> None:
    draft = read_passages(json_lines(*({"prompt": "Write: ", "completion": f"text {n}"} for n in range(40))))
    assert (len(draft.dataset.test_texts), dict(draft.facts)[PROMPTS]) == (8, "8")


def test_prompts_that_run_into_their_completions_are_told() -> None:
    draft = read_passages(json_lines(*({"prompt": f"What {n}", "completion": f"that {n}"} for n in range(20))))
    assert "Prompts run into their completions, as in …'What 0''that 0'…" in draft.warnings[0]


@pytest.mark.parametrize(
    ("messages", "sentence"),
    [
        (chat("Hi", " "), "Row 21 has a conversation in which the assistant says nothing"),
        ([{"role": "robot", "content": "x"}], "Row 21 has a message of the role 'robot': roles are system, user"),
        ([{"role": 7, "content": "x"}], "of the role '7'"),
        ([*chat("a", "b"), {"content": "x"}], "Row 21 has a message without a role, number 3"),
        ([*chat("a", "b"), "c"], "has a message without a role, number 3"),
        ([{"role": "user", "content": {"x": 1}}], "Row 21 has a message that is no text, number 1"),
        ([{"role": "assistant", "content": None, "tool_calls": []}], "is no text, number 1"),
        (chat("a", "x" * MAX_TEXT), f"has a conversation of {MAX_TEXT + 1:,} characters"),
        (chat(*"ab" * 501), "has a conversation of 1,002 messages"),
        ({"role": "user"}, "Row 21 has an object in the place of a list of messages"),
    ],
)
def test_a_conversation_that_is_none_is_a_sentence_and_can_be_left_out(messages: Any, sentence: str) -> None:
    content = json_lines(*ROWS["messages"], {"messages": messages})
    assert sentence in refusal(DatasetError, read_passages, content)
    table = read_text_table(content)
    columns = guess_passages(table)
    assert columns
    draft = draft_passages(table, columns, leave_out=True)
    assert held(draft) == sorted(PASSAGES["messages"], key=repr)
    assert draft.faults.count == 1


def test_words_for_roles_and_contents_in_pieces_are_understood() -> None:
    pieces = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]
    rows = [
        [
            {"role": "developer", "content": "s"},
            {"from": "Human", "value": f"{n}"},
            {"role": "model", "content": pieces},
        ]
        for n in range(20)
    ]
    draft = read_passages(json_lines(*({"chat": row} for row in rows)))
    assert {each.messages[0] for each in held(draft)} == {("system", "s")}
    assert {each.messages[2] for each in held(draft)} == {("assistant", "Hello")}


@pytest.mark.parametrize(
    ("content", "how", "sentence"),
    [
        (json_lines(*ROWS["instructions"], {"output": "x"}), {}, "Row 21 has no instruction"),
        (json_lines({"prompt": "x" * (MAX_TEXT + 1), "completion": "y"}), {}, "Row 1 has a text of 100,001"),
        (json_lines(*ROWS["prompts"][:5]), {}, "The test part has 1 passage: it needs at least 4, so add more."),
        (json_lines(*ROWS["prompts"]), {"columns": {"prompt": "a"}}, "has no column 'a'"),
        (json_lines(*ROWS["prompts"]), {"columns": {"prompt": "completion"}}, "'completion' is chosen twice"),
        (json_lines(*ROWS["prompts"]), {"columns": {"messages": "prompt"}}, "has no conversations"),
        (json_lines(*ROWS["prompts"]), {"columns": {"x": "prompt"}}, "No passages are made of x: name columns for"),
        (json_lines(*ROWS["prompts"]), {"part": "prompt"}, "'prompt' is chosen twice"),
    ],
)
def test_rows_that_are_no_passages_are_a_sentence(content: bytes, how: dict[str, Any], sentence: str) -> None:
    assert sentence in refusal(DatasetError, read_passages, content, **how)


def test_a_file_without_labels_is_refused_for_classes_and_says_what_takes_it() -> None:
    for content in (b"text\nhello\nthere", b"Once upon a time.\nThere was a cat.\n" * 9, json_lines({"text": "a"})):
        with pytest.raises(DatasetError, match="with the objective Language"):
            read_texts(content)
        assert is_for_language(read_text_table(content))


PROSE = "It was dark;\nthe rain fell.\n\nNo, it was, in fact, light.\n \n\nThe end."


def test_a_plain_text_is_parted_by_blank_lines_or_else_by_lines(tmp_path: Path) -> None:
    table = read_text_table(PROSE.encode())
    assert table.is_plain
    assert list(table.column("text")) == ["It was dark;\nthe rain fell.", "No, it was, in fact, light.", "The end."]
    assert table.places == [1, 4, 7]
    lines = "\n".join(f"name {n}" for n in range(30))
    assert held(read_passages(lines.encode())) == sorted(map(Passage.whole, lines.split("\n")), key=repr)
    for name in ("a.txt", "A.MD"):
        (tmp_path / name).write_bytes(CSV)
        assert Passage.whole("text,label") in held(read_passages(tmp_path / name))
    (tmp_path / "a.csv").write_bytes(CSV)
    assert Passage.whole("text,label") not in held(read_passages(tmp_path / "a.csv"))


@settings(max_examples=100)
@given(st.text("ab .\n!", max_size=6000))
def test_long_passages_are_cut_between_words_and_lose_nothing_else(text: str) -> None:
    pieces = list(pieces_of(text))
    assert all(0 < len(piece) <= LONGEST for piece in pieces)
    assert "".join("".join(pieces).split()) == "".join(text.split())


def test_cuts_are_at_the_end_of_a_sentence_where_there_is_one() -> None:
    text = " ".join(f"Sentence number {n} is here." for n in range(200))
    assert all(piece.endswith(".") and piece.startswith("Sentence") for piece in pieces_of(text))


class Copied(str):
    """A text that counts the characters which are copied out of it."""

    characters = 0

    def __getitem__(self, place: Any) -> Copied:
        return self._counted(super().__getitem__(place))

    def lstrip(self, chars: str | None = None) -> Copied:
        return self._counted(super().lstrip(chars))

    def _counted(self, found: str) -> Copied:
        Copied.characters += len(found)
        return Copied(found)


def test_a_text_in_one_line_is_cut_in_time_that_grows_with_its_length() -> None:
    text = Copied("word " * 100_000)
    assert len(list(pieces_of(text))) == 500
    assert Copied.characters < 5 * len(text)
