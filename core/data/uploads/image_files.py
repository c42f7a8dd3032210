"""Read a dataset of images in an uploaded file; its type is detected from the bytes, never from the name."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from core.data.dataset import SIDE, ImageDataset
from core.data.uploads.classes import Draft, Faults, named_classes, number_of, part_of, train_and_test
from core.data.uploads.image_draft import (
    ENDINGS,
    Part,
    brightest,
    check_size,
    decode,
    make_draft,
    square_side,
    to_images,
)
from core.data.uploads.limits import MAX_BYTES, MAX_ENTRIES, MAX_IMAGES, MAX_UNPACKED, MIN_SIDE
from core.data.uploads.tables import csv_columns, first_cells
from core.data.uploads.text_file import GZIP, PARQUET, STRANGERS, ZIP, check_holds_data, check_kind, decoded
from core.errors import DatasetError, printable
from core.numbers import listed
from core.reader import GROWTH, Limits, in_reader
from core.zip_file import MAY_RUN_CODE, UntrustedZip, ZipEntry, ZipLimits

TABLES = {
    PARQUET: "a Parquet table, not images",
    b'{"': "JSON, not images",
    b"[{": "JSON, not images",
}
"""Files of texts by their first bytes."""

NAMES = ("x_train", "y_train", "x_test", "y_test")
"""Arrays of an npz."""

LABELS = ("label", "class", "target", "y", "digit")
"""Possible names of the label column of a CSV; without such a name it is the first column."""

MAX_SIDE = 256
"""Pixels along each side of an image of a CSV."""

NO_FOLDER = (
    "The image {!r} is in no class folder: put the images into one folder per class, directly or below train and test."
)

UNSOUND = (".zip", ".npz", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", *MAY_RUN_CODE)
"""Ends of names of files that no zip of images has in it."""

MAX_SKIPPED = 3
"""Maximum number of files that are no images that are named."""


def read_upload(content: bytes, leave_out: bool = False) -> Draft[ImageDataset]:
    """Read the dataset in an uploaded file: a zip of images in class folders, an npz, or a CSV.

    Nothing is written to disk.

    Args:
        content: the file.
        leave_out: whether images that cannot be used are left out; the draft then says which. A file of which most
            cannot be used is refused all the same.

    Raises:
        DatasetError: it cannot be used; the message says why.
    """
    if not content:
        raise DatasetError("The file is empty: choose a zip, an npz or a CSV.")
    if len(content) > MAX_BYTES:
        raise DatasetError(f"The file is larger than {MAX_BYTES // 2**20} MiB: make the images smaller or fewer.")
    return _read(content, leave_out)


@in_reader(DatasetError, limits=Limits(memory=2**30, cpu=30, wall=180, growth=GROWTH))
def _read(content: bytes, leave_out: bool) -> Draft[ImageDataset]:
    check_kind(content, TABLES, "tables of texts are uploaded as Texts")
    check_kind(content, {**STRANGERS, GZIP: "packed with gzip"}, "choose a zip of images, an npz or a CSV")
    if not content.startswith(ZIP):
        return read_pixels(content, leave_out)
    archive = UntrustedZip(content, ZipLimits(MAX_ENTRIES, MAX_UNPACKED), "The file", DatasetError)
    if archive.entries and all(entry.name.endswith(".npy") for entry in archive.entries):
        return read_arrays(archive)
    return read_folders(archive, leave_out)


def read_arrays(archive: UntrustedZip) -> Draft[ImageDataset]:
    """Read the dataset in an ``.npz``: x of shape (n, h, w), (n, h, w, 1) or (n, side²), y of shape (n,) or (n, 1).

    Raises:
        DatasetError: an array is missing, has a wrong shape, is not numeric, or does not match the others.
    """
    entries = {entry.name.removesuffix(".npy"): entry for entry in archive.entries}
    parts = ("train", "test") if "x_test" in entries else ("train",)
    if {*entries} != {f"{axis}_{part}" for axis in "xy" for part in parts}:
        raise DatasetError("The file must contain x_train and y_train, and both or neither of x_test and y_test.")
    arrays = {name: _array(archive.read(entry), name) for name, entry in entries.items()}
    sizes = {part: _size(arrays[f"x_{part}"], f"x_{part}") for part in parts}
    count = sum(len(arrays[f"x_{part}"]) for part in parts)
    if count > MAX_IMAGES:
        raise DatasetError(f"The file has {count:,} images: the limit is {MAX_IMAGES:,}.")
    written = [_labels(arrays[f"y_{part}"], f"y_{part}", len(arrays[f"x_{part}"])) for part in parts]
    names, everything = named_classes([label for part in written for label in part], "The file")
    labels = np.split(everything, [len(written[0])])
    is_share = max(brightest(arrays[f"x_{part}"], f"x_{part}") for part in parts) <= 1
    made = [
        Part(to_images(arrays[f"x_{part}"], *sizes[part], is_share), own)
        for part, own in zip(parts, labels, strict=False)
    ]
    return make_draft(names, made[0], made[1] if len(made) == 2 else None)


def _array(content: bytes, name: str) -> NDArray[np.generic]:
    """The array in a member of an npz. Raises: DatasetError: it is damaged, empty, or has no numbers."""
    file = io.BytesIO(content)
    try:
        array = np.lib.format.read_array(file, allow_pickle=False)
    except Exception as error:  # NumPy raises exceptions of many kinds for damaged files
        raise DatasetError(f"{name} is not an array of plain numbers, or it is damaged: save it again.") from error
    if file.read(1):
        raise DatasetError(f"{name} is longer than its header says: save it again.")
    if array.dtype.kind not in "buif":
        raise DatasetError(f"{name} contains text or other values that are not numbers: save it as uint8 or float32.")
    if not array.size or not array.ndim:
        raise DatasetError(f"{name} is empty: it has the shape {array.shape}.")
    return array


def _size(x: NDArray[np.generic], name: str) -> tuple[int, int]:
    """Height and width of the images in an array."""
    shape = x.shape[1:-1] if len(x.shape) == 4 and x.shape[-1] == 1 else x.shape[1:]
    if len(shape) == 1:
        side = square_side(shape[0], name)
        return side, side
    if len(shape) != 2:
        raise DatasetError(f"{name} has the shape {x.shape}: gray images have (n, 28, 28) or (n, 784).")
    check_size(shape[0], shape[1], f"An image of {name}")
    return shape[0], shape[1]


def _labels(y: NDArray[np.generic], name: str, count: int) -> list[str]:
    """Labels of ``count`` images, which are whole numbers."""
    if y.shape not in ((count,), (count, 1)):
        raise DatasetError(f"{name} has the shape {y.shape}: it needs one label for each of {count:,} images.")
    numbers = y.reshape(-1).astype(np.float64)
    whole = np.isfinite(numbers) & (np.floor(numbers) == numbers)
    if not whole.all():
        raise DatasetError(f"{name} contains {numbers[~whole][0]}: labels are whole numbers.")
    return [f"{number:.0f}" for number in numbers.tolist()]


def read_pixels(content: bytes, leave_out: bool = False) -> Draft[ImageDataset]:
    """Read the dataset in a CSV with one label and its pixels per row, with or without a row of names above them.

    Args:
        content: the file.
        leave_out: whether rows that hold no image are left out.

    Raises:
        DatasetError: not such a table; the message names the row and the column.
    """
    text = decoded(content)[0].strip("\n")
    delimiter, count = first_cells(text)
    side = int((count - 1) ** 0.5)
    if not MIN_SIDE <= side <= MAX_SIDE or side * side != count - 1:
        raise DatasetError(
            f"The table holds no images: its first row has {count} cell{'s' * (count != 1)}, and each row must hold a "
            f"label and the pixels of one square image as numbers, from {MIN_SIDE} × {MIN_SIDE} to {MAX_SIDE} × "
            f"{MAX_SIDE}, such as 785 cells for 28 × 28 pixels. A table of texts is uploaded as Texts."
        )
    columns, odd = csv_columns(text, delimiter, count)
    faults = Faults()
    for number, cells in odd.items():
        faults.add(f"Row {number} has {cells} cells, but the first row has {count}.")
    places = np.setdiff1d(np.arange(1, len(columns[0]) + len(odd) + 1), [*odd])
    where, has_names = _label_column([column[0].as_py() for column in columns])
    places, columns = places[has_names:], [column[has_names:] for column in columns]
    labels = [label.strip() for label in columns.pop(where).to_pylist()]
    values = np.stack([_numbers(column) for column in columns], 1)
    kept = []
    missing = np.isnan(values)
    for row, label in enumerate(labels):
        if not label and missing[row].all():
            continue  # a blank row
        if missing[row].any():
            column = int(missing[row].argmax())
            shown = columns[column][row].as_py()[:40]
            faults.add(f"Row {places[row]} has {shown!r} for pixel {column + 1}: pixels are numbers.")
        elif not label:
            faults.add(f"Row {places[row]} has an image but no label: fill it in, or remove the row.")
        else:
            kept.append(row)
    faults.check(len(kept), leave_out)
    if not kept:
        raise DatasetError("The file has names of columns but no images: each row must hold a label and the pixels.")
    if len(kept) > MAX_IMAGES:
        raise DatasetError(f"The file has more than {MAX_IMAGES:,} images: remove some.")
    values = values[kept]
    if outside := np.flatnonzero(((values < 0) | (values > 255)).any(1))[:1].tolist():
        brightest(values[outside[0]], f"Row {places[kept[outside[0]]]}")
    names, numbers = named_classes([labels[row] for row in kept], "The column of labels")
    images = to_images(values, side, side, float(values.max()) <= 1)
    return faults.without(lambda: make_draft(names, Part(images, numbers), None, faults=faults), "rows")


def _label_column(cells: Sequence[str]) -> tuple[int, bool]:
    """Index of the label column, and whether these cells of the first row are names.

    Names have words for the pixels, or count them. Else the first row is an image, whose class may have one of the
    names of label columns.
    """
    headings = [cell.strip().lower() for cell in cells]
    column = next((column for column, heading in enumerate(headings) if heading in LABELS), None)
    others = [*headings[: column or 0], *headings[(column or 0) + 1 :]]
    are_words = [number_of(heading) is None for heading in others]
    if column is None:
        return 0, all(are_words)
    counts = any(others == [str(start + place) for place in range(len(others))] for start in (0, 1))
    return column, counts or any(are_words)


def _numbers(column: pa.ChunkedArray) -> NDArray[np.float32]:
    """The numbers of a column of texts; NaN for what is none."""
    try:
        return np.asarray(column.cast(pa.float32()), np.float32)
    except pa.ArrowInvalid:
        return np.asarray(pd.to_numeric(pd.Series(column.to_pylist(), dtype=object), errors="coerce"), np.float32)


def read_folders(archive: UntrustedZip, leave_out: bool = False) -> Draft[ImageDataset]:
    """Read the dataset in a zip of images with one folder per class, with or without ``train/`` and ``test/`` above.

    Args:
        archive: the zip.
        leave_out: whether images that cannot be used are left out.

    Raises:
        DatasetError: there are no such folders, an entry is not allowed, or an image cannot be used.
    """
    files, skipped = [], []
    for entry in sorted(archive.entries, key=lambda entry: entry.name):
        *folders, name = entry.name.split("/")
        if name.startswith(".") or "__MACOSX" in folders or name in ("Thumbs.db", "desktop.ini"):
            continue
        if name.lower().endswith(UNSOUND):
            raise DatasetError(f"The zip contains {name[:80]!r}, an archive or a file that can run code: leave it out.")
        if name.lower().endswith(ENDINGS):
            files.append((folders, entry))
        else:
            skipped.append(printable(entry.name[-80:]))
    if not files:
        check_holds_data(archive)
        raise DatasetError("The zip contains no images: put PNG or JPEG files into one folder per class.")
    faults = Faults()
    by_part, note = _by_part(files, faults)
    names = sorted({name for part in by_part.values() for name, _ in part}, key=_order)
    parts, colored = {}, 0
    for part, pictures in by_part.items():
        images, labels = [], []
        for name, entry in pictures:
            content = archive.read(entry)
            try:
                image, has_colors = decode(content, f"The image {entry.name[-80:]!r}")
            except DatasetError as error:
                faults.add(str(error))
                continue
            images.append(image)
            labels.append(names.index(name))
            colored += has_colors
        parts[part] = Part(np.array(images, np.uint8).reshape(-1, SIDE, SIDE), np.array(labels, np.int64))
    faults.check(sum(len(part.labels) for part in parts.values()), leave_out)
    notes = [note] if note else []
    if skipped:
        more = [f"{len(skipped) - MAX_SKIPPED:,} more"] if len(skipped) > MAX_SKIPPED else []
        what = "file that is not an image was" if len(skipped) == 1 else "files that are not images were"
        notes.insert(0, f"{len(skipped):,} {what} skipped: {listed([*skipped[:MAX_SKIPPED], *more])}.")
    draft = faults.without(lambda: make_draft(names, parts["train"], parts.get("test"), notes, faults), "images")
    return replace(draft, colored=colored)


def _by_part(
    files: Sequence[tuple[list[str], ZipEntry]], faults: Faults
) -> tuple[dict[str, list[tuple[str, ZipEntry]]], str | None]:
    """Images with their classes, for the train part and, if there is one, the test part; and a note on the parts.

    Images that are not as deep in folders as most of them become faults. A folder around everything is left out, as
    most programs put one around what they zip.
    """
    depths = Counter(len(folders) for folders, _ in files)
    deep = max(depths, key=lambda depth: (depths[depth], depth)) or 1
    for folders, entry in files:
        if len(folders) != deep:
            faults.add(NO_FOLDER.format(entry.name[-80:]))
    files = [(folders, entry) for folders, entry in files if len(folders) == deep]
    faults.check(len(files), leave_out=True)
    paths = [folders for folders, _ in files]
    while len(paths[0]) > 1 and len({path[0] for path in paths}) == 1:
        paths = [path[1:] for path in paths]
    kinds = {path[0]: part_of(path[0]) for path in paths if len(path) > 1}
    found = ["train"] * len(paths)
    if "train" in kinds.values() and len({*kinds.values()}) > 1:
        if other := [top for top, kind in kinds.items() if kind is None]:
            raise DatasetError(
                f"The folder {other[0][:80]!r} beside train is no part of a dataset: leave it out, or name it test or "
                "validation."
            )
        found = [kinds[path[0]] or "train" for path in paths]
        paths = [path[1:] for path in paths]
    if len(paths[0]) > 1:
        raise DatasetError(NO_FOLDER.format(files[0][1].name[-80:]))
    parts, note = train_and_test(found)
    by_part: dict[str, list[tuple[str, ZipEntry]]] = {}
    for (class_name,), (_, entry), part in zip(paths, files, parts, strict=True):
        by_part.setdefault(part, []).append((class_name, entry))
    return by_part, note


def _order(name: str) -> tuple[int, int, str]:
    """Sort key: numbers by value first, then words alphabetically."""
    is_number = name.isascii() and name.isdecimal()
    return (not is_number, int(name[:20]) if is_number else 0, name)
