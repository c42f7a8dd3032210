"""An objective without classes, which only tests know, goes from an upload to every page without a change in core/.

It learns a number for each example: of texts that somebody uploads, and of images of a source that only this test has.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from streamlit.testing.v1 import AppTest
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification

from core.__main__ import main
from core.adapter.archive import CARD
from core.artifacts.exports import FORMATS
from core.artifacts.trial import evaluate_adapter
from core.data.dataset import ImageDataset
from core.data.sources.catalog import SOURCES
from core.data.sources.source import DatasetInfo, Source
from core.data.task_spec import TaskSpec
from core.data.uploads import TextColumns, draft_texts, read_text_table, read_texts
from core.engine.jobs.run_files import ADAPTER
from core.errors import DatasetError, SpecError
from core.lab import Lab, close_lab, open_lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.networks.perceptron import PerceptronSpec
from core.networks.transformer import TransformerSpec
from core.objectives.measure import Answers
from core.objectives.registry import OBJECTIVES
from core.run_spec import RunSpec
from core.serving.request import NumberPrediction, PredictRequest, Row
from core.settings import Settings
from core.store.record import Experiment, Run
from core.tasks.presets import presets_for
from core.tasks.views.view import outline
from core.web.predict import description
from tests.adapter.samples import unzip
from tests.conftest import compared, finish, short
from tests.data.text_files import separated
from tests.launching import fine_tune
from tests.networks.tiny import save_tiny
from tests.objectives.regression import MAE, R2, RegressionSpec
from tests.pages.test_data import upload
from tests.pages.test_pages import draw, texts
from tests.registered import with_entry

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # in PEFT

VALUES = {"cat": -1.0, "dog": 0.0, "mat": 1.0, "far": 2.0}
"""What texts about these have as their number, with a little noise."""

COLUMNS = ("review", "score")


def rows(count: int) -> list[tuple[str, str]]:
    """Texts, and numbers that follow from one of their words."""
    draw = np.random.RandomState(0)
    others = ("a", "the", "red", "blue", "big", "small", "and", "not", "very")
    found = []
    for about in draw.choice(list(VALUES), count):
        words = [*draw.choice(others, draw.randint(2, 8)), about, "sat"]
        found.append((" ".join(words), f"{VALUES[about] + draw.normal(0, 0.1):.3f}"))
    return found


FILE = separated(rows(200), COLUMNS).encode()


class Patches(Source):
    """Bright squares on black; the number is the length of a side, from −1 to 1."""

    def names(self) -> tuple[str, ...]:
        return ("patches",)

    def info(self, name: str) -> DatasetInfo:
        return DatasetInfo(name, "Patches", "400 images of squares.", 0, "ready", objective=RegressionSpec.name())

    def load(self, name: str) -> ImageDataset:
        draw = np.random.RandomState(0)
        images, sides = np.zeros((400, 28, 28), np.uint8), draw.randint(4, 25, 400)
        for image, side in zip(images, sides, strict=True):
            left, top = draw.randint(0, 28 - side, 2)
            image[top : top + side, left : left + side] = 255
        numbers = ((sides - 14) / 10).astype(np.float32)
        return ImageDataset(name, images[:320], numbers[:320], images[320:], numbers[320:], (), RegressionSpec.name())


@dataclass(frozen=True)
class Done:
    """A lab with finished experiments that learned numbers."""

    lab: Lab
    network: TransformerSpec
    texts: Experiment
    """Full, LoRA of two ranks and head only on uploaded texts."""
    images: Experiment
    """Full and LoRA on turned squares, after squares."""

    def run(self, experiment: Experiment, kind: str) -> Run:
        return next(run for run in self.lab.store.members(experiment) if run.spec.kind == kind)


@pytest.fixture(scope="module")
def registered() -> Iterator[None]:
    with with_entry(OBJECTIVES, RegressionSpec), with_entry(SOURCES, Patches):
        description.cache_clear()
        yield
    description.cache_clear()


@pytest.fixture(scope="module")
def done(registered: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    """The texts are uploaded on the Data page, and everything is trained."""
    close_lab()
    folder = tmp_path_factory.mktemp("home")
    lab = open_lab(Settings(home=folder / "home", threads=1, max_waiting=40))
    app = draw("data")
    app.session_state["upload-kind"] = "text"
    app = upload(app.run(), "Reviews.csv", FILE)
    (choice,) = [each for each in app.button_group if each.label == "Objective"]
    assert list(choice.options) == ["Classification", "Regression", "Language"]
    choice.set_value("regression").run()
    assert not app.error, [error.value for error in app.error]
    assert [(box.label, box.value) for box in app.selectbox[:3]] == [
        ("Text", "review"),
        ("Number", "score"),
        ("Part", None),
    ]
    assert "200 texts from" in texts(app)
    assert "160 for training and 40 for testing" in texts(app)
    assert not app.get("plotly_chart")
    app.button(key="upload-keep").click().run()
    assert not app.exception
    card = lab.networks.import_folder(save_tiny(folder / "tiny"), "tiny-bert")
    network = lab.networks.spec(card.digest)
    task = TaskSpec.of(dataset="reviews", length=16)
    own = short(epochs=5, rate=0.01, batch_size=16)
    arms = [(own, FullSpec()), (own.but(learning_rate=0.02), LoRASpec.of(rank=2)), (own, "head")]
    direct = fine_tune(lab, network, task, arms, range(2))
    both = [(short(4, 0.002), FullSpec()), (short(4, 0.01), LoRASpec.of())]
    turned = compared(lab, "rotation-45", "patches", None, short(10, 0.003), both, range(2))
    runs = finish(lab, *direct.runs, turned.base, *turned.runs)
    assert {run.state for run in runs} == {"finished"}, [run.cause for run in runs]
    yield Done(lab, network, direct, turned)
    close_lab()


def outputs(network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    with torch.no_grad():
        found = network.eval()(**batch) if len(batch) > 1 else network.eval()(*batch.values())
    return found if isinstance(found, Tensor) else found.logits


# Measures and targets


def test_measures_are_those_of_the_definition() -> None:
    draw = np.random.RandomState(0)
    targets, predicted = draw.normal(size=50), draw.normal(size=50)
    answers = Answers(predicted, targets)
    expected = 1 - np.square(predicted - targets).sum() / np.square(targets - targets.mean()).sum()
    assert R2.of(answers) == pytest.approx(expected)
    assert MAE.of(answers) == pytest.approx(np.abs(predicted - targets).mean())
    assert R2.of(Answers(targets, targets)) == 1
    assert R2.of(Answers(np.full(50, targets.mean()), targets)) == pytest.approx(0)


def test_without_the_registration_nothing_of_it_is_there(settings: Settings) -> None:
    with pytest.raises(SpecError, match="no objective 'regression'; choose one of: classification"):
        RunSpec.of(method="pretrain", network=PerceptronSpec.of(num_classes=1), objective="regression")


def test_a_network_has_as_many_outputs_as_its_objective_asks_for(registered: None) -> None:
    spec = RunSpec.of(method="pretrain", network=PerceptronSpec.of(num_classes=1), objective="regression")
    assert RunSpec.from_json(spec.to_json()) == spec
    with pytest.raises(SpecError, match="names a number needs one output, not 10"):
        RunSpec.of(method="pretrain", objective="regression")
    with pytest.raises(SpecError, match="Classes must be at least 2, not 1"):
        RunSpec.of(method="pretrain", network=PerceptronSpec.of(num_classes=1))


def test_targets_and_objective_must_match(done: Done) -> None:
    of_numbers = RunSpec.of(method="pretrain", network=PerceptronSpec.of(num_classes=1), objective="regression")
    with pytest.raises(SpecError, match="targets of digits are for classification, not for regression"):
        done.lab.launcher.launch(of_numbers)
    with pytest.raises(SpecError, match="targets of patches are for regression, not for classification"):
        done.lab.launcher.launch(RunSpec.of(method="pretrain", task=TaskSpec.of(dataset="patches")))
    with pytest.raises(DatasetError, match="patches has no classes: leave the classes kept out"):
        done.lab.tasks.outline(TaskSpec.of(dataset="patches", classes=(0, 1)))
    with pytest.raises(DatasetError, match="kind of targets that digits has"):
        compared(done.lab, "transfer", "digits", "patches", short(), [(short(), FullSpec())], [0])
    for preset in ("split", "ten-shot"):
        with pytest.raises(DatasetError, match="is for datasets with classes, which patches has not"):
            compared(done.lab, preset, "patches", None, short(), [(short(), FullSpec())], [0])
    assert not {"split", "ten-shot"} & set(presets_for("image", classes=0))


def test_a_task_is_split_as_a_whole_and_shots_are_counted_in_all(done: Done) -> None:
    dataset = done.lab.catalog.load("patches")
    few, many, whole = (outline(TaskSpec.of(dataset="patches", shots=n), dataset) for n in (10, 50, None))
    assert (len(few.train), len(many.train), len(whole.train)) == (10, 50, 288)
    assert set(few.train) < set(many.train) < set(whole.train)
    assert few.validation.tolist() == whole.validation.tolist()
    assert not set(whole.train) & set(whole.validation)
    assert whole.classes == ()
    with pytest.raises(DatasetError, match="patches has 288 training examples besides the validation part, not 300"):
        outline(TaskSpec.of(dataset="patches", shots=300), dataset)
    assert done.lab.tasks.get(TaskSpec.of(dataset="patches")).train.labels.dtype == torch.float32


# Uploads


@pytest.mark.parametrize(
    ("cell", "sentence"),
    [
        ("abc", "Row 3 has 'abc' in 'score', which is no finite number"),
        ("1,5", "Row 3 has '1,5' in 'score', which is no finite number"),
        ("", "Row 3 has a text but no number in 'score'"),
        ("NaN", "Row 3 has a text but no number in 'score'"),
        ("-inf", "Row 3 has '-inf' in 'score', which is no finite number"),
        ("1e39", "Row 3 has '1e39' in 'score': numbers are at most 3.4e+38"),
        ("9" * 80, "Row 3 has '9999999999999999999999999999999999999999' in 'score', which is no finite number"),
    ],
)
def test_what_is_no_finite_number_is_refused_in_one_sentence(cell: str, sentence: str) -> None:
    table = read_text_table(separated([rows(9)[0], ("a cat sat", cell), *rows(9)], COLUMNS).encode())
    with pytest.raises(DatasetError) as caught:
        draft_texts(table, TextColumns(*COLUMNS), objective="regression", numbers=True)
    assert str(caught.value).startswith(sentence)


def test_numbers_that_are_all_alike_are_refused() -> None:
    table = read_text_table(separated([(text, "0.5") for text, _ in rows(30)], COLUMNS).encode())
    with pytest.raises(
        DatasetError, match=r"All numbers of the training part in 'score' are 0\.5: there is nothing to"
    ):
        draft_texts(table, TextColumns(*COLUMNS), objective="regression", numbers=True)


def test_numbers_are_kept_bit_for_bit_and_the_column_is_found(done: Done) -> None:
    draft = read_texts(FILE, objective="regression", numbers=True)
    assert draft.dataset.columns == TextColumns(*COLUMNS, without_repeats=False)
    kept = done.lab.catalog.load("reviews")
    assert kept.train_labels.dtype == np.float32
    assert kept.train_labels.tolist() == draft.dataset.train_labels.tolist()
    assert (kept.class_names, kept.num_classes, kept.objective) == ((), 0, "regression")
    assert done.lab.catalog.info("reviews").line == "Uploaded: 200 texts with numbers, 160 of them for training."
    OBJECTIVES.remove(RegressionSpec)
    try:
        info = done.lab.catalog.info("reviews")
        assert (info.state, info.line) == (
            "damaged",
            "This version of LoRA Lab has no objective 'regression': update it.",
        )
    finally:
        OBJECTIVES.append(RegressionSpec)


# Training


def test_runs_learn_and_their_curves_and_results_have_the_measures(done: Done) -> None:
    for experiment in (done.texts, done.images):
        for run in done.lab.store.members(experiment):
            assert {"r2", "mae", "loss", "validation_r2", "validation_loss"} <= set(run.result.measures)
            assert not {"accuracy", "macro_f1", "largest_class"} & set(run.result.measures)
            curve = done.lab.store.curve(run.id)
            assert curve.measured("validation_r2")[-1] == pytest.approx(run.result.measures["validation_r2"])
            assert curve.loss[-1] < curve.loss[0]
    full, lora = (done.run(done.images, kind) for kind in ("full", "lora"))
    assert min(full.score, lora.score) > 0.5
    assert done.run(done.texts, "full").score > 0.5
    base = done.lab.store.run(done.images.base)
    for run in (full, lora):
        assert run.result.measures["source_r2_before"] == base.score
        assert run.result.measures["source_r2"] < base.score


def test_the_adapter_is_verified_and_peft_gives_equal_outputs(done: Done, tmp_path: Path) -> None:
    lab, run = done.lab, done.run(done.texts, "lora")
    path = lab.artifacts.path(run.id, ADAPTER)
    assert lab.artifacts.verify(run.id).certified
    unzip(path.read_bytes(), tmp_path)
    loaded = PeftModel.from_pretrained(lab.artifacts.base_network(run), str(tmp_path))
    batch = lab.tasks.get(run.spec.task, network=run.spec.network).test.batch(slice(None))
    expected = outputs(lab.artifacts.trained(run), batch)
    assert expected.shape == (40, 1)
    torch.testing.assert_close(outputs(loaded, batch), expected, atol=1e-5, rtol=1e-5)
    card = (tmp_path / CARD).read_text()
    assert "the output is\nof shape (n, 1)." in card
    assert "| R² on the test part |" in card
    assert not [word for word in ("classes", "per class", "Accuracy", "logits.") if word in card.split("## ")[0]]
    of_images = done.run(done.images, "lora")
    content = lab.artifacts.path(of_images.id, ADAPTER).read_bytes()
    on = [of_images.spec.task, of_images.spec.source]
    _, (target, source) = evaluate_adapter(content, lab.artifacts.network(done.images.base), lab.tasks, on)
    assert target.after.measures["r2"] == pytest.approx(of_images.score)
    assert source.before.measures["r2"] == pytest.approx(lab.store.run(done.images.base).score)


@pytest.mark.parametrize(("name", "which", "tested"), [("transformers", "texts", 40), ("onnx", "images", 80)])
def test_files_for_other_tools_compute_the_same(done: Done, name: str, which: str, tested: int, tmp_path: Path) -> None:
    run = done.run(getattr(done, which), "lora")
    made = done.lab.exports.make(run, FORMATS[name])
    assert made.certificate.equal_predictions == made.certificate.examples == tested
    if name == "transformers":
        shutil.unpack_archive(made.path, tmp_path)
        config = json.loads((tmp_path / "config.json").read_text())
        assert (config["problem_type"], list(config["id2label"])) == ("regression", ["0"])
        batch = done.lab.tasks.get(run.spec.task, network=run.spec.network).test.batch(slice(None))
        loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path)
        expected = outputs(done.lab.artifacts.trained(run), batch)
        torch.testing.assert_close(outputs(loaded, batch), expected, atol=1e-5, rtol=1e-5)


def test_served_rows_are_answered_with_numbers(done: Done) -> None:
    run = done.run(done.texts, "lora")
    asked = PredictRequest(rows=[Row(text=text, adapter=run.id) for text, _ in rows(3)])
    found = done.lab.predictor.predict(asked).predictions
    tokens = done.lab.networks.tokenizer(done.network.weights)
    for prediction, row in zip(found, asked.rows, strict=True):
        assert isinstance(prediction, NumberPrediction)
        (ids,) = tokens.encode([row.text], 16)
        batch = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids), dtype=torch.int64)}
        assert prediction.number == pytest.approx(outputs(done.lab.artifacts.trained(run), batch).item(), abs=1e-4)
    listed = done.lab.predictor.adapters().adapters
    assert {each.objective for each in listed} == {"regression"}
    assert "NumbersResponse" in description()["components"]["schemas"]


# Pages


CLASS_THINGS = re.compile(
    r".{0,60}(?:\bclass(?:es)?\b|confus|accura|probabilit|macro-f1| points\b).{0,60}", re.IGNORECASE
)


def everything(app: AppTest) -> str:
    """All that a page says: text, metrics, tables and alternatives of figures."""
    parts = [texts(app), *(chart.proto.alt for chart in app.get("plotly_chart"))]
    parts += [f"{metric.label} {metric.value}" for metric in app.metric]
    parts += [frame.value.to_string() for frame in (*app.dataframe, *app.table)]
    return "\n".join(parts)


@pytest.mark.parametrize(
    ("which", "page", "view"),
    [
        *(("texts", page, "") for page in ("tryit", "runs", "study", "adapters", "serve", "data", "home", "report")),
        *(("texts", "compare", view) for view in ("R²", "Rates", "Cost", "Runs")),
        *(("images", page, "") for page in ("tryit", "runs", "report", "new")),
        *(("images", "compare", view) for view in ("Curves", "Forgetting")),
        *(("images", "weights", view) for view in ("Spectrum", "Rank", "Alpha", "Subspaces")),
    ],
)
def test_pages_draw_without_classes(done: Done, which: str, page: str, view: str) -> None:
    experiment = getattr(done, which)
    named = {"experiment": experiment.id} if page in ("tryit", "study", "report", "compare", "weights") else {}
    named |= {"run": done.run(experiment, "lora").id} if page in ("runs", "weights") else {}
    named |= {"base": done.images.base} if page == "new" else {}
    named |= {"view": view} if view else {}
    app = draw(page, **named)
    assert not app.error, [error.value for error in app.error]
    if page in ("compare", "tryit", "runs", "report", "study", "weights"):
        assert not CLASS_THINGS.findall(everything(app))
    assert "Examples" not in [tab.label for tab in app.tabs]


def test_try_it_shows_the_number_of_each_network(done: Done) -> None:
    app = draw("tryit", experiment=done.texts.id)
    (frame,) = [each.value for each in app.dataframe if "Answer" in each.value]
    assert list(frame) == ["Network", "Answer", "Off by"]
    assert frame["Network"].tolist() == ["Base, with an untrained head", "Full", "LoRA r=2"]
    assert "Number: " in texts(app)


def test_forms_offer_nothing_of_classes_for_numbers(done: Done) -> None:
    app = draw("pretrain")
    app.selectbox(key="pretrain-dataset").set_value("patches").run()
    assert not app.exception
    assert "pretrain-classes" not in [each.key for each in app.button_group]
    (shots,) = [each for each in app.select_slider if each.key == "pretrain-shots"]
    assert (shots.label, shots.help) == ("Shots", "Training images in all.")
    app = draw("new", base=done.images.base)
    (presets,) = [each for each in app.button_group if each.key == "new-preset"]
    assert not {"New classes", "Ten shots"} & set(presets.options)
    (dataset,) = [each for each in app.selectbox if each.key == "new-dataset"]
    assert dataset.options == ["Patches"]


def test_the_command_line_learns_numbers_of_a_file(
    done: Done, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "more.csv").write_bytes(separated(rows(60), COLUMNS).encode())
    own = ["--network", "tiny-bert", "--data", str(tmp_path / "more.csv"), "--objective", "regression"]
    saved = tmp_path / "plan.json"
    home = ["--home", str(done.lab.settings.home)]
    assert main(["compare", *own, "--epochs", "1", "--save-config", str(saved), *home]) == 0
    assert "60 texts from" in capsys.readouterr().err
    assert "classes" not in saved.read_text().replace('"classes": null', "")
