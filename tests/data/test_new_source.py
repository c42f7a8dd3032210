"""A source of datasets that only this test knows goes through the whole job, without a change in core/."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from core.artifacts.trial import evaluate_adapter
from core.data.dataset import ImageDataset, Images, Labels, TextDataset
from core.data.sources.catalog import SOURCES, Catalog
from core.data.sources.source import DatasetInfo, Source
from core.data.task_spec import TaskSpec
from core.engine.jobs.run_files import ADAPTER
from core.errors import DatasetError
from core.lab import Lab, close_lab, open_lab
from core.settings import Settings
from core.store.record import Experiment
from core.tasks.presets import preset_tasks
from core.tasks.tasks import Tasks
from core.tasks.views.registry import view_of
from tests.conftest import BOTH, compared, finish, short
from tests.extended import PARTS
from tests.pages.test_pages import draw, texts
from tests.registered import with_entry

TRAIN, TEST = 400, 80
DIRECTIONS = ("across", "falling", "upright", "rising")


def drawn(count: int) -> tuple[Images, Labels]:
    """Noisy stripes in four directions, in turn."""
    draw = np.random.RandomState(0)
    labels = np.arange(count) % 4
    down, right = np.mgrid[:28, :28]
    waves = np.stack([down, down - right, right, down + right]) * 0.9
    images = (
        127 + 90 * np.sin(waves[labels] + draw.uniform(0, 6.3, (count, 1, 1))) + draw.normal(0, 12, (count, 28, 28))
    )
    return images.clip(0, 255).astype(np.uint8), labels.astype(np.int64)


class Stripes(Source):
    """Noisy stripes in four directions."""

    def names(self) -> tuple[str, ...]:
        return ("stripes",)

    def info(self, name: str) -> DatasetInfo:
        return DatasetInfo(name, "Stripes", "480 images of stripes, 28×28 gray.", num_classes=4, state="ready")

    def load(self, name: str) -> ImageDataset:
        images, labels = drawn(TRAIN + TEST)
        return ImageDataset(name, images[:TRAIN], labels[:TRAIN], images[TRAIN:], labels[TRAIN:], DIRECTIONS)


class Recordings(TextDataset):
    """A dataset of a kind that no view knows."""

    kind = "sound"


class Songs(Stripes):
    """A source of such a dataset."""

    kind = "sound"

    def names(self) -> tuple[str, ...]:
        return ("songs",)

    def info(self, name: str) -> DatasetInfo:
        return DatasetInfo(name, "Songs", "40 songs.", num_classes=2, state="ready", kind=self.kind)

    def load(self, name: str) -> Recordings:
        labels = np.arange(20) % 2
        return Recordings(name, ("chirp",) * 20, labels, ("chirp",) * 20, labels, ("finch", "wren"))


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with with_entry(SOURCES, Stripes):
        yield open_lab(Settings(home=tmp_path_factory.mktemp("stripes") / "home"))
        close_lab()


@pytest.fixture(scope="module")
def experiment(opened: Lab) -> Experiment:
    """Full fine-tuning and LoRA on turned stripes, with two seeds, finished."""
    experiment = compared(opened, "rotation-45", "stripes", None, short(20, 0.001), BOTH, seeds=[0, 1])
    ended = finish(opened, experiment.base, *experiment.runs)
    assert [run.state for run in ended] == ["finished"] * 5
    return experiment


def test_it_is_there_while_it_is_registered_and_gone_afterwards(settings: Settings) -> None:
    before = Catalog(settings).list()
    with with_entry(SOURCES, Stripes):
        catalog = Catalog(settings)
        assert [info.name for info in catalog.list()] == [*(info.name for info in before), "stripes"]
        assert catalog.best() == "mnist-16k"
        assert catalog.load("stripes") is catalog.load("stripes")
        for refused in (catalog.keep, lambda dataset, name: catalog.remove(name)):
            with pytest.raises(DatasetError, match=r"belongs to a built-in dataset|not an uploaded dataset"):
                refused(catalog.load("digits"), "stripes")
    assert Catalog(settings).list() == before
    with pytest.raises(DatasetError, match="no dataset 'stripes'"):
        Catalog(settings).load("stripes")


def test_pretraining_fine_tuning_and_a_verified_adapter(opened: Lab, experiment: Experiment) -> None:
    base = opened.store.run(experiment.base)
    assert base.spec.network.num_classes == 4
    assert base.result is not None
    assert base.score > 90
    full, lora = (
        next(r for r in opened.store.members(experiment) if r.spec.kind == method) for method in ("full", "lora")
    )
    assert full.result is not None
    assert lora.result is not None
    assert full.result.steps == lora.result.steps == 6  # 360 images in batches of 64
    assert lora.result.measures["source_accuracy_before"] == base.score
    content = opened.artifacts.path(lora.id, ADAPTER).read_bytes()
    on = [lora.spec.task, base.spec.task]
    found, (target, source) = evaluate_adapter(content, opened.artifacts.network(base.id), opened.tasks, on)
    assert found.certified
    assert target.examples == source.examples == TEST
    assert target.after.measures["accuracy"] == pytest.approx(lora.score)
    assert source.before.measures["accuracy"] == pytest.approx(base.score)


def test_it_can_be_transferred_to_and_from(opened: Lab) -> None:
    assert preset_tasks("transfer", "digits", opened.catalog, "stripes")[1] == TaskSpec(dataset="stripes")
    with pytest.raises(DatasetError, match="needs a second dataset"):
        preset_tasks("transfer", "stripes", opened.catalog)  # no other one has as few classes


def test_data_of_a_kind_without_a_view_is_refused_in_one_sentence(settings: Settings) -> None:
    catalog = Catalog(settings, [*SOURCES, Songs])
    with pytest.raises(DatasetError, match="no way to learn from data of kind 'sound'; choose a dataset of: image"):
        Tasks(catalog).get(TaskSpec(dataset="songs"))
    for source, target in (("digits", "songs"), ("songs", "digits")):
        with pytest.raises(
            DatasetError, match=r"songs is not of the same kind of data as digits|not for datasets of kind 'sound'"
        ):
            preset_tasks("transfer", source, catalog, target)
    with pytest.raises(DatasetError, match="of kind 'sound' cannot be saved"):
        catalog.keep(catalog.load("songs"), "mine")
    with pytest.raises(DatasetError, match="songs has no images"):
        view_of("image").task(TaskSpec(dataset="songs"), catalog.load("songs"))


def test_every_page_shows_it_without_having_been_told(opened: Lab, experiment: Experiment) -> None:
    for page, view in PARTS:
        app = draw(page, view=view or "")
        assert not app.error, (page, view, [error.value for error in app.error])
    assert "**Stripes**" in texts(draw("data"))
    assert "Stripes · images" in draw("pretrain").selectbox(key="pretrain-dataset").options
    compared = draw("experiment", view="Examples")
    assert f"{TEST} test images: one is worth 1.25 points." in texts(compared)
    alts = [chart.proto.alt for chart in compared.get("plotly_chart")]
    assert sum(alt.startswith("Confusion matrix of ") for alt in alts) == 2
