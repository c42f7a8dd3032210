"""Tasks: what is held out, what is trained on, what a transform does; presets as pairs of tasks."""

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import rotate

from core.data.dataset import ImageDataset
from core.data.examples import Task
from core.data.sources.built_in import Digits
from core.data.sources.catalog import Catalog
from core.data.sources.published import PUBLISHED, IdxDataset, Published
from core.data.task_spec import TaskSpec
from core.data.uploads import read_upload
from core.errors import DatasetError, SpecError
from core.settings import Settings
from core.tasks.presets import PRESETS, direct_task, preset_tasks, presets_for, suggested_preset
from core.tasks.tasks import Tasks
from core.tasks.views.image import ImageView
from core.tasks.views.view import outline
from tests.data.idx_files import put
from tests.data.uploaded import arrays

make_task, preview = ImageView().task, ImageView().preview
PARTS = ("train", "validation", "test")


def fabricated(sizes: tuple[int, ...] = (40, 23, 31, 12), name: str = "made") -> ImageDataset:
    """Random images, ``sizes`` of each class to train on, in mixed order; no two images are alike."""
    draw = np.random.default_rng(0)
    labels = draw.permutation(np.repeat(np.arange(len(sizes)), sizes))
    test_labels = draw.permutation(np.repeat(np.arange(len(sizes)), 5))
    images = draw.integers(0, 256, (len(labels) + len(test_labels), 28, 28), dtype=np.uint8)
    names = tuple(f"kind {label}" for label in range(len(sizes)))
    return ImageDataset(name, images[: len(labels)], labels, images[len(labels) :], test_labels, names)


MADE = fabricated()

specs = st.builds(
    TaskSpec,
    dataset=st.just("made"),
    classes=st.none() | st.lists(st.integers(0, 3), min_size=2, unique=True).map(tuple),
    rotation=st.just(0.0) | st.floats(-180, 180),
    invert=st.booleans(),
    permutation=st.none() | st.integers(0, 2**31 - 1),
    shots=st.none() | st.integers(1, 6),
    validation=st.floats(0.02, 0.5),
)


def rows(images: torch.Tensor) -> list[bytes]:
    """Each image as bytes: tells which images these are, as no two are alike."""
    return [image.numpy().tobytes() for image in images]


def plain(spec: TaskSpec) -> Task:
    return make_task(spec.but(rotation=0.0, invert=False, permutation=None), MADE)


@given(specs)
@settings(deadline=None)
def test_a_task_is_the_same_bit_for_bit_and_draws_from_no_global_generator(spec: TaskSpec) -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    one, two = make_task(spec, MADE), make_task(spec, fabricated())
    for first, second in zip(one.tensors(), two.tensors(), strict=True):
        assert torch.equal(first, second)
    after = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


@given(specs)
@settings(deadline=None)
def test_every_part_is_rows_of_784_from_0_to_1_with_the_labels_of_the_classes_kept(spec: TaskSpec) -> None:
    task = make_task(spec, MADE)
    assert task.classes == tuple(sorted(spec.classes or range(4)))
    assert task.class_names[task.classes[1]] == f"kind {task.classes[1]}"
    assert task.num_train == len(task.train.labels)
    for part in PARTS:
        x, y = getattr(task, part).all_pixels(), getattr(task, part).labels
        assert (x.dtype, y.dtype, x.shape) == (torch.float32, torch.int64, (len(y), 784))
        assert x.is_contiguous()
        assert x.min() >= 0
        assert x.max() <= 1
        assert tuple(y.unique().tolist()) == task.classes


@given(specs)
@settings(deadline=None)
def test_held_out_images_are_a_fixed_share_of_each_class_and_are_never_trained_on(spec: TaskSpec) -> None:
    task = plain(spec)
    for label in task.classes:
        size = int((MADE.train_labels == label).sum())
        held_out = max(1, round(spec.validation * size))
        assert (task.validation.labels == label).sum() == held_out
        assert (task.train.labels == label).sum() == (spec.shots or size - held_out)
    train, validation, test = (rows(getattr(task, part).all_pixels()) for part in PARTS)
    assert not set(train) & set(validation)
    kept = np.isin(MADE.test_labels, task.classes)
    assert test == rows(torch.from_numpy(MADE.test_images[kept]).float().div(255).flatten(1))
    assert task.test.labels.tolist() == MADE.test_labels[kept].tolist()


