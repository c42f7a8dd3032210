"""Bytes made into a draft: what kind of file they are is seen from the bytes, not believed from the name."""

from __future__ import annotations

import threading

from core.data.uploads.arrays import is_arrays, read_arrays
from core.data.uploads.draft import Draft
from core.data.uploads.folders import read_folders
from core.data.uploads.limits import MOST_BYTES, MOST_ENTRIES, MOST_UNPACKED
from core.data.uploads.table import read_table
from core.errors import DatasetError
from core.zip_file import UntrustedZip, ZipLimits

KINDS = ("zip", "npz", "csv")
"""Ends of names of files that are taken."""

STRANGERS = {
    b"\x93NUMPY": "The file is a single array: save x_train and y_train together with numpy.savez.",
    b"\x1f\x8b": "The file is packed with gzip: unpack it first.",
    b"\x80": "The file is a pickle, which can run code when it is read: save a zip, an npz or a CSV.",
    b"\x89PNG": "The file is a single image: zip many, in one folder a class.",
    b"\xff\xd8\xff": "The file is a single image: zip many, in one folder a class.",
    b"Rar!": "The file is a RAR archive: zip the folders instead.",
    b"7z\xbc\xaf": "The file is a 7z archive: zip the folders instead.",
}
"""How files begin that people take for datasets, and what to do instead."""

_one_at_a_time = threading.Lock()


def read_upload(content: bytes) -> Draft:
    """The dataset in an uploaded file: a zip of images in class folders, an npz, or a CSV.

    Nothing is written to disk. One upload is unpacked at a time, so memory stays bounded whoever asks.

    Raises:
        DatasetError: it cannot be used; the sentence says why.
    """
    if not content:
        raise DatasetError("The file is empty: choose a zip, an npz or a CSV.")
    if len(content) > MOST_BYTES:
        raise DatasetError(f"The file is larger than {MOST_BYTES // 2**20} MiB: make the images smaller or fewer.")
    for start, sentence in STRANGERS.items():
        if content.startswith(start):
            raise DatasetError(sentence)
    with _one_at_a_time:
        if content.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            archive = UntrustedZip(content, ZipLimits(MOST_ENTRIES, MOST_UNPACKED), "The file", DatasetError)
            return read_arrays(archive) if is_arrays(archive) else read_folders(archive)
        if b"\0" in content[:4096]:
            raise DatasetError("The file is no zip, npz or CSV, or it is damaged: choose another one.")
        return read_table(content)
