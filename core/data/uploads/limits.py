"""How much an upload may ask of this machine, and how little a class may hold."""

from __future__ import annotations

MOST_BYTES = 16 * 2**20
"""Of an upload, as it comes."""

MOST_ENTRIES = 50_000
"""Files in a zip."""

MOST_UNPACKED = 256 * 2**20
"""Bytes of all files of a zip; MNIST has 55 MB."""

MOST_IMAGES = 200_000

MOST_PICTURE = 64 * 2**20
"""Bytes of one image file; one of 16 million pixels has as many where nothing is packed."""

MOST_PIXELS = 16_000_000
"""Of one image."""

MOST_PIXELS_IN_ALL = 400_000_000
"""Of all images of a zip together: some seconds of decoding."""

FEWEST_SIDE = 4
"""Pixels along each side of an image; with fewer there is nothing to see."""

FEWEST_CLASSES, MOST_CLASSES = 2, 1000

FEWEST_TRAIN, FEWEST_TEST = 4, 1
"""Images of each class: with fewer, nothing is left to train on beside the validation part."""

MOST_NAME = 64
"""Characters of a class's name."""
