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
from core.data.sources import mnist_16k
from core.data.sources.catalog import Catalog
from core.data.sources.definitions import FILE
from core.data.sources.published import PUBLISHED
from core.errors import DatasetError
from core.settings import Settings
from tests.data.idx_files import LETTERS, MNIST, Files, idx, idx_files, put, tree, zipped
from tests.data.pack_mnist import files_of, full_mnist

PACKED = {"train": "f205f39280b369bf7049d56255b45189", "test": "1d8539bafddf361b68887d0fe7880085"}
"""MD5 of the images and labels of each part of mnist-16k, headers included."""


def test_digits_are_always_there_and_always_the_same(tmp_path: Path) -> None:
    first, second = Catalog(Settings(tmp_path)).load("digits"), Catalog(Settings(tmp_path)).load("digits")
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        one = getattr(first, name)
        np.testing.assert_array_equal(one, getattr(second, name))
        assert not one.flags.writeable
    assert first.train_images.dtype == np.uint8
    assert first.train_images.shape[1:] == (28, 28)
    assert first.train_images.min() == 0
    assert first.train_images.max() > 240
    assert len(first.train_labels) + len(first.test_labels) == 1797
    train, test = np.bincount(first.train_labels, minlength=10), np.bincount(first.test_labels, minlength=10)
    assert (abs(test / (train + test) - 0.2) < 0.01).all()
    assert list(tmp_path.iterdir()) == []


def test_definitions_are_always_there_and_always_the_same(tmp_path: Path) -> None:
    catalog = Catalog(Settings(tmp_path))
    info = catalog.info("definitions")
    assert (info.state, info.kind, info.num_classes, info.licence) == ("ready", "text", 12, "WordNet 3.0")
    first, second = catalog.load("definitions"), Catalog(Settings(tmp_path)).load("definitions")
    assert isinstance(first, TextDataset)
    assert isinstance(second, TextDataset)
    assert (first.train_texts, first.test_texts) == (second.train_texts, second.test_texts)
    for name, count in (("train_labels", 1000), ("test_labels", 200)):
        one = getattr(first, name)
        np.testing.assert_array_equal(one, getattr(second, name))
        assert not one.flags.writeable
        assert np.bincount(one).tolist() == [count] * 12
    everything = [*first.train_texts, *first.test_texts]
    assert len(set(everything)) == len(everything) == 14_400
    assert all(text == text.strip() and len(text) > 2 for text in everything)
    named = [first.class_names[label] for label in first.train_labels[:3]]
    assert list(zip(first.train_texts, named, strict=False))[1] == ("a lump of slimy stuff", "group")
    assert list(tmp_path.iterdir()) == []


def test_the_licence_of_the_definitions_lies_beside_them() -> None:
    licence = FILE.with_name("definitions.LICENSE").read_text()
    assert "WordNet 3.0 Copyright 2006 by Princeton University" in licence


def test_a_part_of_mnist_is_always_there_and_always_the_same(tmp_path: Path) -> None:
    catalog = Catalog(Settings(tmp_path))
    info = catalog.info("mnist-16k")
    assert (info.state, info.kind, info.num_classes, info.licence) == ("ready", "image", 10, "CC BY-SA 3.0")
    assert catalog.comes_along("mnist-16k")
    part, again = catalog.load("mnist-16k"), Catalog(Settings(tmp_path)).load("mnist-16k")
    for name, count in (("train", 12_000), ("test", 4_000)):
        images, labels = getattr(part, f"{name}_images"), getattr(part, f"{name}_labels")
        assert (images.shape, images.dtype, labels.shape) == ((count, 28, 28), np.uint8, (count,))
        assert hashlib.md5(idx(images) + idx(labels)).hexdigest() == PACKED[name]
        np.testing.assert_array_equal(images, getattr(again, f"{name}_images"))
        assert not images.flags.writeable
        assert not labels.flags.writeable
    # The first labels of MNIST's training part and of its test part, as everybody has seen them.
    assert part.train_labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert part.test_labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert list(tmp_path.iterdir()) == []