@given(specs)
@settings(deadline=None)
def test_a_transform_acts_on_each_image_and_changes_neither_which_nor_their_order(spec: TaskSpec) -> None:
    before, after = plain(spec), make_task(spec, MADE)
    order = range(784) if spec.permutation is None else np.random.RandomState(spec.permutation).permutation(784)
    for part in PARTS:
        assert torch.equal(getattr(before, part).labels, getattr(after, part).labels)
        x = getattr(before, part).all_pixels().view(-1, 1, 28, 28)
        if spec.rotation:
            x = rotate(x, spec.rotation, InterpolationMode.BILINEAR)
        if spec.invert:
            x = 1 - x
        assert torch.equal(getattr(after, part).all_pixels(), x.flatten(1)[:, list(order)])


def images_of(task: Task, part: str, label: int) -> set[bytes]:
    return set(rows(getattr(task, part).all_pixels()[getattr(task, part).labels == label]))


@given(specs, specs)
@settings(deadline=None)
def test_a_larger_part_of_a_class_holds_the_smaller_one_whatever_else_differs(one: TaskSpec, two: TaskSpec) -> None:
    less, more = (plain(spec) for spec in sorted((one, two), key=lambda spec: spec.validation))
    few, many = (plain(spec) for spec in sorted((one, two), key=lambda spec: spec.shots or 0))
    for label in set(less.classes) & set(more.classes):
        assert images_of(less, "validation", label) <= images_of(more, "validation", label)
        if few.spec.shots is not None:
            assert images_of(few, "train", label) <= images_of(many, "train", label)


def test_a_white_image_is_nowhere_whiter_than_white_when_turned() -> None:
    white = replace(MADE, train_images=np.full_like(MADE.train_images, 255))
    for degrees in range(-180, 180, 7):
        assert make_task(TaskSpec(dataset="made", rotation=degrees), white).train.all_pixels().max() <= 1


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"classes": (0, 4)}, "no test examples of class 4; .* classes 0 to 3"),
        ({"shots": 12}, "made has 11 training examples of class kind 3 besides the validation part, not 12"),
        ({"dataset": "other"}, "made of other, not of made"),
    ],
)
def test_what_a_dataset_cannot_give_is_said_in_one_sentence(values: dict, reason: str) -> None:
    with pytest.raises(DatasetError, match=reason):
        make_task(TaskSpec(**{"dataset": "made"} | values), MADE)


def test_a_class_with_one_image_is_refused_rather_than_left_without_training_or_validation() -> None:
    with pytest.raises(DatasetError, match="0 training examples of class kind 1"):
        make_task(TaskSpec(dataset="made"), fabricated((5, 1)))
    task = make_task(TaskSpec(dataset="made"), fabricated((5, 2)))
    assert (task.train.labels == 1).sum() == (task.validation.labels == 1).sum() == 1


def test_a_moved_task_has_every_tensor_on_the_new_device_and_leaves_the_old_one() -> None:
    task = make_task(TaskSpec(dataset="made"), MADE)
    moved = task.to("meta")
    assert len(task.tensors()) == 6
    assert {tensor.device.type for tensor in moved.tensors()} == {"meta"} == {moved.device.type}
    assert {tensor.device.type for tensor in task.tensors()} == {"cpu"}
    assert all(same is tensor for same, tensor in zip(task.to("cpu").tensors(), task.tensors(), strict=True))
    for field in fields(Task):
        if field.name not in PARTS:
            assert getattr(moved, field.name) == getattr(task, field.name)


@given(specs)
@settings(deadline=None)
def test_a_preview_shows_the_first_image_of_each_class_as_it_is_trained_on(spec: TaskSpec) -> None:
    task = make_task(spec, MADE)
    images, labels = preview(spec, MADE)
    assert (images.dtype, images.shape) == (np.uint8, (len(task.classes), 28, 28))
    assert tuple(labels) == task.classes
    for image, label in zip(images, labels, strict=True):
        wanted = task.train.all_pixels()[task.train.labels == label][0]
        assert (image == (wanted * 255).round().view(28, 28).numpy()).all()


# The latest tasks


def test_threads_share_one_task_a_spec_and_device_and_only_the_latest_stay(catalog: Catalog) -> None:
    tasks = Tasks(catalog, keep=2)
    one, two = TaskSpec(), TaskSpec(invert=True)
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(tasks.get, [one, two] * 8, ["cpu", torch.device("cpu")] * 8))
    assert len({id(task) for task in made}) == 2
    assert tasks.get(TaskSpec(), "cpu") is made[0]
    assert tasks.get(one, "meta").train.all_pixels().device.type == "meta"
    assert tasks.get(one) is made[0]
    assert tasks.get(two) is not made[1]


