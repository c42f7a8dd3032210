"""Read an uploaded file; its type is detected from the bytes, never from the name."""

from __future__ import annotations

from core.data.dataset import ImageDataset
from core.data.uploads.arrays import is_arrays, read_arrays
from core.data.uploads.draft import Draft
from core.data.uploads.folders import read_folders
from core.data.uploads.limits import MAX_BYTES, MAX_ENTRIES, MAX_UNPACKED
from core.data.uploads.table import read_table
from core.errors import DatasetError
from core.reader import GROWTH, Limits, in_reader
from core.zip_file import UntrustedZip, ZipLimits

STRANGERS = {
    b"\x93NUMPY": "The file is a single array: save x_train and y_train together with numpy.savez.",
    b"\x1f\x8b": "The file is compressed with gzip: unpack it first.",
    b"\x80": "The file is a pickle, which can run code when it is read: save a zip, an npz or a CSV.",
    b"\x89PNG": "The file is a single image: zip many, in one folder per class.",
    b"\xff\xd8\xff": "The file is a single image: zip many, in one folder per class.",
    b"Rar!": "The file is a RAR archive: zip the folders instead.",
    b"7z\xbc\xaf": "The file is a 7z archive: zip the folders instead.",
    b"PAR1": "The file is a Parquet table, not images. Tables of texts are uploaded as Texts.",
    b'{"': "The file is JSON, not images. Texts are uploaded as Texts.",
    b"[{": "The file is JSON, not images. Texts are uploaded as Texts.",
}
"""First bytes of file types that are often mistaken for datasets, and what to do instead."""


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
    for start, sentence in STRANGERS.items():
        if content.startswith(start):
            raise DatasetError(sentence)
    if content.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        archive = UntrustedZip(content, ZipLimits(MAX_ENTRIES, MAX_UNPACKED), "The file", DatasetError)
        return read_arrays(archive) if is_arrays(archive) else read_folders(archive, leave_out)
    if b"\0" in content[:4096]:
        raise DatasetError("The file is not a zip, npz or CSV, or it is damaged: choose another one.")
    return read_table(content, leave_out)
