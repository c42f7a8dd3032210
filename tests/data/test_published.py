"""What is known of published datasets is what torchvision knows."""

from __future__ import annotations

from torchvision import datasets

from core.data.sources.published import PUBLISHED


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
