"""The model card, followed from the files that a person uploaded: its code gives the run's accuracy, to the digit."""

from __future__ import annotations

import io
import random
import re
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from core.adapter.archive import CARD
from core.data.task_spec import TaskSpec
from core.data.uploads import read_texts, read_upload
from core.engine.jobs.run_files import ADAPTER, NETWORK
from core.lab import Lab
from core.methods.lora import LoRASpec
from core.run_spec import RunSpec
from core.store.record import Run
from tests.conftest import DIGITS, finish, short, some_of
from tests.data.text_files import separated
from tests.data.uploaded import Entry, zipped
from tests.launching import fine_tune
from tests.networks.tiny import save_tiny

pytestmark = [
    pytest.mark.usefixtures("read_here"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),  # in PEFT
]

TITLES = ("2 owls", "a `cat` <b>", "zebra")


def drawn(label: int, number: int) -> tuple[str, bytes]:
    """A picture of a class, bright in one third of its width, in one of many sizes and kinds; ending and content."""
    draw = np.random.default_rng([label, number])
    height, width = draw.integers(9, 90, 2).tolist() if number % 4 else (28, 28)
    values = draw.integers(0, 120, (height, width, 3), np.uint8)
    values[:, label * width // 3 : (label + 1) * width // 3] += np.uint8(draw.integers(20, 130))
    target, image = io.BytesIO(), Image.fromarray(values)
    match number % 7:
        case 0:
            image.convert("L").save(target, "PNG")
        case 1:
            image.putalpha(Image.fromarray(draw.integers(0, 256, (height, width), np.uint8)))
            image.save(target, "PNG")
        case 2:
            image.convert("P").save(target, "PNG", transparency=3)
        case 3:
            Image.fromarray(values[..., 0].astype(np.uint16) * 255).save(target, "PNG")
        case 4:
            exif = Image.Exif()
            exif[0x0112] = 1 + number // 7 % 8
            image.save(target, "JPEG", exif=exif)
            return "jpg", target.getvalue()
        case 5:
            image.convert("1").save(target, "PNG")
        case _:
            image.save(target, "PNG")
    return "png", target.getvalue()


def pictures(counts: Sequence[int], above: str = "", start: int = 0) -> list[tuple[Entry, bytes]]:
    found: list[tuple[Entry, bytes]] = [(f"my data/{above}notes.txt", b"x"), (f"__MACOSX/my data/{above}1.png", b"x")]
    for label, count in enumerate(counts):
        for number in range(start, start + count):
            ending, content = drawn(label, number)
            found.append((f"my data/{above}{TITLES[label]}/{number}.{ending}", content))
    return found


WITHOUT_PARTS = zipped(*pictures((40, 30, 20)))
WITH_PARTS = zipped(
    *pictures((30, 30, 20), "Train/"), *pictures((9, 8, 7), "Test/", 50), *pictures((6, 5, 4), "valid/", 80)
)
VALIDATED = zipped(*pictures((30, 30, 20), "train/"), *pictures((9, 8, 7), "val/", 50))


def follow(lab: Lab, run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Execute all code of a run's card as it is printed, one block after the other, in a folder with the downloads."""
    shutil.copy(lab.artifacts.path(run.id, ADAPTER), folder / f"{run.id}-adapter.zip")
    with zipfile.ZipFile(folder / f"{run.id}-adapter.zip") as archive:
        card = archive.read(CARD).decode()
    if run.spec.base:
        shutil.copy(lab.artifacts.path(run.spec.base, NETWORK), folder / f"{run.spec.base}-network.safetensors")
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {"card": card}
    # Only what needs no LoRA Lab, as on a machine of somebody else.
    for block in re.findall(r"^```python\n(.*?)^```$", card, re.DOTALL | re.MULTILINE):
        if "from core" not in block:
            exec(block, names)
    return names


IMAGE_TASKS = {
    "no parts": (WITHOUT_PARTS, {}),
    "parts, two of the classes": (WITH_PARTS, {"classes": (0, 2)}),
    "a validation part, all transforms": (VALIDATED, {"rotation": -30.0, "invert": True, "permutation": 3}),
}


@pytest.mark.parametrize("case", IMAGE_TASKS)
def test_a_zip_of_pictures_and_the_card_give_the_accuracy(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    content, view = IMAGE_TASKS[case]
    lab.catalog.keep(read_upload(content).dataset, "my-animals")
    base = lab.launcher.launch(RunSpec.of(method="pretrain", task=DIGITS, optim=short(rate=0.001)))
    task = TaskSpec.of(dataset="my-animals", **view)
    (base,) = finish(lab, base.id)
    experiment = fine_tune(lab, base, task, [(short(3, 0.003, batch_size=16), LoRASpec.of())], [0], "Animals")
    (run,) = finish(lab, *experiment.runs)
    assert run.result, run.cause
    (tmp_path / "my-animals.zip").write_bytes(content)
    names = follow(lab, run, tmp_path, monkeypatch)

    tested = {"no parts": 18, "parts, two of the classes": 16}.get(case, 24)
    accuracy = run.result.measures["accuracy"]
    assert accuracy is not None
    assert 20 < accuracy < 100, "says nothing"
    ours = lab.tasks.get(task).test
    rows = [(image.numpy().tobytes(), label) for image, label, _ in names["test"]]
    expected = zip(
        (row.numpy().tobytes() for row in ours.batch(slice(None))["pixels"]), ours.labels.tolist(), strict=True
    )
    assert sorted(rows) == sorted(expected)
    assert capsys.readouterr().out.endswith(f"{tested} test images, accuracy {accuracy:.2f} %\n")
    assert names["accuracy"] == pytest.approx(accuracy, abs=1e-9)
    assert names["classes"] == (*TITLES, *["unused"] * 7)
    assert ("my-animals, classes 0, 2" in names["card"]) == ("classes" in view)
    assert names["predict"](Image.open(io.BytesIO(drawn(0, 2)[1]))) in [*TITLES, "unused"]


WORDS = ("cat", "dog", "mat")
OTHERS = ("the", "red", "a", "big", "small", "unknown", "very", "blue")


def reviews(with_parts: bool, repeats: int) -> bytes:
    """A table of texts, some of them long and this many of them repeated, with a row without text; the label is the
    second of two columns that have one name and the same classes.
    """
    draw = random.Random(4)
    rows = []
    for number in range(300):
        label = number * 7 % 3
        words = [WORDS[label if draw.random() < 0.8 else 0], *draw.choices(OTHERS, k=draw.randrange(1, 30))]
        words = words if draw.random() < 0.8 else words[::-1]
        part = ("Train", "train", "dev", "test", "train")[number % 5]
        rows.append((number, f'  {" ".join(words)}, \n"sat" ', ("1", "2.0", "10")[label], part))
    rows += [*rows[::6][:repeats], (99, " ", "1", "train")]
    heads = ("id", "review", "stars", "stars", *["usage"] * with_parts)
    table = [
        (number, text, ("2", "10", "1.0")[place % 3], stars, *[part] * with_parts)
        for place, (number, text, stars, part) in enumerate(rows)
    ]
    return separated(table, heads).encode()


@pytest.mark.parametrize(
    ("architecture", "with_parts", "repeats", "dropped", "kept"),
    some_of(
        [
            ("bert", True, 50, False, None),
            ("gpt2", False, 1, True, None),  # as many test texts as with the repeated row, but others
            ("llama", False, 50, False, (0, 2)),
        ],
        lambda architecture, *_: architecture != "gpt2",
    ),
)
def test_a_table_of_texts_and_the_card_give_the_accuracy(
    lab: Lab,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    architecture: str,
    with_parts: bool,
    repeats: int,
    dropped: bool,
    kept: tuple[int, ...] | None,
) -> None:
    content = reviews(with_parts, repeats)
    draft = read_texts(content, label="stars (2)", drop_duplicates=dropped)
    assert draft.dataset.class_names == ("1", "2", "10")
    assert draft.duplicates
    lab.catalog.keep(draft.dataset, "reviews")
    card = lab.networks.import_folder(save_tiny(tmp_path / "base", architecture), "mine")
    network = lab.networks.spec(card.digest, 3)
    task = TaskSpec.of(dataset="reviews", length=12, classes=kept)
    arm = (short(12, 0.02, batch_size=16), LoRASpec.of(rank=8, alpha=16.0))
    (run,) = finish(lab, *fine_tune(lab, network, task, [arm], [0]).runs)
    assert run.result, run.cause
    (tmp_path / "reviews.csv").write_bytes(content)
    names = follow(lab, run, tmp_path, monkeypatch)
    overlap = draft.dataset.overlap
    assert overlap == (0 if dropped else len({*draft.dataset.train_texts}.intersection(draft.dataset.test_texts)))
    assert (
        f"{overlap} of {len(draft.dataset.test_texts)} test texts {'is' if overlap == 1 else 'are'} also"
        in names["card"]
    ) == (overlap > 0)
    accuracy = run.result.measures["accuracy"]
    assert accuracy is not None
    ours = lab.tasks.get(task, network=network).test
    tokens = ours.batch(slice(None))["input_ids"], names["read"]([text for text, *_ in names["test"]])["input_ids"]
    labels = ours.labels.tolist(), [label for _, label, _ in names["test"]]
    expected, rows = (sorted(zip(ids.tolist(), own, strict=True)) for ids, own in zip(tokens, labels, strict=True))
    assert rows == expected
    assert names["accuracy"] == pytest.approx(accuracy, abs=1e-9)
    assert f" test texts, accuracy {accuracy:.2f} %\n" in capsys.readouterr().out
    assert names["classes"] == ("1", "2", "10")
