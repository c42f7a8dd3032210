"""Upper limits on the size of an upload, and lower limits on what it contains."""

from __future__ import annotations

MAX_BYTES = 16 * 2**20
"""Bytes of an uploaded file."""

MAX_ENTRIES = 50_000
"""Files in a zip."""

MAX_UNPACKED = 256 * 2**20
"""Total bytes of all unpacked files in a zip; MNIST has 55 MB."""

MAX_IMAGES = 200_000

MAX_PIXELS = 16_000_000
"""Pixels of one image."""

MIN_SIDE = 4
"""Pixels along each side of an image; smaller ones show nothing."""

MIN_CLASSES, MAX_CLASSES = 2, 1000

MIN_TRAIN, MIN_TEST = 4, 1
"""Images per class; with fewer, none would be left for training besides the validation part."""

MIN_PER_PART = 4
"""Texts per part of a dataset without classes."""

MAX_NAME = 64
"""Characters of a class name."""

MAX_TABLE_BYTES = 64 * 2**20
"""Bytes of an unpacked table of texts."""

MAX_TEXTS = 200_000
"""Rows of a table of texts."""

MAX_COLUMNS = 200

MAX_CELLS = 2_000_000
"""Cells of a table of texts, in all columns."""

MAX_TEXT = 100_000
"""Characters of one text; a book has half a million."""
