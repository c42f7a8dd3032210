"""The catalog: datasets are found in every usual layout, and read whole or not at all."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torchvision
from torchvision import datasets

from core.data.dataset import TextDataset
from core.data.sources import built_in
from core.data.sources.built_in import FILE
from core.data.sources.catalog import Catalog
from core.data.sources.published import PUBLISHED
from core.errors import DatasetError
from core.settings import Settings
from tests.data.idx_files import LETTERS, MNIST, Files, idx, idx_files, put, tree, zipped
from tests.data.pack_mnist import files_of, full_mnist
from tests.data.uploaded import check_same

PACKED = {"train": "f205f39280b369bf7049d56255b45189", "test": "1d8539bafddf361b68887d0fe7880085"}
"""MD5 of the images and labels of each part of mnist-16k, headers with their numbers included."""


BUILT_IN = {
    "digits": ("image", 10, "CC BY 4.0"),
    "definitions": ("text", 12, "WordNet 3.0"),
    "mnist-16k": ("image", 10, "CC BY-SA 3.0"),
}


@pytest.mark.parametrize("name", BUILT_IN)
def test_what_comes_along_is_always_there_and_always_the_same(name: str, catalog: Catalog, tmp_path: Path) -> None:
    info = catalog.info(name)
    assert (info.state, info.kind, info.num_classes, info.licence) == ("ready", *BUILT_IN[name])
    assert catalog.comes_along(name)
    check_same(catalog.load(name), Catalog(Settings(tmp_path)).load(name))
    assert list(tmp_path.iterdir()) == []


def test_digits_are_white_on_black_and_a_fifth_of_each_class_is_tested_on(catalog: Catalog) -> None:
    digits = catalog.load("digits")
    assert digits.train_images.dtype == np.uint8
    assert digits.train_images.shape[1:] == (28, 28)
    assert digits.train_images.min() == 0
    assert digits.train_images.max() > 240
    assert len(digits.train_labels) + len(digits.test_labels) == 1797
    train, test = np.bincount(digits.train_labels, minlength=10), np.bincount(digits.test_labels, minlength=10)
    assert (abs(test / (train + test) - 0.2) < 0.01).all()


def test_definitions_are_all_different_and_as_many_of_each_class(catalog: Catalog) -> None:
    found = catalog.load("definitions")
    assert isinstance(found, TextDataset)
    for labels, count in ((found.train_labels, 1000), (found.test_labels, 200)):
        assert np.bincount(labels).tolist() == [count] * 12
    everything = [*found.train_texts, *found.test_texts]
    assert len(set(everything)) == len(everything) == 14_400
    assert all(text == text.strip() and len(text) > 2 for text in everything)
    assert (found.train_texts[1], found.class_names[found.train_labels[1]]) == ("a lump of slimy stuff", "group")


def test_a_part_of_mnist_is_that_of_the_published_files(catalog: Catalog) -> None:
    part = catalog.load("mnist-16k")
    for name, digest in PACKED.items():
        images, labels = getattr(part, f"{name}_images"), getattr(part, f"{name}_labels")
        assert images.dtype == np.uint8
        assert hashlib.md5(idx(images) + idx(labels)).hexdigest() == digest
    # The first labels of MNIST's training part and of its test part, as everybody has seen them.
    assert part.train_labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert part.test_labels[:5].tolist() == [7, 2, 1, 0, 4]


def test_the_files_of_the_part_are_small_and_have_no_date() -> None:
    files = [built_in.FOLDER / f"{stem}.gz" for stem in built_in.MNIST_16K.stems]
    assert sum(file.stat().st_size for file in files) < 2.7e6
    assert {file.read_bytes()[4:8] for file in files} == {bytes(4)}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("definitions", ("WordNet 3.0 Copyright 2006 by Princeton University",)),
        ("mnist-16k", ("Yann LeCun and Corinna Cortes", "CC BY-SA 3.0", "as Keras states it", "What was changed")),
    ],
)
def test_licences_lie_beside_what_they_are_of(name: str, words: tuple[str, ...]) -> None:
    licence = FILE.with_name(f"{name}.LICENSE").read_text()
    assert [word for word in words if word not in licence] == []


@pytest.mark.parametrize("missing", built_in.MNIST_16K.stems)
def test_a_part_without_one_of_its_files_is_refused_in_one_sentence(
    missing: str, catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for stem in built_in.MNIST_16K.stems:
        if stem != missing:
            (tmp_path / f"{stem}.gz").symlink_to(built_in.FOLDER / f"{stem}.gz")
    monkeypatch.setattr(built_in, "FOLDER", tmp_path)
    with pytest.raises(DatasetError, match="install LoRA Lab again"):
        catalog.load("mnist-16k")


@pytest.mark.full_size
def test_the_part_is_what_is_said_of_the_published_files(tmp_path: Path) -> None:
    for stem, content in files_of(full_mnist(tmp_path)).items():
        assert gzip.decompress((built_in.FOLDER / f"{stem}.gz").read_bytes()) == content


@pytest.mark.parametrize("folder", ["MNIST/raw", "MNIST", "mnist", "mnist/raw"])
@pytest.mark.parametrize("files", [idx_files(MNIST), zipped(idx_files(MNIST))], ids=["plain", "gzipped"])
@pytest.mark.parametrize("place", ["data", "home/datasets"])
def test_every_usual_layout_is_read_and_never_written_to(folder: str, files: Files, place: str, tmp_path: Path) -> None:
    put(tmp_path / place / folder, files)
    before = tree(tmp_path)
    catalog = Catalog(Settings(tmp_path / "home", data_folder=tmp_path / "data"))
    assert catalog.info("mnist").state == "ready"
    mnist = catalog.load("mnist")
    assert mnist.train_images.shape == (60, 28, 28)
    assert not any(part.flags.writeable for part in (mnist.train_images, mnist.train_labels, mnist.test_labels))
    assert tree(tmp_path) == before


@pytest.mark.parametrize("missing", MNIST.stems)
def test_a_dataset_with_a_missing_file_is_absent(missing: str, catalog: Catalog, tmp_path: Path) -> None:
    files = idx_files(MNIST)
    del files[missing]
    put(tmp_path / "datasets/MNIST/raw", files)
    assert catalog.info("mnist").state == "absent"
    with pytest.raises(DatasetError, match="download it, or set LORA_LAB_DATA"):
        catalog.load("mnist")


def test_torchvision_reads_the_same_images_and_labels(tmp_path: Path) -> None:
    put(tmp_path / "MNIST/raw", idx_files(MNIST))
    put(tmp_path / "EMNIST/raw", idx_files(LETTERS))
    catalog = Catalog(Settings(tmp_path / "home", data_folder=tmp_path))
    mnist, letters = catalog.load("mnist"), catalog.load("emnist-letters")
    for part in ("train", "test"):
        theirs = torchvision.datasets.MNIST(tmp_path, train=part == "train")
        np.testing.assert_array_equal(getattr(mnist, f"{part}_images"), theirs.data.numpy())
        np.testing.assert_array_equal(getattr(mnist, f"{part}_labels"), theirs.targets.numpy())
        # torchvision leaves EMNIST lying on its side, and its labels from 1.
        theirs = torchvision.datasets.EMNIST(tmp_path, split="letters", train=part == "train")
        np.testing.assert_array_equal(getattr(letters, f"{part}_images"), theirs.data.numpy().transpose(0, 2, 1))
        np.testing.assert_array_equal(getattr(letters, f"{part}_labels"), theirs.targets.numpy() - 1)
    assert letters.num_classes == 26
    assert [letters.class_names[0], letters.class_names[25]] == ["a", "z"]


@pytest.mark.parametrize("ask", [Catalog.info, Catalog.load, Catalog.download])
@pytest.mark.parametrize("name", ["cifar", "", "../mnist"])
def test_an_unknown_name_is_answered_with_the_known_ones(ask: Callable, name: str, catalog: Catalog) -> None:
    with pytest.raises(DatasetError, match="digits, mnist-16k, mnist, fashion-mnist, kmnist, emnist-letters"):
        ask(catalog, name)


def test_the_best_dataset_is_the_best_of_those_that_are_here(catalog: Catalog, tmp_path: Path) -> None:
    assert [info.name for info in catalog.list() if info.state == "ready"] == ["digits", "mnist-16k", "definitions"]
    for source, best in [(3, "mnist-16k"), (2, "kmnist"), (1, "fashion-mnist"), (0, "mnist")]:
        put(tmp_path / "datasets" / PUBLISHED[source].folder / "raw", idx_files(PUBLISHED[source]))
        assert catalog.best() == best
    assert {info.state for info in catalog.list()} == {"ready"}


def test_threads_share_one_copy_and_only_the_latest_datasets_stay(tmp_path: Path) -> None:
    put(tmp_path / "datasets/MNIST/raw", idx_files(MNIST))
    catalog = Catalog(Settings(tmp_path), keep=1)
    with ThreadPoolExecutor(8) as pool:
        copies = list(pool.map(catalog.load, ["mnist"] * 16))
    assert len({id(copy) for copy in copies}) == 1
    catalog.load("digits")
    assert catalog.load("mnist") is not copies[0]


@pytest.mark.full_size
def test_mnist_at_full_size_is_read_whole(tmp_path: Path) -> None:
    catalog = Catalog(replace(Settings.from_environment(), home=tmp_path))
    mnist = catalog.load("mnist")
    assert mnist.train_images.shape == (60_000, 28, 28)
    assert mnist.test_images.shape == (10_000, 28, 28)
    # The MD5 of the published training images, header included.
    assert hashlib.md5(idx(mnist.train_images)).hexdigest() == "6bbc9ace898e44ae57da46a324031adb"
    assert np.bincount(mnist.train_labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert catalog.best() == "mnist"


def test_addresses_checksums_and_classes_are_those_of_torchvision() -> None:
    mnist, fashion, kmnist, letters = PUBLISHED
    for own, theirs in ((mnist, datasets.MNIST), (fashion, datasets.FashionMNIST), (kmnist, datasets.KMNIST)):
        assert own.url == theirs.mirrors[0]
        assert list(own.resources) == list(theirs.resources)
    assert fashion.class_names == tuple(datasets.FashionMNIST.classes)
    assert kmnist.class_names == tuple(datasets.KMNIST.classes)
    assert letters.class_names == tuple(datasets.EMNIST.classes_split_dict["letters"][1:])
    assert letters.url + letters.resources[0][0] == datasets.EMNIST.url
    assert letters.resources[0][1] == datasets.EMNIST.md5
