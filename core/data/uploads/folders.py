"""A zip of images in class folders, with or without ``train/`` and ``test/`` above them."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence

import numpy as np

from core.data.idx import SIDE
from core.data.uploads.draft import Draft, Part, make_draft
from core.data.uploads.images import ENDINGS, decode
from core.data.uploads.limits import MOST_PICTURE, MOST_PIXELS, MOST_PIXELS_IN_ALL
from core.errors import DatasetError
from core.zip_file import UntrustedZip

PACKED = (".zip", ".npz", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".joblib", ".npy")
PARTS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
"""Names of folders that hold class folders."""


def read_folders(archive: UntrustedZip) -> Draft:
    """The dataset in a zip of pictures: a folder is a class.

    Raises:
        DatasetError: no such folders, an entry that has no place here, or a picture that cannot be used.
    """
    files, passed_over = _pictures(archive)
    if not files:
        raise DatasetError("The zip holds no images: put PNG or JPEG files into one folder a class.")
    by_part = _by_part(files)
    names = sorted({name for part in by_part.values() for name, _ in part}, key=_order)
    places = {name: place for place, name in enumerate(names)}
    left = MOST_PIXELS_IN_ALL
    parts = {}
    for part, pictures in by_part.items():
        images = np.empty((len(pictures), SIDE, SIDE), np.uint8)
        for place, (_, info) in enumerate(pictures):
            content = archive.read(info)
            images[place], pixels = decode(content, f"The image {info.filename[-80:]!r}", min(left, MOST_PIXELS))
            left -= pixels
        labels = np.array([places[name] for name, _ in pictures], np.int64)
        parts[part] = Part(images, labels)
    what = "1 file that is no image was" if passed_over == 1 else f"{passed_over:,} files that are no images were"
    notes = [f"{what} passed over."] if passed_over else []
    return make_draft(names, parts["train"], parts.get("test"), notes)


def _pictures(archive: UntrustedZip) -> tuple[list[tuple[tuple[str, ...], zipfile.ZipInfo]], int]:
    """The folders and entry of every picture, in order of their paths, and the number of other files."""
    files, passed_over = [], 0
    for info in archive.entries:
        *folders, name = info.filename.split("/")
        if name.startswith(".") or "__MACOSX" in folders or name in ("Thumbs.db", "desktop.ini"):
            continue
        ending = name[name.rfind(".") :].lower()
        if ending in PACKED:
            raise DatasetError(f"The zip holds another archive, {name[:80]!r}: zip the images themselves.")
        if ending in PICKLES:
            raise DatasetError(f"The zip holds {name[:80]!r}: files of that kind can run code when they are read.")
        if ending in ENDINGS and info.file_size > MOST_PICTURE:
            raise DatasetError(f"The image {info.filename[-80:]!r} is larger than {MOST_PICTURE // 2**20} MiB.")
        if ending in ENDINGS:
            files.append((tuple(folders), info))
        else:
            passed_over += 1
    return sorted(files, key=lambda file: file[1].filename), passed_over


def _by_part(
    files: Sequence[tuple[tuple[str, ...], zipfile.ZipInfo]],
) -> dict[str, list[tuple[str, zipfile.ZipInfo]]]:
    """Pictures with their class, for the train part and, where there is one, the test part."""
    paths = [folders for folders, _ in files]
    # Folders that hold everything say nothing: most programs put one around what they zip.
    around = 0
    while all(len(path) > around + 1 for path in paths) and len({path[around] for path in paths}) == 1:
        around += 1
    tops = {path[around] if len(path) > around else "" for path in paths}
    kinds = {PARTS.get(top.lower()) for top in tops}
    has_parts = kinds == {"train", "test"} and all(len(path) > around + 1 for path in paths)
    deep = around + 2 if has_parts else around + 1
    by_part: dict[str, list[tuple[str, zipfile.ZipInfo]]] = {}
    for folders, info in files:
        if len(folders) != deep:
            raise DatasetError(
                f"The image {info.filename[-80:]!r} is in no class folder: images go into one folder a class, which "
                "may lie in train and test."
            )
        part = PARTS[folders[around].lower()] if has_parts else "train"
        by_part.setdefault(part, []).append((folders[-1], info))
    return by_part


def _order(name: str) -> tuple[int, int, str]:
    """Numbers in order of their value, before words in order of the alphabet."""
    is_number = name.isascii() and name.isdecimal()
    return (not is_number, int(name[:20]) if is_number else 0, name)
