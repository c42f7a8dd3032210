"""Read a zip of images in class folders, with or without ``train/`` and ``test/`` above them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.data.dataset import SIDE
from core.data.uploads.draft import Draft, Part, make_draft
from core.data.uploads.images import ENDINGS, decode
from core.data.uploads.parts import part_of, train_and_test
from core.errors import DatasetError
from core.zip_file import MAY_RUN_CODE, UntrustedZip, ZipEntry

PACKED = (".zip", ".npz", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")


def read_folders(archive: UntrustedZip) -> Draft:
    """Read the dataset in a zip of images with one folder per class.

    Raises:
        DatasetError: there are no such folders, an entry is not allowed, or an image cannot be used.
    """
    files, skipped = _pictures(archive)
    if not files:
        raise DatasetError("The zip contains no images: put PNG or JPEG files into one folder per class.")
    by_part, part_note = _by_part(files)
    names = sorted({name for part in by_part.values() for name, _ in part}, key=_order)
    label_of = {name: label for label, name in enumerate(names)}
    parts = {}
    for part, pictures in by_part.items():
        images = np.empty((len(pictures), SIDE, SIDE), np.uint8)
        for i, (_, entry) in enumerate(pictures):
            content = archive.read(entry)
            images[i] = decode(content, f"The image {entry.name[-80:]!r}")
        labels = np.array([label_of[name] for name, _ in pictures], np.int64)
        parts[part] = Part(images, labels)
    what = "1 file that is not an image was" if skipped == 1 else f"{skipped:,} files that are not images were"
    notes = [*([f"{what} skipped."] if skipped else []), *([part_note] if part_note else [])]
    return make_draft(names, parts["train"], parts.get("test"), notes)


def _pictures(archive: UntrustedZip) -> tuple[list[tuple[tuple[str, ...], ZipEntry]], int]:
    """The folders and entry of every image, sorted by path, and the number of other files."""
    files, skipped = [], 0
    for entry in archive.entries:
        *folders, name = entry.name.split("/")
        if name.startswith(".") or "__MACOSX" in folders or name in ("Thumbs.db", "desktop.ini"):
            continue
        ending = name[name.rfind(".") :].lower()
        if ending in PACKED:
            raise DatasetError(f"The zip contains another archive, {name[:80]!r}: zip the images themselves.")
        if ending in MAY_RUN_CODE:
            raise DatasetError(f"The zip contains {name[:80]!r}: files of that kind can run code when they are read.")
        if ending in ENDINGS:
            files.append((tuple(folders), entry))
        else:
            skipped += 1
    return sorted(files, key=lambda file: file[1].name), skipped


def _by_part(
    files: Sequence[tuple[tuple[str, ...], ZipEntry]],
) -> tuple[dict[str, list[tuple[str, ZipEntry]]], str | None]:
    """Images with their classes, for the train part and, if there is one, the test part; and a note on the parts."""
    paths = [folders for folders, _ in files]
    # Skip folders that contain everything: most programs put one around what they zip.
    around = 0
    while all(len(path) > around + 1 for path in paths) and len({path[around] for path in paths}) == 1:
        around += 1
    tops = {path[around] if len(path) > around else "" for path in paths}
    kinds = {part_of(top) for top in tops}
    has_parts = "train" in kinds and len(kinds) > 1 and all(len(path) > around + 1 for path in paths)
    if has_parts and None in kinds:
        other = min(top for top in tops if part_of(top) is None)
        raise DatasetError(
            f"The folder {other[:80]!r} beside train is no part of a dataset: leave it out, or name it test or "
            "validation."
        )
    deep = around + 2 if has_parts else around + 1
    by_part: dict[str, list[tuple[str, ZipEntry]]] = {}
    found = [part_of(path[around]) or "train" for path in paths] if has_parts else ["train"] * len(paths)
    parts, note = train_and_test(found)
    for (folders, entry), part in zip(files, parts, strict=True):
        if len(folders) != deep:
            raise DatasetError(
                f"The image {entry.name[-80:]!r} is in no class folder: put the images into one folder per class, "
                "directly or below train and test."
            )
        by_part.setdefault(part, []).append((folders[-1], entry))
    return by_part, note


def _order(name: str) -> tuple[int, int, str]:
    """Sort key: numbers by value first, then words alphabetically."""
    is_number = name.isascii() and name.isdecimal()
    return (not is_number, int(name[:20]) if is_number else 0, name)
