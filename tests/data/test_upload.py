"""Uploads that are sound come through pixel by pixel, and what should give pause is said."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageOps

from core.data.task_spec import TaskSpec
from core.data.uploads import image_files, read_upload
from core.data.uploads.classes import MAX_TOLD
from core.data.uploads.image_draft import decode, samples
from core.errors import DatasetError
from core.tasks.views.image import ImageView
from tests.data.uploaded import CSV, NPZ, X, Y, arrays, flat, folders, held, noise, picture, table, zipped
from tests.pairs import pairwise

pytestmark = pytest.mark.usefixtures("read_here")


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [
        *((dtype, (40, 28, 28)) for dtype in ("u1", "<i4", ">u2", "<i8", "<f4", ">f8", "<f2")),
        *(("<f4", (40, 784)), ("u1", (40, 28, 28, 1))),
    ],
)
def test_arrays_of_any_numbers_come_through_pixel_by_pixel(dtype: str, shape: tuple[int, ...]) -> None:
    y = Y.reshape(-1, 1) if len(shape) == 4 else Y
    draft = read_upload(arrays(x_train=X.reshape(shape).astype(dtype), y_train=y, x_test=X[:8], y_test=Y[:8]))
    np.testing.assert_array_equal(draft.dataset.train_images, X)
    np.testing.assert_array_equal(draft.dataset.train_labels, Y)
    np.testing.assert_array_equal(draft.dataset.test_images, X[:8])
    assert draft.train_counts == (10,) * 4
    assert draft.dataset.class_names == tuple("0123")


def test_an_array_that_is_stored_column_by_column_comes_through_and_a_fifth_of_each_class_is_tested_on() -> None:
    y = np.repeat(np.arange(4), (5, 5, 12, 18))
    draft = read_upload(arrays(x_train=np.asfortranarray(X), y_train=y))
    assert held(*flat(draft)) == held(X, y)
    assert (draft.train_counts, draft.test_counts) == ((4, 4, 10, 14), (1, 1, 2, 4))
    assert not any(part.flags.writeable for part in (draft.dataset.train_images, draft.dataset.test_labels))


@pytest.mark.parametrize("kind", ["<f4", "<f8", "|b1", "u1"])
def test_shares_from_0_to_1_become_0_to_255(kind: str) -> None:
    x = X > 127 if kind in ("|b1", "u1") else X / 255
    draft = read_upload(arrays(x_train=x.astype(kind), y_train=Y))
    wanted = (X > 127) * 255 if kind in ("|b1", "u1") else X
    assert held(*flat(draft)) == held(wanted.astype(np.uint8), Y)


def test_one_scale_serves_both_parts() -> None:
    dark = np.ones((8, 28, 28), np.uint8)
    draft = read_upload(arrays(x_train=X, y_train=Y, x_test=dark, y_test=Y[:8]))
    assert draft.dataset.test_images.max() == 1


@pytest.mark.parametrize(
    ("parted", "heading", "ends"),
    pairwise((",", ";", "\t"), ("", "label,pixel0,pixel1", "\ufeffclass"), ("\n", "\r\n", "\r", "\n\n")),
)
def test_a_table_comes_through_pixel_by_pixel(parted: str, heading: str, ends: str) -> None:
    names = [*heading.split(","), *(f"p{i}" for i in range(784))][:785] if heading else []
    text = table(X, Y, parted.join(names), parted).decode().replace("\n", ends) + ends
    draft = read_upload(text.encode())
    assert held(*flat(draft)) == held(X, Y)


def test_a_heading_says_where_the_labels_are_and_words_are_classes() -> None:
    words = ["pear", "apple", "fig", "kiwi"]
    lines = [",".join([*map(str, image.ravel()), words[label]]) for image, label in zip(X, Y, strict=True)]
    draft = read_upload("\n".join([",".join([*(f"p{i}" for i in range(784)), "Class"]), *lines]).encode())
    assert draft.dataset.class_names == ("apple", "fig", "kiwi", "pear")
    assert held(*flat(draft)) == held(X, np.array([3, 0, 1, 2])[Y])


@pytest.mark.parametrize("first", [0, 1])
def test_a_heading_may_count_the_pixels(first: int) -> None:
    heading = ",".join(["label", *(f"{first + place}" for place in range(784))])
    assert held(*flat(read_upload(table(X, Y, heading)))) == held(X, Y)


@pytest.mark.parametrize(
    ("word", "last"),
    [("y", False), ("Class", True), ("digit", False), ("target", True), ("label", False), ("label", True)],
)
def test_a_class_called_like_a_column_of_labels_keeps_its_first_image(word: str, last: bool) -> None:
    lines = [[*map(str, image.ravel())] for image in X]
    names = [(word, "z")[label % 2] for label in Y]
    rows = [[*line, name] if last else [name, *line] for line, name in zip(lines, names, strict=True)]
    draft = read_upload("\n".join(map(",".join, rows)).encode())
    assert sorted(draft.dataset.class_names) == sorted([word, "z"])
    assert held(*flat(draft)) == held(X, np.array([draft.dataset.class_names.index(name) for name in names]))


@pytest.mark.parametrize(
    ("prefix", "has_test"),
    [("", False), ("my set/", False), ("a/b/c/", False), ("train/", False), ("train/", True), ("x/Training/", True)],
)
def test_class_folders_are_found_under_whatever_is_around_them(prefix: str, has_test: bool) -> None:
    train = folders({f"{prefix}10": 6, f"{prefix}9": 7, f"{prefix}ä b": 5})
    other = prefix.replace("Training", "Testing").replace("train", "test")
    test = folders({f"{other}10": 1, f"{other}9": 2, f"{other}ä b": 3}, start=50) if has_test else []
    junk = [("__MACOSX/._1.png", b"x"), (f"{prefix}9/.DS_Store", b"x"), (f"{prefix}9/", b"")]
    draft = read_upload(zipped(*train, *test, *junk))
    assert draft.dataset.class_names == ("9", "10", "ä b")
    wanted = [noise(i) for i in range(18)] + ([noise(50 + i) for i in range(6)] if has_test else [])
    labels = [1] * 6 + [0] * 7 + [2] * 5 + ([1, 0, 0, 2, 2, 2] if has_test else [])
    assert held(*flat(draft)) == held(np.array(wanted), np.array(labels))
    if has_test:
        assert draft.test_counts == (2, 1, 3)


@pytest.mark.parametrize("others", [("val",), ("Test", "val")])
def test_a_folder_for_validation_is_tested_on_unless_there_is_one_for_testing(others: tuple[str, ...]) -> None:
    files = folders({"train/a": 6, "train/b": 6})
    for start, other in enumerate(others, 1):
        files += folders({f"{other}/a": 2, f"{other}/b": 3}, start=start * 50)
    draft = read_upload(zipped(*files))
    assert draft.test_counts == (2, 3)
    assert draft.train_counts == ((8, 9) if len(others) == 2 else (6, 6))
    assert any("The validation part of the file is" in warning for warning in draft.warnings)


@pytest.mark.parametrize(
    ("form", "shape"),
    [
        *(("PNG", shape) for shape in ((4, 4), (64, 64), (9, 90), (90, 9))),
        *((form, (300, 200, 3)) for form in ("PNG", "JPEG", "GIF", "BMP", "WEBP")),
    ],
)
def test_pictures_of_any_kind_and_size_become_28_by_28(form: str, shape: tuple[int, ...]) -> None:
    draft = read_upload(zipped(*folders({"a": 5, "b": 5}, shape, form)))
    assert flat(draft)[0].shape == (10, 28, 28)
    assert flat(draft)[0].std() > 10
    assert draft.colored == (10 if len(shape) == 3 else 0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_turned_as_its_camera_was_held(orientation: int) -> None:
    image, exif, target = Image.fromarray(noise(1, (40, 20))), Image.Exif(), io.BytesIO()
    exif[ExifTags.Base.Orientation] = orientation
    image.save(target, "PNG", exif=exif)
    with Image.open(target) as photo:
        upright = np.asarray(ImageOps.exif_transpose(photo))
    difference = decode(target.getvalue(), "x")[0].astype(int) - decode(picture(upright), "x")[0]
    assert np.abs(difference).max() <= 1  # in a rounded size, at most


def test_a_strip_keeps_its_shape_and_gets_the_colour_of_its_corners() -> None:
    strip = np.full((14, 56), 200, np.uint8)
    strip[4:10, 8:48] = 0
    square = decode(picture(strip), "x")[0]
    assert set(square[:10].ravel()) | set(square[18:].ravel()) == {200}
    assert square[14, 14] < 50


def test_what_is_transparent_is_white_and_16_bits_are_greys_too() -> None:
    clear = np.zeros((8, 8, 4), np.uint8)
    assert decode(picture(clear), "x")[0].min() == 255
    deep = np.tile(np.arange(28, dtype=np.uint16) * 2000, (28, 1))
    np.testing.assert_array_equal(decode(picture(deep), "x")[0], deep >> 8)


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([0, 3, 500, 999]), min_size=2, max_size=4, unique=True),
    st.floats(0.02, 0.5),
    st.booleans(),
)
def test_every_draft_gives_a_task_at_every_validation_share(labels: list[int], share: float, has_test: bool) -> None:
    y = np.repeat(labels, 4 if has_test else 5)
    test = {"x_test": X[: len(labels)], "y_test": np.array(labels)} if has_test else {}
    draft = read_upload(arrays(x_train=noise(1, (len(y), 28, 28)), y_train=y, **test))
    task = ImageView().task(TaskSpec.of(dataset="upload", validation=share), draft.dataset)
    assert task.classes == tuple(range(len(labels)))
    assert draft.dataset.class_names == tuple(str(label) for label in sorted(labels))


def test_samples_are_the_first_of_a_class_side_by_side() -> None:
    data = read_upload(NPZ).dataset
    strip = samples(data, 1, 3)
    np.testing.assert_array_equal(strip, np.concatenate([X[1], X[5], X[9]], 1))
    assert samples(data, 1, 99).shape == (28, 280)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (arrays(x_train=noise(1, (110, 28, 28)), y_train=np.repeat([0, 1], [100, 10])), "uneven: '0' has 80"),
        (arrays(x_train=noise(1, (60, 28, 28)), y_train=np.repeat([0, 1], [10, 50])), "1 of 2 classes have fewer"),
        (NPZ, "8 of 8 test images are also in the training part"),
        (arrays(x_train=np.tile(noise(1), (50, 1, 1)), y_train=np.arange(50) % 2), "10 of 10 test images"),
        (arrays(x_train=np.zeros((50, 28, 28)), y_train=np.arange(50) % 2), "50 of 50 images are a single color"),
        (arrays(x_train=noise(1, (50, 28, 28)) // 16, y_train=np.arange(50) % 2), "brightest pixel is 15"),
        (arrays(x_train=X, y_train=Y, x_test=X[:8] / 255, y_test=Y[:8]), "of the test part is 1 of 255"),
        (
            zipped(*folders({"a": 25, "b": 25}), ("a/readme.txt", b"hi")),
            "1 file that is not an image was skipped: a/readme.txt.",
        ),
        (zipped(*folders({"a": 25, "b": 25}), *((f"a/{n}.txt", b"hi") for n in range(5))), "a/2.txt and 2 more."),
    ],
)
def test_what_should_give_pause_is_said(content: bytes, sentence: str) -> None:
    assert any(sentence in warning for warning in read_upload(content).warnings)


def test_a_sound_dataset_gives_no_warning() -> None:
    assert read_upload(arrays(x_train=noise(1, (60, 28, 28)), y_train=np.arange(60) % 2)).warnings == ()


def test_a_table_of_too_many_images_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_files, "MAX_IMAGES", 19)
    with pytest.raises(DatasetError, match=r"^The file has more than 19 images: remove some\.$"):
        read_upload(CSV)


@pytest.mark.parametrize("parts", [("",), ("train/", "test/")])
def test_what_cannot_be_used_is_told_and_what_is_left_is_what_it_would_be_alone(parts: tuple[str, ...]) -> None:
    sound = [entry for part in parts for entry in folders({f"data/{part}{name}": 9 for name in ("cat", "dog")})]
    bad = {
        f"data/{parts[0]}cat/0 a.png": (b"x", "is not an image"),
        f"data/{parts[-1]}dog/4 b.png": (picture(noise(1, (2, 9))), "9 × 2 pixels"),
        "data/stray.png": (picture(noise(1)), "in no class folder"),
    }
    content = zipped(*sound, *((name, data) for name, (data, _) in bad.items()))
    with pytest.raises(DatasetError, match="2 more cannot be used"):
        read_upload(content)
    left, alone = read_upload(content, leave_out=True), read_upload(zipped(*sound))
    assert left.faults.count == len(left.faults.told) == 3
    for name, (_, says) in bad.items():
        (told,) = (fault for fault in left.faults.told if name in fault)
        assert says in told
    assert (left.line, left.dataset.class_names) == (alone.line, alone.dataset.class_names)
    for one, other in zip(flat(left), flat(alone), strict=True):
        assert np.array_equal(one, other)


def test_a_table_is_read_without_lines_that_hold_no_image() -> None:
    lines = table(X[:20], Y[:20]).decode().split("\n")
    bad = ["1,2,3", lines[0].replace(",", ",x", 1), lines[3].partition(",")[1] + lines[3].partition(",")[2]]
    content = "\n".join([*lines[:5], *bad, *lines[5:]]).encode()
    left = read_upload(content, leave_out=True)
    assert [fault.partition(" has ")[2][:12] for fault in left.faults.told] == [
        "3 cells, but",
        "'x95' for pi",
        "an image but",
    ]
    assert held(*flat(left)) == held(X[:20], Y[:20])


def test_where_too_little_is_left_the_first_fault_is_told_with_what_follows_from_it() -> None:
    content = zipped(*folders({"cat": 9, "dog": 4}), ("dog/x.png", b"x"))
    with pytest.raises(DatasetError, match=r"'dog/x.png' is not an image .* Without .* 'dog' has 4 images"):
        read_upload(content, leave_out=True)


def test_of_very_many_faults_the_first_ones_are_told() -> None:
    content = zipped(
        *folders({"cat": 150, "dog": 150}, (4, 4)), *((f"cat/x{n}.png", b"x") for n in range(MAX_TOLD + 9))
    )
    faults = read_upload(content, leave_out=True).faults
    assert (len(faults.told), faults.count) == (MAX_TOLD, MAX_TOLD + 9)
