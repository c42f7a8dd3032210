"""An uploaded dataset of images: converted to grey images of 28×28 pixels, checked and split."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from core.data.dataset import SIDE, ImageDataset, Images, Labels, overlap_sentence
from core.data.uploads.classes import Draft, Faults, check_classes, check_counts, class_warnings, drawn_for_testing
from core.data.uploads.limits import MAX_IMAGES, MAX_PIXELS, MIN_SIDE
from core.errors import DatasetError
from core.reader import in_reader

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP")
MAX_GRAY = 16
"""Largest difference between the red, green and blue of a pixel that counts as gray, as JPEG rounds them."""

WHITE = 255

STEP = 2**20
"""Pixels converted at once, approximately."""

ENDINGS = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp")


@in_reader(DatasetError)
def decode(content: bytes, what: str) -> tuple[Images, bool]:
    """Decode a picture file to a grey image.

    The size is read from the header before anything is decoded. Only the first frame of an animation is used. A photo
    is turned as its EXIF data say, as programs that show it do.

    Args:
        content: the file.
        what: subject of error messages.

    Returns:
        The image, of shape (28, 28), and whether the picture has colors.

    Raises:
        DatasetError: not a picture, damaged, too large or too small.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            check_size(image.height, image.width, what)
            return _turned(grey_square(_grey(image)), _orientation(image)), _has_colors(image)
    except DatasetError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(what) from error
    except Exception as error:  # Pillow raises exceptions of many kinds for damaged files
        raise DatasetError(f"{what} is not an image that can be read: remove it or save it again.") from error


def check_size(height: int, width: int, name: str) -> None:
    """Check that images of this size can be used. Raises: DatasetError: too large or too small."""
    if height * width > MAX_PIXELS:
        raise _too_large(name)
    if min(height, width) < MIN_SIDE:
        raise DatasetError(f"{name} has {width} × {height} pixels: images need at least {MIN_SIDE} along each side.")


def square_side(pixels: int, what: str) -> int:
    """Side of a square image of so many pixels. Raises: DatasetError: it is not square, too large or too small."""
    side = math.isqrt(pixels)
    if pixels < 1 or side * side != pixels:
        raise DatasetError(f"{what} has {pixels} pixels per image, which is not a square such as 784 = 28 × 28.")
    check_size(side, side, f"An image of {what}")
    return side


