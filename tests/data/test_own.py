"""Datasets that are kept, of any kind: whole or not at all, under a name that stands for one of them for good."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.numpy

from core.data.dataset import Dataset, LanguageDataset, TextColumns, TextDataset
from core.data.sources import own
from core.data.sources.catalog import Catalog
from core.data.sources.own import suggested_name
from core.data.sources.own_kinds import OwnImages, OwnPassages, OwnTexts
from core.data.uploads import read_passages, read_texts, read_upload
from core.errors import DatasetError
from core.reader import reading_here
from core.settings import Settings
from tests.data import passage_files
from tests.data.idx_files import tree
from tests.data.text_files import ROWS, separated
from tests.data.uploaded import CSV, FOLDERS, NPZ, X, Y, arrays, check_same


def passages(rows: str, topics: tuple[str, ...] = (), all_scored: bool = False) -> LanguageDataset:
    """Those of a form, in turn of each topic."""
    found = read_passages(passage_files.written(rows, "jsonl"), all_scored=all_scored).dataset
    labels = [np.arange(len(part)) % max(1, len(topics)) for part in (found.train_texts, found.test_texts)]
    return replace(found, train_labels=labels[0], test_labels=labels[1], class_names=topics)


with reading_here():
    IMAGES = read_upload(NPZ).dataset
    OTHER = read_upload(arrays(x_train=255 - X, y_train=Y)).dataset
    TEXTS = read_texts(separated([(f"{text} — ünïcode 😀\n\n end", label) for text, label in ROWS]).encode()).dataset
    PASSAGES = passages("prompts")
    KEPT: dict[str, tuple[Dataset, str, str]] = {
        "images": (IMAGES, "", "Uploaded: 48 images in 4 classes, 28×28 gray, 40 of them for training."),
        "texts": (TEXTS, ".texts", "Uploaded: 18 texts in 3 classes, 15 of them for training."),
        **{
            f"{rows}, {topics}, {all_scored}": (
                passages(rows, topics, all_scored),
                ".passages",
                f"Uploaded: 20 passages{' on 2 topics' * bool(topics)}, 16 of them for training.",
            )
            for rows in passage_files.ROWS
            for topics in ((), ("a", "b"))
            for all_scored in (False, True)
        },
    }
OTHER_TEXTS = replace(TEXTS, train_texts=tuple(reversed(TEXTS.train_texts)))


@pytest.mark.parametrize("which", KEPT)
def test_a_kept_dataset_is_like_any_other(which: str, catalog: Catalog, tmp_path: Path) -> None:
    dataset, ending, line = KEPT[which]
    catalog.keep(dataset, "mine-2")
    folder, file = tmp_path / "datasets/own", f"mine-2{ending}.safetensors"
    for one in (catalog, Catalog(Settings(tmp_path))):
        info = one.info("mine-2")
        assert (info.state, info.line, info.is_own, info.download_bytes) == ("ready", line, True, 0)
        about = (info.kind, info.objective, info.num_classes, info.class_names)
        assert about == (dataset.kind, dataset.objective, dataset.num_classes, dataset.class_names)
        assert info in one.list()
        check_same(one.load("mine-2"), dataset)
        assert one.load("mine-2").name == "mine-2"
        assert one.as_file("mine-2") == (file, (folder / file).read_bytes())
    assert {path.name for path in folder.iterdir()} == {".lock", file, "mine-2.sha256"}


@pytest.mark.parametrize(
    "name",
    ["", "A", "a b", "a/b", "../a", "-a", "a" * 65, "a.b", "mnist", "digits", "definitions", "ä", "a\n", "a\0", "CON"],
)
def test_a_name_that_cannot_be_had_is_a_sentence_and_writes_nothing(
    name: str, catalog: Catalog, tmp_path: Path
) -> None:
    for dataset in (IMAGES, TEXTS):
        with pytest.raises(DatasetError, match=r"letters, digits and hyphens|belongs to a built-in dataset"):
            catalog.keep(dataset, name)
    with pytest.raises(DatasetError, match="not an uploaded dataset"):
        catalog.remove(name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dataset", [IMAGES, TEXTS, PASSAGES], ids=["images", "texts", "passages"])
def test_a_name_is_taken_once_and_stands_for_one_dataset_for_good(dataset: Dataset, catalog: Catalog) -> None:
    others = (OTHER, OTHER_TEXTS)
    catalog.keep(dataset, "a")
    before = catalog.revision("a")
    for other in others:
        with pytest.raises(DatasetError, match="already have a dataset called"):
            catalog.keep(other, "a")
    check_same(catalog.load("a"), dataset)
    catalog.remove("a")
    catalog.remove("a")
    assert [info.name for info in catalog.list() if info.is_own] == []
    for gone in (catalog.load, catalog.info):
        with pytest.raises(DatasetError, match="no dataset 'a'"):
            gone("a")
    for other in others:
        with pytest.raises(DatasetError, match="belonged to another dataset before"):
            catalog.keep(other, "a")
    assert [info.name for info in catalog.list() if info.is_own] == []
    assert catalog.revision("a") == ()
    catalog.keep(dataset, "a")
    assert catalog.revision("a") not in ((), before)
    check_same(catalog.load("a"), dataset)


def test_what_is_known_of_its_table_makes_a_dataset_no_other_one(catalog: Catalog) -> None:
    """Earlier versions have kept none or less of it."""
    for columns in (None, TEXTS.columns, TextColumns("a", "label (2)", "b"), TextColumns("a", "b", None, True), None):
        catalog.keep(replace(TEXTS, columns=columns), "a")
        loaded = catalog.load("a")
        assert isinstance(loaded, TextDataset)
        assert loaded.columns == columns
        catalog.remove("a")


def test_each_source_takes_its_kind_only(tmp_path: Path) -> None:
    for source, dataset in ((OwnTexts, IMAGES), (OwnImages, TEXTS), (OwnPassages, TEXTS)):
        with pytest.raises(DatasetError, match="Only datasets of"):
            source(Settings(tmp_path)).keep(dataset, "a")
    assert list(tmp_path.iterdir()) == []


def test_what_could_not_be_read_again_is_not_written(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own, "MAX_FILE", 100)
    for dataset, what in ((TEXTS, "texts"), (PASSAGES, "passages")):
        with pytest.raises(DatasetError, match=f"leave some of its {what} out"):
            catalog.keep(dataset, "a")
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


def test_two_tabs_that_keep_and_remove_at_once_leave_one_whole_dataset(catalog: Catalog, tmp_path: Path) -> None:
    catalogs = [catalog, Catalog(Settings(tmp_path))]

    def keep(turn: int) -> str:
        try:
            catalogs[turn % 2].keep(IMAGES if turn % 4 < 2 else OTHER, "a")
        except DatasetError as error:
            return str(error)
        return "kept"

    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(keep, range(16)))
    assert said.count("kept") == 1
    assert all("already" in sentence for sentence in said if sentence != "kept")
    assert catalog.load("a").num_classes == 4
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda turn: catalogs[turn % 2].remove("a"), range(8)))
    assert [path.name for path in (tmp_path / "datasets/own").glob("*.safetensors")] == []


def test_the_total_of_all_own_datasets_is_bounded(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog.keep(IMAGES, "a")
    monkeypatch.setattr(own, "MAX_BYTES", 60_000)
    with pytest.raises(DatasetError, match="delete one first"):
        catalog.keep(OTHER, "b")
    catalog.remove("a")
    catalog.keep(OTHER, "b")
    catalog.keep(TEXTS, "c")
    monkeypatch.setattr(own, "MAX_DATASETS", 2)
    for dataset in (IMAGES, OTHER_TEXTS):
        with pytest.raises(DatasetError, match=r"in 2 files; the limits are .* and 2 files: delete"):
            catalog.keep(dataset, "d")
    assert [(info.name, info.kind) for info in catalog.list() if info.is_own] == [("b", "image"), ("c", "text")]


def test_a_damaged_dataset_can_be_removed_and_uploaded_again(catalog: Catalog, tmp_path: Path) -> None:
    catalog.keep(IMAGES, "a")
    (tmp_path / "datasets/own/a.safetensors").write_bytes(b"damaged")
    assert catalog.info("a").state == "damaged"
    catalog.remove("a")
    catalog.keep(IMAGES, "a")
    check_same(catalog.load("a"), IMAGES)


Change = Callable[[dict[str, np.ndarray]], None]


@pytest.mark.parametrize(
    "change",
    [
        lambda arrays: arrays["train_kinds"].fill(9),
        lambda arrays: arrays["train_kinds"].fill(0),
        lambda arrays: arrays["train_kinds"].__setitem__(0, 3),
        lambda arrays: arrays["train_counts"].fill(0),
        lambda arrays: arrays["train_counts"].__setitem__(0, 2**62),
        lambda arrays: arrays["train_ends"].__setitem__(0, 10**6),
        lambda arrays: arrays["train_ends"].__setitem__(-1, 1),
        lambda arrays: arrays["train_texts"].fill(255),
    ],
)
def test_a_file_of_passages_that_contradicts_itself_is_damaged(change: Change, tmp_path: Path) -> None:
    source = OwnPassages(Settings(tmp_path))
    content = source.content(PASSAGES)
    assert source.read("mine", content).num_classes == 0
    arrays = {name: array.copy() for name, array in safetensors.numpy.load(content).items()}
    change(arrays)
    file = tmp_path / "mine.safetensors"
    file.write_bytes(content)
    with safetensors.safe_open(file, "np") as about:
        changed = safetensors.numpy.save(arrays, about.metadata())
    with pytest.raises(DatasetError, match="The file of your dataset mine is damaged"):
        source.read("mine", changed)


def test_strange_files_in_the_folder_are_no_datasets(catalog: Catalog, tmp_path: Path) -> None:
    catalog.keep(IMAGES, "a")
    for name in ("mnist", "A b", ".hidden"):
        (tmp_path / f"datasets/own/{name}.safetensors").write_bytes(b"x")
    (tmp_path / "datasets/own/folder.safetensors").mkdir()
    assert [info.name for info in catalog.list() if info.is_own] == ["a"]
    assert catalog.info("mnist").state == "absent"


FULL = OSError(28, "No space left on device")


@contextmanager
def failing(ending: str, error: BaseException = FULL) -> Iterator[None]:
    """No file with this ending can be written."""
    whole: Callable[..., str] = own.write_atomically

    def write(path: Path, content: bytes) -> str:
        if path.suffix == ending:
            raise error
        return whole(path, content)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(own, "write_atomically", write)
        yield


@pytest.mark.parametrize("ending", [".safetensors", ".sha256"])
def test_a_failed_write_leaves_what_was_there(ending: str, catalog: Catalog, tmp_path: Path) -> None:
    catalog.keep(IMAGES, "a")
    before = tree(tmp_path)
    with failing(ending), pytest.raises(DatasetError, match="b could not be saved: No space left on device"):
        catalog.keep(OTHER, "b")
    assert tree(tmp_path) == before
    (tmp_path / "datasets/own/.c.safetensors.abc.part").write_bytes(b"half")
    catalog.keep(OTHER, "b")
    assert not list((tmp_path / "datasets/own").glob(".*.part"))


class Killed(BaseException):
    """Nothing is cleaned up after it."""


@pytest.mark.parametrize("ending", [".safetensors", ".sha256"])
def test_a_process_that_is_killed_leaves_no_dataset_that_is_never_checked(
    ending: str, catalog: Catalog, tmp_path: Path
) -> None:
    with failing(ending, Killed()), pytest.raises(Killed):
        catalog.keep(IMAGES, "a")
    datasets, digests = ({path.stem for path in tmp_path.rglob(f"*{ending}")} for ending in (".safetensors", ".sha256"))
    assert datasets <= digests
    assert [info.name for info in catalog.list() if info.is_own] == sorted(datasets)
    catalog.keep(IMAGES, "a")
    check_same(catalog.load("a"), IMAGES)


def test_a_full_disk_does_not_give_the_name_of_a_removed_dataset_away(catalog: Catalog) -> None:
    catalog.keep(IMAGES, "a")
    catalog.remove("a")
    with failing(".safetensors"), pytest.raises(DatasetError, match="No space left on device"):
        catalog.keep(IMAGES, "a")
    with pytest.raises(DatasetError, match="belonged to another dataset before"):
        catalog.keep(OTHER, "a")
    catalog.keep(IMAGES, "a")


def test_uploads_are_unpacked_one_at_a_time() -> None:
    before = threading.active_count()
    with ThreadPoolExecutor(6) as pool:
        drafts = list(pool.map(read_upload, [NPZ, FOLDERS, CSV] * 4))
    assert [draft.dataset.num_classes for draft in drafts] == [4, 2, 4] * 4
    assert threading.active_count() < before + 6


def test_the_name_in_a_draft_is_that_of_no_file(catalog: Catalog) -> None:
    catalog.keep(replace(IMAGES, name="../../evil"), "a")
    assert catalog.load("a").name == "a"
