"""Kept datasets of texts: what holds for those of images holds for them, beside them in one folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.data.dataset import TextColumns, TextDataset
from core.data.sources import own
from core.data.sources.catalog import Catalog
from core.data.sources.own import suggested_name
from core.data.sources.own_images import OwnImages
from core.data.sources.own_texts import OwnTexts
from core.data.uploads import read_texts, read_upload
from core.errors import DatasetError
from core.settings import Settings
from tests.data.text_files import ROWS, separated
from tests.data.uploaded import NPZ


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog(Settings(tmp_path))


TEXTS = read_texts(separated([(f"{text} — ünïcode 😀\n\n end", label) for text, label in ROWS]).encode()).dataset
OTHER = replace(TEXTS, train_texts=tuple(reversed(TEXTS.train_texts)))
IMAGES = read_upload(NPZ).dataset


def same(one: object, two: TextDataset) -> bool:
    assert isinstance(one, TextDataset)
    for part in ("train_labels", "test_labels"):
        np.testing.assert_array_equal(getattr(one, part), getattr(two, part))
        assert not getattr(one, part).flags.writeable
    return (one.train_texts, one.test_texts, one.class_names) == (two.train_texts, two.test_texts, two.class_names)


def test_a_kept_dataset_of_texts_is_like_any_other(catalog: Catalog, tmp_path: Path) -> None:
    catalog.keep(TEXTS, "my-mails")
    for one in (catalog, Catalog(Settings(tmp_path))):
        info = one.info("my-mails")
        assert (info.state, info.kind, info.num_classes, info.is_own) == ("ready", "text", 3, True)
        assert info.line == "Uploaded: 18 texts in 3 classes, 15 of them for training."
        assert info in one.list()
        assert same(one.load("my-mails"), TEXTS)
        assert one.load("my-mails").name == "my-mails"
    assert {path.name for path in (tmp_path / "datasets/own").iterdir()} == {
        ".lock",
        "my-mails.texts.safetensors",
        "my-mails.sha256",
    }


def test_texts_and_images_share_names_limits_and_deletion(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog.keep(TEXTS, "a")
    catalog.keep(IMAGES, "b")
    assert [(info.name, info.kind) for info in catalog.list() if info.is_own] == [("b", "image"), ("a", "text")]
    for dataset, name in ((IMAGES, "a"), (TEXTS, "b"), (OTHER, "a")):
        with pytest.raises(DatasetError, match="already have a dataset called"):
            catalog.keep(dataset, name)
    monkeypatch.setattr(own, "MAX_DATASETS", 2)
    with pytest.raises(DatasetError, match="in 2 files; the limits"):
        catalog.keep(OTHER, "c")
    monkeypatch.undo()
    before = catalog.revision("a")
    assert before != ()
    catalog.remove("a")
    assert catalog.revision("a") == ()
    with pytest.raises(DatasetError, match="no dataset 'a'"):
        catalog.load("a")
    for dataset in (IMAGES, OTHER):
        with pytest.raises(DatasetError, match="belonged to another dataset before"):
            catalog.keep(dataset, "a")
    # How a dataset was made of its table makes it no other one, and earlier versions have kept none or less of it.
    for columns in (None, TEXTS.columns, TextColumns("a", "label (2)", "b"), TextColumns("a", "b", None, True), None):
        catalog.keep(replace(TEXTS, columns=columns), "a")
        loaded = catalog.load("a")
        assert isinstance(loaded, TextDataset)
        assert loaded.columns == columns
        catalog.remove("a")
    catalog.keep(TEXTS, "a")
    assert catalog.revision("a") not in ((), before)
    assert same(catalog.load("a"), TEXTS)
    assert catalog.load("b").num_classes == 4


def test_each_source_takes_its_kind_only(tmp_path: Path) -> None:
    for source, dataset in ((OwnTexts, IMAGES), (OwnImages, TEXTS)):
        with pytest.raises(DatasetError, match="Only datasets of"):
            source(Settings(tmp_path)).keep(dataset, "a")
    assert list(tmp_path.iterdir()) == []


def test_what_could_not_be_read_again_is_not_written(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own, "MAX_FILE", 100)
    with pytest.raises(DatasetError, match="leave some of its texts out"):
        catalog.keep(TEXTS, "a")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("My Mails (2).csv", "my-mails-2"),
        ("spam.csv.gz", "spam"),
        ("a.b.parquet", "a-b"),
        ("...", "my-dataset"),
        ("ünï.tsv", "n"),
    ],
)
def test_a_name_is_suggested_from_that_of_the_file(file: str, name: str) -> None:
    assert suggested_name(file) == name
