"""Datasets that are kept: whole or not at all, under a name that stands for one of them for good."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from core.data.dataset import ImageDataset
from core.data.sources import own
from core.data.sources.catalog import Catalog
from core.data.task_spec import TaskSpec
from core.data.uploads import read_texts, read_upload
from core.errors import DatasetError
from core.settings import Settings
from core.tasks.tasks import Tasks
from tests.data.text_files import CSV as TEXT_FILE
from tests.data.uploaded import CSV, FOLDERS, NPZ, X, Y, arrays


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog(Settings(tmp_path))


DRAFT = read_upload(NPZ).dataset
OTHER = read_upload(arrays(x_train=255 - X, y_train=Y)).dataset
TEXTS = read_texts(TEXT_FILE).dataset


def test_a_kept_dataset_is_like_any_other(catalog: Catalog, tmp_path: Path) -> None:
    catalog.keep(DRAFT, "my-cats-2")
    for one in (catalog, Catalog(Settings(tmp_path))):
        info = one.info("my-cats-2")
        assert (info.state, info.num_classes, info.is_own, info.download_bytes) == ("ready", 4, True, 0)
        assert info in one.list()
        _same(one.load("my-cats-2"), DRAFT)
        assert Tasks(one).get(TaskSpec.of(dataset="my-cats-2")).num_train == 36
    assert {path.name for path in (tmp_path / "datasets/own").iterdir()} == {
        ".lock",
        "my-cats-2.safetensors",
        "my-cats-2.sha256",
    }


def _same(one: ImageDataset, two: ImageDataset) -> None:
    for part in ("train_images", "train_labels", "test_images", "test_labels"):
        np.testing.assert_array_equal(getattr(one, part), getattr(two, part))
        assert not getattr(one, part).flags.writeable
    assert one.class_names == two.class_names


@pytest.mark.parametrize(
    "name",
    ["", "A", "a b", "a/b", "../a", "-a", "a" * 65, "a.b", "mnist", "digits", "definitions", "ä", "a\n", "a\0", "CON"],
)
def test_a_name_that_cannot_be_had_is_a_sentence_and_writes_nothing(
    name: str, catalog: Catalog, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match=r"letters, digits and hyphens|belongs to a built-in dataset"):
        catalog.keep(DRAFT, name)
    with pytest.raises(DatasetError, match=r"letters, digits and hyphens|belongs to a built-in dataset"):
        catalog.keep(TEXTS, name)
    with pytest.raises(DatasetError, match="not an uploaded dataset"):
        catalog.remove(name)
    assert list(tmp_path.iterdir()) == []


def test_a_name_is_taken_once_and_stands_for_one_dataset_for_good(catalog: Catalog) -> None:
    catalog.keep(DRAFT, "a")
    with pytest.raises(DatasetError, match="already"):
        catalog.keep(OTHER, "a")
    _same(catalog.load("a"), DRAFT)
    tasks = Tasks(catalog)
    task = tasks.get(TaskSpec.of(dataset="a"))
    catalog.remove("a")
    catalog.remove("a")
    assert [info.name for info in catalog.list() if info.is_own] == []
    for gone in (lambda: catalog.load("a"), lambda: catalog.info("a"), lambda: tasks.get(task.spec)):
        with pytest.raises(DatasetError, match="no dataset 'a'"):
            gone()
    with pytest.raises(DatasetError, match="belonged to another dataset before"):
        catalog.keep(OTHER, "a")
    assert [info.name for info in catalog.list() if info.is_own] == []
    catalog.keep(DRAFT, "a")
    _same(catalog.load("a"), DRAFT)


def test_two_tabs_that_keep_and_remove_at_once_leave_one_whole_dataset(catalog: Catalog, tmp_path: Path) -> None:
    catalogs = [catalog, Catalog(Settings(tmp_path))]

    def keep(turn: int) -> str:
        try:
            catalogs[turn % 2].keep(DRAFT if turn % 4 < 2 else OTHER, "a")
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
    catalog.keep(DRAFT, "a")
    monkeypatch.setattr(own, "MAX_BYTES", 60_000)
    with pytest.raises(DatasetError, match="delete one first"):
        catalog.keep(OTHER, "b")
    catalog.remove("a")
    catalog.keep(OTHER, "b")
    monkeypatch.setattr(own, "MAX_DATASETS", 1)
    with pytest.raises(DatasetError, match="and 1 files: delete"):
        catalog.keep(DRAFT, "a")
    assert [info.name for info in catalog.list() if info.is_own] == ["b"]


def test_a_damaged_dataset_can_be_removed_and_uploaded_again(catalog: Catalog, tmp_path: Path) -> None:
    catalog.keep(DRAFT, "a")
    (tmp_path / "datasets/own/a.safetensors").write_bytes(b"damaged")
    assert catalog.info("a").state == "damaged"
    catalog.remove("a")
    catalog.keep(DRAFT, "a")
    _same(catalog.load("a"), DRAFT)


def test_strange_files_in_the_folder_are_no_datasets(catalog: Catalog, tmp_path: Path) -> None:
    catalog.keep(DRAFT, "a")
    for name in ("mnist", "A b", ".hidden"):
        (tmp_path / f"datasets/own/{name}.safetensors").write_bytes(b"x")
    (tmp_path / "datasets/own/folder.safetensors").mkdir()
    assert [info.name for info in catalog.list() if info.is_own] == ["a"]
    assert catalog.info("mnist").state == "absent"


def test_a_failed_write_leaves_what_was_there(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog.keep(DRAFT, "a")
    before = {path.name for path in (tmp_path / "datasets/own").iterdir()}
    full: Callable[..., str] = own.write_atomically

    def write(failing: str, path: Path, content: bytes) -> str:
        if path.suffix == failing:
            raise OSError(28, "No space left on device")
        return full(path, content)

    for failing in (".safetensors", ".sha256"):
        monkeypatch.setattr(own, "write_atomically", partial(write, failing))
        with pytest.raises(DatasetError, match="b could not be saved: No space left on device"):
            catalog.keep(OTHER, "b")
        assert {path.name for path in (tmp_path / "datasets/own").iterdir()} == before
    monkeypatch.undo()
    (tmp_path / "datasets/own/.c.safetensors.abc.part").write_bytes(b"half")
    catalog.keep(OTHER, "b")
    assert not list((tmp_path / "datasets/own").glob(".*.part"))


@pytest.mark.parametrize("writes", [0, 1])
def test_a_process_that_is_killed_leaves_no_dataset_that_is_never_checked(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    class Killed(BaseException):
        """Nothing is cleaned up after it."""

    whole: Callable[..., str] = own.write_atomically
    written: list[Path] = []

    def write(path: Path, content: bytes) -> str:
        if len(written) == writes:
            raise Killed
        written.append(path)
        return whole(path, content)

    monkeypatch.setattr(own, "write_atomically", write)
    with pytest.raises(Killed):
        catalog.keep(DRAFT, "a")
    monkeypatch.undo()
    datasets, digests = ({path.stem for path in tmp_path.rglob(f"*{ending}")} for ending in (".safetensors", ".sha256"))
    assert datasets <= digests
    assert [info.name for info in catalog.list() if info.is_own] == sorted(datasets)
    catalog.keep(DRAFT, "a")
    _same(catalog.load("a"), DRAFT)


def test_a_full_disk_does_not_give_the_name_of_a_removed_dataset_away(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog.keep(DRAFT, "a")
    catalog.remove("a")
    whole: Callable[..., str] = own.write_atomically

    def write(path: Path, content: bytes) -> str:
        if path.suffix == ".safetensors":
            raise OSError(28, "No space left on device")
        return whole(path, content)

    monkeypatch.setattr(own, "write_atomically", write)
    with pytest.raises(DatasetError, match="No space left on device"):
        catalog.keep(DRAFT, "a")
    monkeypatch.undo()
    with pytest.raises(DatasetError, match="belonged to another dataset before"):
        catalog.keep(OTHER, "a")
    catalog.keep(DRAFT, "a")


def test_uploads_are_unpacked_one_at_a_time() -> None:
    with ThreadPoolExecutor(6) as pool:
        drafts = list(pool.map(read_upload, [NPZ, FOLDERS, CSV] * 4))
    assert [draft.dataset.num_classes for draft in drafts] == [4, 2, 4] * 4
    assert threading.active_count() < 30


def test_the_name_in_a_draft_is_that_of_no_file(catalog: Catalog) -> None:
    catalog.keep(replace(DRAFT, name="../../evil"), "a")
    assert catalog.load("a").name == "a"