def test_an_outline_is_made_once_and_gone_with_its_dataset(catalog: Catalog) -> None:
    """Pages ask for that of every run that waits: hundreds, each second."""
    tasks, spec = Tasks(catalog), TaskSpec(dataset="own")
    kept = read_upload(arrays(x_train=np.zeros((60, 28, 28), np.uint8), y_train=np.arange(60) % 2)).dataset
    for _ in range(2):
        catalog.keep(kept, "own")
        found = tasks.outline(spec)
        assert tasks.outline(TaskSpec(dataset="own")) is found
        assert len(found.train) == tasks.get(spec).num_train
        catalog.remove("own")
        for ask in (tasks.outline, tasks.get):
            with pytest.raises(DatasetError, match="no dataset 'own'"):
                ask(spec)


def test_a_task_of_an_absent_dataset_is_refused_and_others_still_come(catalog: Catalog) -> None:
    tasks = Tasks(catalog)
    with pytest.raises(DatasetError, match="not on this machine"):
        tasks.get(TaskSpec(dataset="mnist"))
    assert tasks.get(TaskSpec()).num_train == 1437 - 142


# Presets


def make_ready(folder: Path, *datasets: IdxDataset) -> None:
    """Let these datasets count as ready in the catalog of a home folder: their files are there, though empty."""
    for source in datasets:
        put(folder / "datasets" / source.folder / "raw", dict.fromkeys(source.stems, b""))


def test_presets_come_in_their_order_each_with_its_line() -> None:
    assert list(PRESETS) == ["same", "split", "rotation-45", "inversion", "permutation", "transfer", "ten-shot"]
    for lines in (
        [preset.line for preset in PRESETS.values()],
        [preset.line_for("image") for preset in PRESETS.values()],
        [preset.line_for("text") for preset in presets_for("text").values()],
    ):
        assert len(set(lines)) == len(lines)
        assert all(0 < len(line) <= 120 and "\n" not in line for line in lines)


@pytest.mark.parametrize("kind", ["image", "text"])
def test_the_line_of_a_preset_speaks_of_a_change_exactly_where_it_makes_it(kind: str) -> None:
    words = {"rotation": "rotated", "invert": "swapped", "permutation": "shuffled", "shots": "Ten training"}
    for preset in presets_for(kind).values():
        said = {name for name, word in words.items() if word in preset.line_for(kind)}
        assert said == set(preset.views[kind])
        assert kind == "image" or "image" not in preset.line_for(kind)


def test_a_kind_of_data_has_the_presets_that_make_sense_for_it() -> None:
    assert list(presets_for("image")) == list(PRESETS)
    assert list(presets_for("text")) == ["same", "split", "transfer", "ten-shot"]
    assert list(presets_for("text", classes=3)) == ["same", "transfer", "ten-shot"]
    assert list(presets_for("language", classes=0)) == ["same", "transfer"]
    assert presets_for("sound") == {}
    assert [suggested_preset(kind) for kind in ("image", "text", "sound")] == ["rotation-45", "split", None]


@pytest.mark.parametrize(
    ("name", "kept", "changes"),
    [
        ("same", None, {}),
        ("split", (0, 1, 2, 3, 4, 5), {"classes": (6, 7, 8, 9, 10, 11)}),
        ("ten-shot", None, {"shots": 10}),
    ],
)
def test_a_preset_for_texts_gives_tasks_of_texts(
    name: str, kept: tuple | None, changes: dict, catalog: Catalog
) -> None:
    source, target = preset_tasks(name, "definitions", catalog)
    assert source == TaskSpec(dataset="definitions", classes=kept)
    assert target == TaskSpec(dataset="definitions", **changes)
    chosen = outline(target, catalog.load("definitions"))
    assert len(chosen.train) == {"same": 10_800, "split": 5_400, "ten-shot": 120}[name]
    assert len(chosen.test) == (1_200 if name == "split" else 2_400)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("same", {}),
        ("split", {"classes": (5, 6, 7, 8, 9)}),
        ("rotation-45", {"rotation": 45}),
        ("inversion", {"invert": True}),
        ("permutation", {"permutation": 0}),
        ("transfer", {"dataset": "mnist"}),
        ("ten-shot", {"rotation": 45, "shots": 10}),
    ],
)
def test_a_preset_changes_the_target_task_in_its_one_way(
    name: str, changes: dict, catalog: Catalog, tmp_path: Path
) -> None:
    make_ready(tmp_path, PUBLISHED[0])
    plain = TaskSpec(dataset="digits", validation=0.2)
    source, target = preset_tasks(name, "digits", catalog, validation=0.2)
    assert target == plain.but(**changes)
    assert source == plain.but(classes=(0, 1, 2, 3, 4) if name == "split" else None)
    given = preset_tasks(name, "digits", catalog, target="kmnist")
    assert given == (source.but(validation=0.1), target.but(dataset="kmnist", validation=0.1))


