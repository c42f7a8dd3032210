"""Preview of uploaded images."""

from __future__ import annotations

import streamlit as st

from core.data.dataset import ImageDataset
from core.data.uploads import Draft, first_images, read_upload, samples
from core.errors import LabError
from core.numbers import counted
from core.objectives.registry import objectives_for
from core.study.figures.examples import class_counts
from core.wording.tasks import target_text
from pages.library.review import is_reviewed
from pages.library.upload_kind import UploadKind
from pages.shared.ui.figure_panel import chart
from pages.shared.ui.literal import literal
from pages.shared.ui.picture import picture

CLASSES_SHOWN = 12
"""Number of classes whose images are shown; the chart covers all classes."""
SAMPLES = 8
"""Images shown of each class."""
ZOOM = 2
"""Factor by which the images are enlarged."""

FORMATS = """\
- A **zip** of images (PNG, JPEG, GIF, BMP, WebP) with one folder per class, optionally inside `train`, `test`
  and `validation` folders. Photos are turned upright.
- An **npz** with `x_train` and `y_train` and, optionally, `x_test` and `y_test`. x has shape (n, 28, 28), (n, 784) or
  (n, h, w), y has shape (n,).
- A **CSV** with one image per line: its label, then its pixels. A header line is optional.

Images are converted to 28×28 grayscale, with pixels from 0 (black) to 255 (white). Without a test part, a fifth of each
class is held out for testing.
"""


@st.cache_resource(max_entries=2, ttl="30m", show_spinner="Reading the file")
def _read(file_id: str, _content: bytes) -> Draft[ImageDataset] | str:
    """Parse an uploaded file; return the draft, or the error message. Cached because every click redraws the page."""
    try:
        return read_upload(_content, leave_out=True)
    except LabError as error:
        return str(error)


def _preview(file_id: str, content: bytes) -> ImageDataset | None:
    if objectives_for("numbers"):
        st.caption("Images are uploaded with classes; numbers can be learned of texts.")
    draft = _read(file_id, content)
    what = "lines" if content[:2] != b"PK" else "images"
    if not is_reviewed(draft, what, f"upload-left-{file_id}"):
        return None
    names = draft.dataset.class_names
    figure = class_counts(names, draft.train_counts, draft.test_counts)
    alt = f"Number of training and test images in each of {len(names)} classes"
    chart(figure, "upload-counts", alt, "upload-classes")
    draw_images(draft.dataset)
    if draft.colored:
        images = counted(draft.colored, "color image")
        st.caption(f"As networks see them: {images} converted to 28×28 grayscale.")
    return draft.dataset


def _fault(file_id: str, content: bytes) -> str:
    draft = _read(file_id, content)
    return draft if isinstance(draft, str) else ""


def draw_images(dataset: ImageDataset) -> None:
    """Draw the first training images of each of the first classes, or without classes the first ones with numbers."""
    names = dataset.class_names
    if not names:
        picture(first_images(dataset, SAMPLES, ZOOM), "The first images")
        st.caption(", ".join(target_text(number, names) for number in dataset.train_labels[:SAMPLES].tolist()))
        return
    with st.container(horizontal=True, gap="medium"):
        for label, name in enumerate(names[:CLASSES_SHOWN]):
            picture(samples(dataset, label, SAMPLES, ZOOM), f"Images of class {name}", caption=literal(name))
    if len(names) > CLASSES_SHOWN:
        st.caption(f"Showing the first {CLASSES_SHOWN} of {len(names)} classes.")


IMAGES = UploadKind(
    "Images",
    "Labelled images, as a zip, npz or CSV file",
    FORMATS,
    "Images become 28×28 pixels of gray, for perceptrons that are pretrained here; imported networks read texts.",
    _preview,
    _fault,
)