def brightest(values: NDArray[np.generic], what: str) -> float:
    """The largest of some numbers. Raises: DatasetError: one of them is no pixel, from 0 to 255."""
    low, high = float(values.min()), float(values.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise DatasetError(f"{what} has values that are not finite numbers: remove NaN and infinity.")
    if low < 0 or high > WHITE:
        odd = low if low < 0 else high
        raise DatasetError(f"{what} has the value {odd:g}: pixels range from 0 to 255, or from 0 to 1.")
    return high


def to_images(values: NDArray[np.generic], height: int, width: int, is_share: bool) -> Images:
    """Make gray images of (n, height · width) numbers, or of any other shape of as many.

    Args:
        values: pixels, each checked.
        height: of an image.
        width: of an image.
        is_share: whether they range from 0 to 1, not to 255.

    Returns:
        The images, of shape (n, 28, 28).
    """
    out = np.empty((len(values), SIDE, SIDE), np.uint8)
    step = max(1, STEP // (height * width))
    for start in range(0, len(values), step):
        part = values[start : start + step]
        if part.dtype != np.uint8 or is_share:
            part = (part.astype(np.float32) * np.float32(WHITE if is_share else 1)).round().astype(np.uint8)
        pixels = part.reshape(-1, height, width)
        if (height, width) != (SIDE, SIDE):
            pixels = np.stack([grey_square(Image.fromarray(image)) for image in pixels])
        out[start : start + step] = pixels
    return out


def grey_square(image: Image.Image) -> NDArray[np.uint8]:
    """Resize a grey picture to (28, 28), keeping its aspect ratio; the padding has the color of its corners."""
    width, height = image.size
    if width != height:
        corners = [int(image.getpixel((x, y))) for x in (0, width - 1) for y in (0, height - 1)]  # type: ignore[arg-type]
        # Shrink before padding, so that a strip of 16 million pixels never becomes a square.
        scale = SIDE / max(width, height)
        image = image.resize((max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.BILINEAR)
        square = Image.new("L", (SIDE, SIDE), sorted(corners)[1])
        square.paste(image, ((SIDE - image.width) // 2, (SIDE - image.height) // 2))
        image = square
    elif width != SIDE:
        image = image.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return np.asarray(image, np.uint8)


def _orientation(image: Image.Image) -> int:
    """How a camera was held: a number from 1 to 8, see EXIF 2.3; 1, upright, if unknown."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # noqa: BLE001 - the EXIF data are damaged in some way, and the picture has been decoded
        return 1


def _turned(image: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turn a square image upright."""
    if orientation in (5, 6, 7, 8):
        image = image.T
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)


def _grey(image: Image.Image) -> Image.Image:
    """Convert to 256 greys; transparent pixels become white."""
    if image.mode.startswith("I;16") or image.mode == "I":
        return Image.fromarray((np.asarray(image).astype(np.int64).clip(0, 65535) >> 8).astype(np.uint8))
    if "A" in image.getbands() or "transparency" in image.info:
        clear = image.convert("RGBA")
        paper = Image.new("RGBA", clear.size, "white")
        paper.alpha_composite(clear)
        return paper.convert("L")
    return image.convert("L")


def _has_colors(image: Image.Image) -> bool:
    """Whether a picture, made small, has a pixel that is not gray."""
    if image.mode.startswith("I") or image.mode in ("1", "L", "LA", "F"):
        return False
    small = np.asarray(image.convert("RGBA").resize((SIDE, SIDE)))
    return bool(np.ptp(small[..., :3], axis=2).max() > MAX_GRAY)


def _too_large(name: str) -> DatasetError:
    return DatasetError(f"{name} has more than {MAX_PIXELS // 10**6} million pixels: make it smaller first.")


DIM = 64
"""Warn if no pixel is as bright as this: the pixels probably have another scale."""


@dataclass(frozen=True, eq=False)
class Part:
    """Images of shape (n, 28, 28), and their labels as indices into the list of class names."""

    images: Images
    labels: Labels


def make_draft(
    names: Sequence[str], train: Part, test: Part | None, notes: Sequence[str] = (), faults: Faults | None = None
) -> Draft[ImageDataset]:
    """Check and split an uploaded dataset.

    Args:
        names: names of the classes, by label.
        train: training part; everything if there is no test part.
        test: test part; None sets aside a fifth of each class, always the same images.
        notes: notes of the reader, shown before the warnings.
        faults: of what was left out.

    Raises:
        DatasetError: too few or too many classes or images, or a class that is in one part only.
    """
    check_classes(names)
    total = len(train.labels) + (len(test.labels) if test else 0)
    if total > MAX_IMAGES:
        raise DatasetError(f"The file has {total:,} images: the limit is {MAX_IMAGES:,}.")
    check_counts(names, train.labels, test.labels if test else None, "images")
    split = "split as in the file"
    if test is None:
        train, test = _split(train, len(names))
        split = "with a random test part from each class, as the file has none"
    for part in (train, test):
        part.images.flags.writeable = part.labels.flags.writeable = False
    dataset = ImageDataset("upload", train.images, train.labels, test.images, test.labels, tuple(names))
    line = (
        f"{total:,} images in {len(names)} classes: {len(train.labels):,} for training and {len(test.labels):,} "
        f"for testing, {split}."
    )
    return Draft(dataset, line, (*notes, *_warnings(dataset)), faults or Faults())


def samples(dataset: ImageDataset, label: int, count: int, zoom: int = 1) -> Images:
    """The first training images of a class, side by side, enlarged ``zoom`` times.

    Returns:
        An image of shape (28 · zoom, 28 · zoom · k), with k at most ``count``.
    """
    return _strip(dataset, np.flatnonzero(dataset.train_labels == label)[:count], zoom)


def first_images(dataset: ImageDataset, count: int, zoom: int = 1) -> Images:
    """The first training images, whatever their targets; see :func:`samples`."""
    return _strip(dataset, np.arange(min(count, len(dataset.train_labels))), zoom)


def _strip(dataset: ImageDataset, rows: NDArray[np.intp], zoom: int) -> Images:
    strip = dataset.train_images[rows].transpose(1, 0, 2).reshape(SIDE, -1)
    return np.ascontiguousarray(strip.repeat(zoom, 0).repeat(zoom, 1))


def _split(everything: Part, classes: int) -> tuple[Part, Part]:
    """Set a fifth of each class aside for testing; both parts keep the order of the file."""
    testing = drawn_for_testing(everything.labels, classes)
    return (
        Part(everything.images[~testing], everything.labels[~testing]),
        Part(everything.images[testing], everything.labels[testing]),
    )


def _warnings(dataset: ImageDataset) -> list[str]:
    counts = np.bincount(dataset.train_labels, minlength=dataset.num_classes)
    found = class_warnings(dataset.class_names, counts, "images")
    if shared := overlap_sentence(dataset):
        found.append(shared)
    parts = (dataset.train_images, dataset.test_images)
    flat = sum(int((part.max((1, 2)) == part.min((1, 2))).sum()) for part in parts)
    if flat:
        total = len(dataset.train_labels) + len(dataset.test_labels)
        found.append(f"{flat:,} of {total:,} images are a single color: there is nothing to learn from them.")
    brightest = [int(part.max()) for part in parts]
    if 0 < max(brightest) < DIM:
        found.append(f"The brightest pixel is {max(brightest)} of 255: do the pixels use another scale?")
    elif 0 < min(brightest) < DIM:
        dim = "training" if brightest[0] < DIM else "test"
        found.append(
            f"The brightest pixel of the {dim} part is {min(brightest)} of 255, that of the other {max(brightest)}: do "
            "the parts use different scales?"
        )
    return found