def test_every_preset_gives_tasks_on_the_dataset_that_is_always_there(catalog: Catalog) -> None:
    tasks = Tasks(catalog)
    for name in set(PRESETS) - {"transfer"}:
        source, target = (tasks.get(spec) for spec in preset_tasks(name, "digits", catalog))
        assert not torch.equal(source.train.all_pixels(), target.train.all_pixels()) or name == "same"
        assert target.num_train == (100 if name == "ten-shot" else len(target.train.labels))


def test_without_a_source_a_preset_changes_nothing_but_the_number_of_examples(catalog: Catalog) -> None:
    assert presets_for("sound", direct=True) == {}
    for dataset, kind in (("digits", "image"), ("definitions", "text")):
        presets = presets_for(kind, direct=True)
        assert [preset.title for preset in presets.values()] == ["Whole dataset", "Ten shots"]
        assert suggested_preset(kind, direct=True) == "same"
        assert not any(word in preset.line_for(kind) for preset in presets.values() for word in ("base", "rotated"))
        whole = TaskSpec(dataset=dataset, validation=0.2)
        assert direct_task("same", dataset, catalog, 0.2) == whole
        assert direct_task("ten-shot", dataset, catalog, 0.2) == whole.but(shots=10)
    with pytest.raises(SpecError, match="no preset 'split' without a source; choose one of: same, ten-shot"):
        direct_task("split", "digits", catalog)
    with pytest.raises(DatasetError, match="no dataset 'cifar'"):
        direct_task("same", "cifar", catalog)


@pytest.mark.parametrize(
    ("source", "ready", "target"),
    [
        ("mnist", (0, 1, 2), "fashion-mnist"),
        ("fashion-mnist", (0, 1, 2), "mnist"),
        ("mnist", (0, 3), "digits"),
        ("emnist-letters", (2, 3), "kmnist"),
        ("digits", (2, 3), "kmnist"),
        ("digits", (), "mnist-16k"),
        ("mnist-16k", (), "digits"),
    ],
)
def test_transfer_goes_to_the_best_other_dataset_that_is_ready_and_fits_the_base(
    source: str, ready: tuple[int, ...], target: str, catalog: Catalog, tmp_path: Path
) -> None:
    make_ready(tmp_path, *(PUBLISHED[place] for place in ready))
    assert preset_tasks("transfer", source, catalog)[1] == TaskSpec(dataset=target)


@pytest.mark.parametrize(
    ("values", "error", "reason"),
    [
        (("shuffle", "digits"), SpecError, "choose one of: same, split"),
        (("transfer", "digits", "digits"), DatasetError, "other than its source digits"),
        (("same", "cifar"), DatasetError, "no dataset 'cifar'"),
        (("same", "digits", "cifar"), DatasetError, "no dataset 'cifar'"),
        (("rotation-45", "definitions"), DatasetError, "those for it: same, split, transfer, ten-shot"),
        (("same", "digits", "definitions"), DatasetError, "definitions is not of the same kind of data as digits"),
        (("transfer", "definitions"), DatasetError, "needs a second dataset: upload one"),
        (("same", "digits", None, 0.9), SpecError, r"Validation part must be at most 0\.5"),
    ],
)
def test_a_preset_that_cannot_be_had_says_what_to_do(
    values: tuple, error: type[Exception], reason: str, catalog: Catalog
) -> None:
    name, source, *rest = values
    with pytest.raises(error, match=reason):
        preset_tasks(name, source, catalog, *rest)


def test_a_transfer_without_a_second_dataset_names_those_to_download(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="download fashion-mnist or mnist"):
        preset_tasks("transfer", "digits", Catalog(Settings(tmp_path), [Digits, Published]))


@pytest.mark.full_size
def test_mnist_at_full_size_makes_every_task_in_full(tmp_path: Path) -> None:
    tasks = Tasks(Catalog(Settings(tmp_path, Settings.from_environment().data_folder)), keep=1)
    task = tasks.get(TaskSpec(dataset="mnist", rotation=45.0))
    assert (task.num_train, len(task.validation.labels), len(task.test.labels)) == (54_001, 5_999, 10_000)
    few = tasks.get(TaskSpec(dataset="mnist", rotation=45.0, shots=10))
    assert few.num_train == 100
    assert torch.equal(few.validation.all_pixels(), task.validation.all_pixels())