def test_the_files_of_the_part_are_small_and_have_no_date() -> None:
    files = [mnist_16k.FOLDER / f"{stem}.gz" for stem in mnist_16k.DATASET.stems]
    assert sum(file.stat().st_size for file in files) < 2.7e6
    assert {file.read_bytes()[4:8] for file in files} == {bytes(4)}


def test_the_licence_of_the_part_lies_beside_it() -> None:
    licence = (mnist_16k.FOLDER / "mnist-16k.LICENSE").read_text()
    for words in ("Yann LeCun and Corinna Cortes", "CC BY-SA 3.0", "as Keras states it", "What was changed"):
        assert words in licence


@pytest.mark.parametrize("missing", mnist_16k.DATASET.stems)
def test_a_part_without_one_of_its_files_is_refused_in_one_sentence(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for stem in mnist_16k.DATASET.stems:
        if stem != missing:
            (tmp_path / f"{stem}.gz").symlink_to(mnist_16k.FOLDER / f"{stem}.gz")
    monkeypatch.setattr(mnist_16k, "FOLDER", tmp_path)
    with pytest.raises(DatasetError, match="install LoRA Lab again"):
        Catalog(Settings(tmp_path)).load("mnist-16k")


@pytest.mark.full_size
def test_the_part_is_what_is_said_of_the_published_files(tmp_path: Path) -> None:
    for stem, content in files_of(full_mnist(tmp_path)).items():
        assert gzip.decompress((mnist_16k.FOLDER / f"{stem}.gz").read_bytes()) == content


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
def test_a_dataset_with_a_missing_file_is_absent(missing: str, tmp_path: Path) -> None:
    files = idx_files(MNIST)
    del files[missing]
    put(tmp_path / "datasets/MNIST/raw", files)
    catalog = Catalog(Settings(tmp_path))
    assert catalog.info("mnist").state == "absent"
    with pytest.raises(DatasetError, match="download it, or set LORA_LAB_DATA"):
        catalog.load("mnist")


def test_torchvision_reads_the_same_images_and_labels(tmp_path: Path) -> None:
    put(tmp_path / "MNIST/raw", idx_files(MNIST))
    put(tmp_path / "EMNIST/raw", idx_files(LETTERS))
    catalog = Catalog(Settings(tmp_path / "home", data_folder=tmp_path))
    mnist, letters = catalog.load("mnist"), catalog.load("emnist-letters")
    for train in (True, False):
        part = "train" if train else "test"
        theirs = torchvision.datasets.MNIST(tmp_path, train=train)
        np.testing.assert_array_equal(getattr(mnist, f"{part}_images"), theirs.data.numpy())
        np.testing.assert_array_equal(getattr(mnist, f"{part}_labels"), theirs.targets.numpy())
        # torchvision leaves EMNIST lying on its side, and its labels from 1.
        theirs = torchvision.datasets.EMNIST(tmp_path, split="letters", train=train)
        np.testing.assert_array_equal(getattr(letters, f"{part}_images"), theirs.data.numpy().transpose(0, 2, 1))
        np.testing.assert_array_equal(getattr(letters, f"{part}_labels"), theirs.targets.numpy() - 1)
    assert letters.num_classes == 26
    assert [letters.class_names[0], letters.class_names[25]] == ["a", "z"]


@pytest.mark.parametrize("ask", [Catalog.info, Catalog.load, Catalog.download])
@pytest.mark.parametrize("name", ["cifar", "", "../mnist"])
def test_an_unknown_name_is_answered_with_the_known_ones(ask: Callable, name: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="digits, mnist-16k, mnist, fashion-mnist, kmnist, emnist-letters"):
        ask(Catalog(Settings(tmp_path)), name)


def test_the_best_dataset_is_the_best_of_those_that_are_here(tmp_path: Path) -> None:
    catalog = Catalog(Settings(tmp_path))
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
        assert list(own.mirrors) == list(theirs.mirrors)
        assert list(own.resources) == list(theirs.resources)
    assert fashion.class_names == tuple(datasets.FashionMNIST.classes)
    assert kmnist.class_names == tuple(datasets.KMNIST.classes)
    assert letters.class_names == tuple(datasets.EMNIST.classes_split_dict["letters"][1:])
    assert letters.mirrors[0] + letters.resources[0][0] == datasets.EMNIST.url
    assert letters.resources[0][1] == datasets.EMNIST.md5
