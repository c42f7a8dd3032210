"""Read a zip of images in class folders, with or without ``train/`` and ``test/`` above them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from core.data.dataset import SIDE, ImageDataset
from core.data.uploads.draft import Draft
from core.data.uploads.faults import Faults
from core.data.uploads.image_draft import Part, make_draft
from core.data.uploads.images import ENDINGS, decode
from core.data.uploads.parts import part_of, train_and_test
from core.data.uploads.text_file import check_holds_data
from core.errors import DatasetError, printable
from core.numbers import listed
from core.zip_file import MAY_RUN_CODE, UntrustedZip, ZipEntry

NO_FOLDER = (
    "The image {!r} is in no class folder: put the images into one folder per class, directly or below train and test."
)

MAX_SKIPPED = 3
"""Maximum number of files that are no images that are named."""

PACKED = (".zip", ".npz", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")


def read_folders(archive: UntrustedZip, leave_out: bool = False) -> Draft[ImageDataset]:
    """Read the dataset in a zip of images with one folder per class.

    Args:
        archive: the zip.
        leave_out: whether images that cannot be used are left out.

    Raises:
        DatasetError: there are no such folders, an entry is not allowed, or an image cannot be used.
    """
    files, skipped = _pictures(archive)
    if not files:
        check_holds_data(archive)
        raise DatasetError("The zip contains no images: put PNG or JPEG files into one folder per class.")
    faults = Faults()
    files = _in_class_folders(files, faults)
    by_part, part_note = _by_part(files)
    names = sorted({name for part in by_part.values() for name, _ in part}, key=_order)
    label_of = {name: label for label, name in enumerate(names)}
    parts, colored = {}, 0
    for part, pictures in by_part.items():
        images = np.empty((len(pictures), SIDE, SIDE), np.uint8)
        labels = np.empty(len(pictures), np.int64)
        count = 0
        for name, entry in pictures:
            content = archive.read(entry)
            try:
                images[count], has_colors = decode(content, f"The image {entry.name[-80:]!r}")
            except DatasetError as error:
                faults.add(str(error))
                continue
            colored += has_colors
            labels[count] = label_of[name]
            count += 1
        parts[part] = Part(images[:count], labels[:count])
    faults.check(sum(len(part.labels) for part in parts.values()), leave_out)
    notes = [*([_skipped(skipped)] if skipped else []), *([part_note] if part_note else [])]
    draft = faults.without(lambda: make_draft(names, parts["train"], parts.get("test"), notes, faults), "images")
    return replace(draft, colored=colored)


def _skipped(names: Sequence[str]) -> str:
    """A note on files that are no images, as in ``1 file that is not an image was skipped: a/readme.txt.``"""
    what = "1 file that is not an image was" if len(names) == 1 else f"{len(names):,} files that are not images were"
    shown = [printable(name[-80:]) for name in names[:MAX_SKIPPED]]
    more = [f"{len(names) - MAX_SKIPPED:,} more"] if len(names) > MAX_SKIPPED else []
    return f"{what} skipped: {listed([*shown, *more])}."


def _pictures(archive: UntrustedZip) -> tuple[list[tuple[tuple[str, ...], ZipEntry]], list[str]]:
    """The folders and entry of every image, sorted by path, and the names of other files."""
    files, skipped = [], []
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
            skipped.append(entry.name)
    return sorted(files, key=lambda file: file[1].name), skipped


def _in_class_folders(
    files: Sequence[tuple[tuple[str, ...], ZipEntry]], faults: Faults
) -> list[tuple[tuple[str, ...], ZipEntry]]:
    """The images that are as deep in folders as most of them, at least one deep; others become faults."""
    depths = Counter(len(folders) for folders, _ in files)
    deep = max(depths, key=lambda depth: (depths[depth], depth)) or 1
    found = []
    for folders, entry in files:
        if len(folders) == deep:
            found.append((folders, entry))
        else:
            faults.add(NO_FOLDER.format(entry.name[-80:]))
    faults.check(len(found), leave_out=True)
    return found


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
            raise DatasetError(NO_FOLDER.format(entry.name[-80:]))
        by_part.setdefault(part, []).append((folders[-1], entry))
    return by_part, note


def _order(name: str) -> tuple[int, int, str]:
    """Sort key: numbers by value first, then words alphabetically."""
    is_number = name.isascii() and name.isdecimal()
    return (not is_number, int(name[:20]) if is_number else 0, name)
