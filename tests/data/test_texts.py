"""Tables of texts come through text by text, whatever they are written in, and what should give pause is said."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.data.dataset import TextDataset
from core.data.task_spec import TaskSpec
from core.data.uploads import Draft, TextColumns, draft_texts, guess, read_text_table, read_texts, short_name
from core.data.uploads.limits import MAX_TEXT
from core.data.uploads.text_columns import TextTable
from core.data.uploads.text_file import unpacked
from core.errors import DatasetError
from core.tasks.views.view import outline
from tests.data.text_files import CSV, GOOD, ROWS, WRITERS, json_lines, lines, parquet, separated
from tests.data.uploaded import zipped

pytestmark = pytest.mark.usefixtures("read_here")


TWICE = "Texts with several labels"
"""A fact of a draft."""


def held(draft: Draft[TextDataset]) -> list[tuple[str, str]]:
    """All texts with the names of their classes, sorted."""
    data = draft.dataset
    texts, labels = (*data.train_texts, *data.test_texts), np.concatenate([data.train_labels, data.test_labels])
    return sorted((text, data.class_names[label]) for text, label in zip(texts, labels, strict=True))


def table_of(rows: Sequence[Sequence[object]], *names: str) -> TextTable:
    """The table in a CSV file of these rows; their columns are a text and a label without ``names``."""
    return read_text_table(separated(rows, names or ("text", "label")).encode())


@pytest.mark.parametrize("kind", GOOD)
def test_every_kind_of_file_gives_the_same_dataset(kind: str) -> None:
    draft = read_texts(GOOD[kind])
    assert draft.dataset.columns == TextColumns("text", "label", without_repeats=False)
    assert held(draft) == sorted(ROWS)
    assert draft.dataset.class_names == ("apple", "fig", "pear")
    assert draft.dataset.train_texts == read_texts(CSV).dataset.train_texts
    assert (draft.train_counts, draft.test_counts) == ((5, 5, 5), (1, 1, 1))
    assert "18 texts from 'text' in 3 classes from 'label': 15 for training and 3 for testing" in draft.line
    assert not draft.dataset.train_labels.flags.writeable


WRAPPERS = {
    "plain": lambda content: content,
    "gzip": gzip.compress,
    "two gzips": lambda content: gzip.compress(content[:40]) + gzip.compress(content[40:]),
    "gzips and zeros": lambda content: gzip.compress(content[:40]) + bytes(99) + gzip.compress(content[40:]) + bytes(9),
    "zip": lambda content: zipped(("a/b.csv", content), ("__MACOSX/a/._b.csv", b"x"), ("a/.DS_Store", b"x")),
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_file_may_be_packed(kind: str, wrapper: str, tmp_path: Path) -> None:
    content = WRAPPERS[wrapper](GOOD[kind])
    assert held(read_texts(content)) == sorted(ROWS)
    path = tmp_path / "any name"
    path.write_bytes(content)
    assert held(read_texts(path)) == sorted(ROWS)


@settings(max_examples=60)
@given(
    st.lists(st.binary(max_size=300) | st.integers(0, 10**5).map(bytes), max_size=8),
    st.integers(0, 9),
    st.integers(0, 200),
)
def test_members_of_a_gzip_are_what_the_gzip_module_finds(parts: list[bytes], level: int, zeros: int) -> None:
    content = b"".join(gzip.compress(b"text" + part, level) + bytes(zeros) for part in parts) or gzip.compress(b"")
    assert unpacked(content) == gzip.decompress(content)


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252", "latin-1"])
def test_encodings_and_line_ends_are_found_out(encoding: str, ends: str) -> None:
    rows = [(f"Käse für {n}, à la carte", ("gut", "schlecht")[n % 2]) for n in range(10)]
    text = separated(rows, lineterminator=ends)
    marked = text.encode(encoding)
    draft = read_texts(marked)
    assert held(draft) == sorted(rows)
    assert any("Windows-1252" in warning for warning in draft.warnings) == (encoding in ("cp1252", "latin-1"))


WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
NAMES = st.text(st.characters(categories=["L", "N", "Zs"]), min_size=1, max_size=20).map(str.strip).filter(bool)


@settings(max_examples=150)
@given(
    st.sampled_from(sorted(WRITERS)),
    st.lists(NAMES, min_size=2, max_size=2, unique_by=str.lower),
    st.lists(WORDS, min_size=5, max_size=9),
    st.lists(WORDS, min_size=5, max_size=9),
)
def test_any_texts_under_any_names_come_through(kind: str, names: list[str], one: list[str], two: list[str]) -> None:
    rows = [(f"{n}. {text}", f"class {what}") for what, of in enumerate((one, two)) for n, text in enumerate(of)]
    if kind == "tsv" or kind == "bars":  # a writer of quotes, whose reader also takes tables without
        # In one with the delimiter and a line break, what follows could be a row of its own.
        plain = {text: " ".join(text.splitlines()) if {"\t", "|"} & {*text} else text for text, _ in rows}
        rows = [(plain[text].replace('"', "'"), label) for text, label in rows]
    draft = read_texts(WRITERS[kind](rows, names), *names)
    # Whitespace around a text is dropped, and every way to end a line is a newline, as JSON and Parquet leave it.
    wanted = sorted((_clean(text, kind), label) for text, label in rows)
    assert held(draft) == wanted
    assert draft.dataset.columns == TextColumns(*names, without_repeats=False)


def _clean(text: str, kind: str) -> str:
    as_it_is = kind in ("jsonl", "parquet", "zstd", "lengths", "groups")
    return (text if as_it_is else text.replace("\r\n", "\n").replace("\r", "\n")).strip()


@settings(max_examples=100)
@given(st.lists(st.integers(5, 40), min_size=2, max_size=6), st.integers(0, 2**32 - 1), st.floats(0.02, 0.5))
def test_the_split_is_stratified_exhaustive_always_the_same_and_gives_tasks(
    counts: list[int], seed: int, share: float
) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts)).tolist()
    rows = [(f"text {n}", label) for n, label in enumerate(labels)]
    content = separated(rows).encode()
    one, two = read_texts(content), read_texts(content)
    assert one.dataset.test_texts == two.dataset.test_texts
    assert held(one) == sorted((text, str(label)) for text, label in rows)
    assert [a + b for a, b in zip(one.train_counts, one.test_counts, strict=True)] == counts
    assert one.test_counts == tuple(max(1, round(0.2 * count)) for count in counts)
    chosen = outline(TaskSpec.of(dataset="upload", validation=share), one.dataset)
    assert len(chosen.train) + len(chosen.validation) == sum(one.train_counts)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["10", "9", "-1"], ("-1", "9", "10")),
        (["1.0", "2.0", "1"], ("1", "2")),
        (["4.5", "0.5", "5"], ("0.5", "4.5", "5")),
        (["True", "False"], ("False", "True")),
        (["b", "a ", " a"], ("a", "b")),
        (["inf", "1e999"], ("1e999", "inf")),
    ],
)
def test_labels_are_words_or_numbers(labels: list[str], names: tuple[str, ...]) -> None:
    rows = [(f"text {n}", label) for n in range(10) for label in labels]
    assert read_texts(separated(rows).encode()).dataset.class_names == names


@pytest.mark.parametrize("values", [[True, False], [1, 0], [1.0, 0.0], ["1", "0"]])
def test_labels_of_json_and_parquet_are_those_of_a_csv(values: list) -> None:
    rows = [(f"text {n}", values[n % 2]) for n in range(20)]
    names = ("false", "true") if values[0] is True else ("0", "1")
    for content in (json_lines(rows).encode(), parquet({"text": [t for t, _ in rows], "label": [v for _, v in rows]})):
        draft = read_texts(content)
        assert draft.dataset.class_names == names
        assert held(draft) == sorted((text, names[int(value)]) for text, value in rows)


LENGTHS = {"use_dictionary": False, "column_encoding": {"text": "DELTA_LENGTH_BYTE_ARRAY"}}


@pytest.mark.parametrize(
    ("kind", "how"),
    [*((kind, how) for kind in ("string_view", "large_string") for how in ({}, LENGTHS)), ("dictionary", {})],
)
def test_every_type_of_texts_in_parquet_can_be_chosen(kind: str, how: dict) -> None:
    kinds = {"string_view": pa.string_view(), "large_string": pa.large_string()}
    texts, labels = (pa.array(column) for column in zip(*ROWS, strict=True))
    if kind == "dictionary":
        columns = {"text": texts.dictionary_encode(), "label": labels.cast(pa.large_string()).dictionary_encode()}
    else:
        columns = {"text": texts.cast(kinds[kind]), "label": labels.cast(kinds[kind])}
    assert held(read_texts(parquet(columns, **how))) == sorted(ROWS)


def test_decimals_in_parquet_are_labels_as_other_numbers_are() -> None:
    labels = [Decimal(value) for _ in range(9) for value in ("1.50", "20.00")]
    draft = read_texts(parquet({"text": [text for text, _ in ROWS], "label": labels}))
    assert draft.dataset.class_names == ("1.5", "20")
    large = parquet({"text": ["a"], "id": [Decimal("12345678901234567890.25")]})
    assert list(read_text_table(large).column("id")) == ["12345678901234567890.25"]


@pytest.mark.parametrize(
    ("names", "row", "wanted"),
    [
        (("text", "label"), ("a long text", "x"), ("text", "label", None)),
        (("v1", "v2"), ("ham", "a long text"), ("v2", "v1", None)),
        (("Class Index", "Title", "Description"), ("3", "short", "a long text"), ("Description", "Class Index", None)),
        (
            ("id", "sentence", "label", "label_text"),
            ("", "a long text", "1", "good"),
            ("sentence", "label_text", None),
        ),
        (("", "review", "sentiment"), ("", "a long text", "pos"), ("review", "sentiment", None)),
        (("text", "label", "split"), ("a long text", "x", "train"), ("text", "label", "split")),
        (("q", "a", "where"), ("a long text", "x", "test"), ("q", "a", "where")),
        (("text", "split"), ("a long text", "x"), ("text", "split", None)),
    ],
)
def test_the_columns_are_guessed_from_names_and_content(
    names: tuple[str, ...], row: tuple[str, ...], wanted: tuple[str | None, ...]
) -> None:
    """Cells are made different where they are long, short or empty, and alternate where they do not."""
    other = {"x": "z", "ham": "spam", "3": "1", "1": "0", "good": "bad", "pos": "neg", "train": "test", "test": "train"}
    rows = [
        [(cell, other[cell])[n % 3 == 0] if cell in other else f"{cell} {n}".strip() for cell in row] for n in range(30)
    ]
    found = guess(table_of(rows, *names))
    assert (found.text, found.label, found.part) == wanted


@pytest.mark.parametrize("names", [("message", "apple"), ("fruit", "text")])
def test_a_column_may_be_called_like_one_of_its_values(names: tuple[str, str]) -> None:
    rows = [*ROWS, *(("a line of text", "text") for _ in range(6))]
    draft = read_texts(separated(rows, names).encode(), *names)
    assert held(draft) == sorted(rows)


def test_columns_of_one_name_are_numbered_and_can_be_chosen() -> None:
    rows = [(text, "x", label, "y") for text, label in ROWS]
    table = table_of(rows, "a", "a", "a (2)", "a")
    assert list(table.columns) == ["a", "a (3)", "a (2)", "a (4)"]
    assert held(draft_texts(table, TextColumns("a", "a (2)"))) == sorted(ROWS)


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_headings_may_be_long_and_have_several_lines(ends: str) -> None:
    names = ("What did you think of it?\nPlease tell us " + "in many words " * 20, "good or bad?" * 20)
    names = tuple(name.strip() for name in names)
    content = separated(ROWS, names, lineterminator=ends, quoting=csv.QUOTE_ALL).encode()
    assert held(read_texts(content, *names)) == sorted(ROWS)
    shown = [short_name(name) for name in names]
    assert all(len(name) <= 60 and "\n" not in name for name in shown)
    assert len(set(shown)) == 2


def test_a_column_of_parts_says_what_is_trained_on() -> None:
    rows = [(text, label, ("Train", "test ")[n >= 12]) for n, (text, label) in enumerate(ROWS)]
    draft = read_texts(separated(rows, ("text", "label", "split")).encode())
    assert draft.dataset.columns.part == "split"
    assert draft.dataset.train_texts == tuple(text for text, _ in ROWS[:12])
    assert draft.dataset.test_texts == tuple(text for text, _ in ROWS[12:])
    assert "split as in the file" in draft.line
    columns = TextColumns("text", "label")
    assert draft_texts(table_of(rows, "text", "label", "split"), columns).train_counts == (5, 5, 5)


@pytest.mark.parametrize(("other", "tested", "use"), [("test", 3, "trained on"), ("train", 3, "used for testing")])
def test_a_validation_part_is_trained_on_or_tested_on_and_the_draft_says_so(other: str, tested: int, use: str) -> None:
    rows = [(text, label, "train") for text, label in ROWS]
    rows += [(f"{label}, once more", label, "validation") for _, label in ROWS[:3]]
    rows += [(f"{label}, at last", label, other) for _, label in ROWS[:3]]
    draft = read_texts(separated(rows, ("text", "label", "split")).encode())
    assert len(draft.dataset.test_texts) == tested
    assert any(f"validation part of the file is {use}" in warning for warning in draft.warnings)


def test_empty_rows_are_skipped_and_counted_and_texts_without_content_too() -> None:
    draft = read_texts(lines(*[f"{text},{label}" for text, label in ROWS], "", ",", " , ", "  ,fig", '"\n",pear'))
    assert held(draft) == sorted(ROWS)
    assert draft.empty_rows == 5
    blank = '\n\n{"text": null, "label": ""}\n{}\n{"text": " ", "label": "fig"}\n'
    assert read_texts(GOOD["jsonl"] + blank.encode()).empty_rows >= 4


def test_line_breaks_in_quotes_belong_to_the_text() -> None:
    rows = [(f"first {n}\nsecond, and\n\n\tthird", "ab"[n % 2]) for n in range(10)]
    for content in (separated(rows).encode(), separated(rows, lineterminator="\n").encode("utf-16")):
        assert held(read_texts(content)) == sorted(rows)
    with pytest.raises(ValueError, match="Row 16 has 3 cells"):  # after that of the names, and 14 more
        read_texts(separated(rows).encode() + b"a,a\n" * 4 + b"a,b,c\n")


def test_a_table_with_tabs_may_be_written_without_quotes_and_those_in_texts_swallow_no_rows() -> None:
    within = [(f'"{n}" he said, and "so', "ab"[n % 2]) for n in range(10)]
    begun = [(f'"{n}" he said' if n % 5 else f'"Oh no {n}', "ab"[n % 2]) for n in range(20)]
    begun[7] = ('"all of it"', "a")
    for rows in (within, begun):
        plain = "\n".join(["text\tlabel", *("\t".join(row) for row in rows)])
        assert held(read_texts(plain.encode())) == sorted(rows)
    quoted = separated([(f'a "b"\t{n}\n', "ab"[n % 2]) for n in range(10)], by="\t", quoting=csv.QUOTE_ALL)
    assert held(read_texts(quoted.encode()))[0] == ('a "b"\t0', "a")


def test_duplicates_are_counted_and_dropped_by_choice() -> None:
    content = lines(*[f"{text},{label}" for text, label in ROWS], *[f"{text} ,{label}" for text, label in ROWS[:7]])
    kept, dropped = read_texts(content), read_texts(content, drop_duplicates=True)
    assert (kept.duplicates, kept.without_duplicates, len(held(kept))) == (7, False, 25)
    assert (dropped.duplicates, dropped.without_duplicates) == (7, True)
    assert held(dropped) == sorted(ROWS)
    assert dropped.dataset.overlap == 0


def test_labels_that_are_equal_numbers_are_one_label_wherever_they_are_compared() -> None:
    rows = [(f"text {n}", "12"[n % 2]) for n in range(12)]
    content = lines(*[f"{text},{label}" for text, label in rows], "text 0,1.0", "text 1,+2", "text 2,1e0")
    kept, dropped = read_texts(content), read_texts(content, drop_duplicates=True)
    assert kept.dataset.class_names == ("1", "2")
    assert (kept.duplicates, dict(kept.facts)[TWICE]) == (3, "none")
    assert held(dropped) == sorted(rows)
    assert dict(read_texts(content + b"\ntext 3,1.0").facts)[TWICE] == "1"


def test_overlap_of_the_parts_is_counted_and_dropped_from_the_training_part() -> None:
    rows = [(text, label, "train") for text, label in ROWS] + [(text, label, "test") for text, label in ROWS[:3]]
    content = separated(rows, ("text", "label", "part")).encode()
    kept, dropped = read_texts(content), read_texts(content, drop_duplicates=True)
    assert (kept.dataset.overlap, kept.duplicates) == (3, 3)
    assert any("3 of 3 test texts are also in the training part" in warning for warning in kept.warnings)
    assert dropped.dataset.overlap == 0
    assert dropped.dataset.test_texts == kept.dataset.test_texts
    assert dropped.train_counts == (5, 5, 5)


def test_texts_with_two_labels_are_counted() -> None:
    draft = read_texts(lines(*[f"{text},{label}" for text, label in ROWS], "apple number 0,fig"))
    assert dict(draft.facts)[TWICE] == "1"
    assert draft.duplicates == 0
    assert any("1 text has different labels" in warning for warning in draft.warnings)


def test_lengths_are_those_of_the_texts() -> None:
    rows = [("word " * n, "ab"[n % 2]) for n in range(1, 101)]
    facts = dict(read_texts(separated(rows).encode()).facts)
    assert facts["Words per text"] == "1 to 100; median 51, 95 % have at most 96"
    assert facts["Characters per text"].startswith("4 to 499;")


def test_the_longest_text_and_halves_of_characters_are_taken() -> None:
    rows = [(f"{n}", "ab"[n % 2]) for n in range(10)]
    assert f"1 to {MAX_TEXT:,};" in str(read_texts(separated([*rows, ("x" * MAX_TEXT, "a")]).encode()).facts)
    halves = "".join(json.dumps({"text": text + "\ud83d", "label": label}) + "\n" for text, label in rows)
    joined = "".join(json.dumps({"text": text + "\U0001f600", "label": label}) + "\n" for text, label in rows)
    assert held(read_texts(halves.encode()))[0] == ("0\ufffd", "a")
    assert held(read_texts(joined.encode()))[0] == ("0\U0001f600", "a")


def test_a_sound_table_gives_no_warning() -> None:
    rows = [(f"text {n}", "ab"[n % 2]) for n in range(60)]
    draft = read_texts(separated(rows).encode())
    assert (draft.warnings, draft.empty_rows, draft.duplicates, draft.dataset.overlap) == ((), 0, 0, 0)


def test_a_thousand_classes_are_taken() -> None:
    rows = [(f"text {n}", f"class {n % 1000}") for n in range(5000)]
    assert read_texts(separated(rows).encode()).dataset.num_classes == 1000


FAULTY: dict[str, tuple[str, str]] = {
    "a text,": ("a text but no label in 'label': fill", "csv"),
    "a text,null": ("no label in 'label' (null stands for none)", "csv"),
    "a text,apple,more": ("has 3 cells, but the first row names 2", "csv"),
    f"{'x' * (MAX_TEXT + 1)},apple": ("a text of 100,001 characters", "jsonl"),
    '{"text": "a", "label": ["apple", "pear"]}': ("a list or an object in 'label'", "jsonl"),
    '{"text": ["a"], "label": "apple"}': ("a list or an object in 'text'", "jsonl"),
    '{"text": "a", "lab': ("is not a JSON object", "jsonl"),
    "[1]": ("is not a JSON object", "jsonl"),
}
"""Rows that cannot be used, with a part of the sentence for each, and the kind of file that they are in."""


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_rows_that_cannot_be_used_are_told_and_the_others_are_what_they_would_be_alone(kind: str) -> None:
    lines = GOOD[kind].decode().strip().splitlines()
    faulty = [
        json.dumps({"text": row[:-6], "label": "apple"}) if len(row) > MAX_TEXT else row
        for row, (_, own) in FAULTY.items()
        if own == kind
    ]
    table = read_text_table("\n".join([*lines[:9], *faulty, *lines[9:]]).encode())
    columns = TextColumns("text", "label")
    with pytest.raises(DatasetError, match=f" {len(faulty) - 1} more cannot be used"):
        draft_texts(table, columns)
    left = draft_texts(table, columns, leave_out=True)
    says = [says for says, own in FAULTY.values() if own == kind]
    assert left.faults.count == len(says)
    assert all(any(each in told for told in left.faults.told) for each in says)
    alone = read_texts(GOOD[kind])
    assert (left.dataset.train_texts, left.dataset.test_texts) == (alone.dataset.train_texts, alone.dataset.test_texts)
    assert left.dataset.train_labels.tolist() == alone.dataset.train_labels.tolist()


def test_a_table_whose_parts_are_misspelled_is_told_and_read_without_those_rows() -> None:
    rows = [(text, label, ("train", "test")[n % 2]) for n, (text, label) in enumerate(ROWS * 2)]
    names = ("text", "label", "part")
    table, columns = table_of([*rows, ("more", "apple", "trian")], *names), TextColumns(*names)
    assert guess(table).part == "part"
    left = draft_texts(table, columns, leave_out=True)
    assert left.faults.told == ["Row 38 has 'trian' in 'part': the parts are train, test and validation."]
    assert held(left) == held(draft_texts(table_of(rows, *names), columns))


def test_a_file_of_which_most_cannot_be_used_is_something_else() -> None:
    table = table_of([*((f"a {n}", "") for n in range(19)), *ROWS])
    with pytest.raises(DatasetError, match=r"Row 2 has a text but no label .* 18 more cannot be used"):
        draft_texts(table, TextColumns("text", "label"), leave_out=True)


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (("Sports, outdoors", "Sports", "Travel"), None),
        (tuple(f"{n}.5" for n in range(30)), "30 different numbers such as"),
        (tuple(str(n) for n in range(1, 11)), None),
        (tuple(str(1990 + n) for n in range(30)), "30 different numbers such as"),
        (("0.5", "1.5"), None),
    ],
)
def test_labels_that_are_no_classes_are_told_from_names_and_stars(labels: tuple[str, ...], says: str | None) -> None:
    few = 2 if len(labels) == 30 else 6
    content = separated([(f"text {n}", label) for n, label in enumerate(labels * few)]).encode()
    if says is None:
        assert read_texts(content).dataset.num_classes == len(labels)
    else:
        with pytest.raises(DatasetError, match=says):
            read_texts(content)


def test_several_labels_and_pairs_of_texts_are_told() -> None:
    flagged = [(f"a text {n}", n % 2, n % 3 // 2, n % 5 // 4) for n in range(60)]
    names = ("text", "toxic", "rude", "threat")
    found = guess(table_of(flagged, *names))
    assert (found.text, found.label) == ("text", None)
    assert "Each of the columns 'toxic', 'rude', 'threat' could be the label" in found.obstacle
    chosen = read_texts(separated(flagged, names).encode(), label="toxic")
    assert chosen.dataset.class_names == ("0", "1")
    with_label = guess(table_of([(*row, "ab"[row[1]]) for row in flagged], *names, "label"))
    assert (with_label.label, with_label.obstacle) == ("label", "")
    pair = [(f"the text {n}", f"another text {n}", "ab"[n % 2]) for n in range(20)]
    found = guess(table_of(pair, "Sentence1", "Sentence2", "label"))
    assert (found.text, found.label) == (None, "label")
    assert "'Sentence1' and 'Sentence2' are a pair" in found.obstacle
    scores = [(f"{n}", f"{n % 3}", f"the text {n}", "ab"[n % 2]) for n in range(20)]
    assert not guess(table_of(scores, "score1", "score2", "text", "label")).obstacle


@pytest.mark.parametrize("empty", [0, 2])
def test_empty_cells_are_faults_of_rows_and_of_several_likely_labels_a_person_chooses(empty: int) -> None:
    rows = [(f"a ticket {n}", ("mail", "web")[n % 2], "" if n < empty else "abc"[n % 3]) for n in range(60)]
    content = separated(rows, ("body", "ch.", "queue")).encode()
    with pytest.raises(DatasetError, match=r"Each of the columns 'ch.', 'queue' could be the label: choose one"):
        read_texts(content)
    read = read_texts(content, label="queue", leave_out=True)
    assert read.line.startswith(f"{60 - empty} texts from 'body' in 3 classes from 'queue': ")
    assert read.faults.count == empty
    alone = separated([row[::2] for row in rows], ("body", "queue")).encode()
    assert guess(read_text_table(alone)).label == "queue"
