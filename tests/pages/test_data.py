"""The Data page and uploads: previewed before they are saved, and deleted only on request.

Bad files are in ``tests/soak/``: in a browser, and through every page that takes files.
"""

from __future__ import annotations

import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
from peft import LoraConfig, get_peft_model
from streamlit.testing.v1 import AppTest

from core.artifacts.trial import evaluate_adapter, merged_with
from core.data.task_spec import TaskSpec
from core.engine.jobs.run_files import ADAPTER
from core.lab import Lab
from core.networks.file import base_fingerprint
from core.run_spec import RunSpec
from pages.shared.ui.literal import literal
from tests.adapter.samples import BASE, WHOLE
from tests.conftest import DIGITS, TURNED, finish, short, wait_until
from tests.data.uploaded import arrays, folders, noise, zipped
from tests.pages.test_pages import draw, links, press, stop_all, texts, visit
from tests.trained_home import TrainedHome

HOSTILE = "![x](http://evil.org/x.png)"
GOOD = arrays(x_train=noise(1, (60, 28, 28)), y_train=np.arange(60) % 3)


def upload(app: AppTest, name: str, content: bytes, key: str = "") -> AppTest:
    (field,) = [field for field in app.file_uploader if not key or field.key == key]
    field.upload(name, content)
    app.run()
    return app


def files(lab: Lab) -> set[str]:
    return {path.name for path in lab.settings.datasets.rglob("*") if path.is_file() and path.name != ".lock"}


def test_the_page_lists_every_dataset_with_its_state(opened: Lab) -> None:
    app = draw("data")
    assert not app.error
    for info in opened.catalog.list():
        assert f"**{info.title}**" in texts(app)
        assert info.line in texts(app)
    assert sum("Download" in button.label for button in app.button) == 4


def test_an_upload_is_previewed_then_saved_then_trained_on_then_deleted(opened: Lab) -> None:
    app = upload(draw("data"), "My Shapes (2).npz", GOOD)
    assert "60 images in 3 classes: 48 for training and 12 for testing" in texts(app)
    assert files(opened) == set()
    assert app.text_input[0].value == "my-shapes-2"
    app.button(key="upload-keep").click().run()
    assert files(opened) == {"my-shapes-2.safetensors", "my-shapes-2.sha256"}
    assert "my-shapes-2 is saved" in texts(app)
    address = links(app)["Pretrain on this dataset"]
    assert not app.text_input

    spec = RunSpec.of(method="pretrain", task=TaskSpec.of(dataset="my-shapes-2"), optim=short())
    (run,) = finish(opened, opened.launcher.launch(spec).id)
    assert run.state == "finished"
    pretrain = draw("pretrain", **address)
    assert "my-shapes-2" in pretrain.selectbox(key="pretrain-dataset").options[-1]
    assert pretrain.selectbox(key="pretrain-dataset").value == "my-shapes-2"
    pretrain.selectbox(key="pretrain-dataset").set_value("digits").run()
    assert pretrain.selectbox(key="pretrain-dataset").value == "digits"
    pretrain.selectbox(key="pretrain-dataset").set_value("my-shapes-2").run()

    app = draw("data")
    app.button(key="delete-my-shapes-2").click().run()
    assert files(opened)
    app.button(key="dataset-delete-yes").click().run()
    assert files(opened) == {"my-shapes-2.sha256"}
    pretrain.run()
    assert "There is no dataset" in texts(draw("pretrain", **address))
    draw("new")


def test_an_upload_has_a_name_of_its_own_which_must_be_valid_and_discarding_it_leaves_no_files(opened: Lab) -> None:
    app = upload(draw("data"), "first.npz", GOOD)
    assert app.text_input[0].value == "first"
    app.button(key="upload-discard").click().run()
    assert not app.text_input
    upload(app, "second.npz", GOOD)
    assert app.text_input[0].value == "second"
    for name in ("digits", "No Name", "../x"):
        app.text_input[0].set_value(name).run()
        app.button(key="upload-keep").click().run()
        assert len(app.error) == 1, name
        assert files(opened) == set()
    app.text_input[0].set_value("yes").run()  # any other
    app.button(key="upload-keep").click().run()
    assert "yes.safetensors" in files(opened)
    app.button(key="delete-yes").click().run()
    app.button(key="dataset-delete-yes").click().run()
    assert "yes.safetensors" not in files(opened)


def test_a_file_in_review_is_kept_over_a_visit_to_another_page_until_it_is_saved_or_discarded(opened: Lab) -> None:
    app = upload(draw("data"), "a *b*.npz", GOOD)
    app.text_input[0].set_value("shapes").run()
    assert "is still here" not in texts(app)
    visit(visit(app, "networks"), "data")
    assert "a \\*b\\*.npz is still here and not saved yet" in texts(app)
    assert "60 images in 3 classes" in texts(app)
    assert app.text_input[0].value == "shapes"
    app.segmented_control(key="upload-kind").set_value("text").run()
    assert "choose Images above to go on with it" in texts(app)
    assert not app.text_input
    app.segmented_control(key="upload-kind").set_value("image").run()
    app.button(key="upload-keep").click().run()
    assert "shapes is saved" in texts(app)
    assert "shapes.safetensors" in files(opened)
    visit(visit(app, "home"), "data")
    assert "not saved yet" not in texts(app)

    upload(app, "second.npz", GOOD)
    visit(visit(app, "networks"), "data")
    upload(app, "third.npz", GOOD)  # in place of the one before
    visit(visit(app, "networks"), "data")
    assert "third.npz is still here" in texts(app)
    app.button(key="upload-discard").click().run()
    assert "not saved yet" not in texts(app)
    upload(app, "bad.npz", b"\x80")
    visit(visit(app, "networks"), "data")
    assert len(app.error) == 1
    app.button(key="upload-discard").click().run()
    assert not app.error, "a file that cannot be used can be discarded too"
    upload(app, "fourth.npz", GOOD)
    app.file_uploader[0].set_value(None).run()  # as by the cross in the field
    assert not app.text_input
    visit(visit(app, "networks"), "data")
    assert "not saved yet" not in texts(app)


def test_a_file_under_the_wrong_kind_is_told_the_right_one_and_goes_with_the_choice_of_it(opened: Lab) -> None:
    chat = b'{"prompt": "one and one", "completion": "two"}\n' * 40
    pairs = ("image", "Images", "a.npz", GOOD, "60 images"), ("text", "Texts", "b.jsonl", chat, "40 passages")
    for (right, title, name, content, shown), (wrong, *_) in zip(pairs, pairs[::-1], strict=True):
        app = draw("data")
        app.segmented_control(key="upload-kind").set_value(wrong).run()
        upload(app, name, content)
        assert len(app.error) == 1
        assert f"{name} can be read as {title.lower()}: choose {title} above for that." in texts(app)
        app.segmented_control(key="upload-kind").set_value(right).run()
        assert "above" not in app.info[0].value
        assert not app.error
        assert shown in texts(app)
        app.segmented_control(key="upload-kind").set_value(wrong).run()
        assert f"choose {title} above to go on with it" in texts(app)
    for kind in ("image", "text"):
        app = upload(draw("data"), "c.bin", bytes(range(256)))
        app.segmented_control(key="upload-kind").set_value(kind).run()
        assert "above" not in texts(app), "no kind reads it"


def test_images_that_cannot_be_used_are_in_one_list_and_left_out_by_a_button(opened: Lab) -> None:
    bad = [(f"cat/**bold** [x](a) {n}.png", b"x") for n in range(11)]
    content = zipped(*folders({"cat": 12, "dog": 9}), *bad)
    app = upload(draw("data"), "mine.zip", content)
    (warning,) = app.warning
    assert "11 images cannot be used" in warning.value
    assert "is not an image that can be read" in warning.value
    assert "**bold**" not in warning.value
    assert any(fold.label == "The other 6" for fold in app.expander)
    assert not app.text_input, "nothing is saved before somebody says what becomes of them"
    press(app, "Leave these out")
    assert "11 images that cannot be used are left out." in texts(app)
    assert "21 images in 2 classes" in texts(app)
    app.button(key="upload-keep").click().run()
    assert opened.catalog.info("mine").line.startswith("Uploaded: 21 images in 2 classes")


def test_a_saved_dataset_is_fine_tuned_next_as_it_is(filled: Lab) -> None:
    app = upload(draw("data"), "mine.zip", zipped(*folders({"cat": 12}), *folders({"dog": 9}, (40, 60, 3))))
    assert "As networks see them: 9 color images converted to 28×28 grayscale." in texts(app)
    app.button(key="upload-keep").click().run()
    shown = links(app)
    assert {"Fine-tune on this dataset", "Pretrain on this dataset", "Ask on Home"} <= shown.keys()
    assert links(draw("data")) == shown, "the card has the links of the dialog"
    address = shown["Fine-tune on this dataset"]
    assert filled.store.run(address["base"]).spec.network.learns == "image"
    form = draw("new", **address)
    assert form.selectbox(key="new-dataset").value == "mine"
    assert not form.warning, [warning.value for warning in form.warning]
    assert "dataset" not in form.query_params


def test_class_names_are_shown_verbatim(opened: Lab) -> None:
    names, rows = (HOSTILE, "**b**"), noise(2, (60, 16))
    table = "\n".join(",".join([names[i % 3 == 0], *map(str, row)]) for i, row in enumerate(rows))
    shown = texts(upload(draw("data"), "a.csv", table.encode()))
    assert HOSTILE not in shown
    assert "**b**" not in shown


def test_a_dataset_that_waiting_runs_need_is_not_deleted(opened: Lab) -> None:
    press(upload(draw("data"), "mine.npz", GOOD), "upload-keep")
    optim = short(epochs=200, batch_size=1)
    for seed in range(2):
        opened.launcher.launch(RunSpec.of(method="pretrain", task=TaskSpec.of(dataset="mine"), seed=seed, optim=optim))
    app = draw("data")
    app.button(key="delete-mine").click().run()
    assert "2 running or queued runs use it" in texts(app)
    assert app.button(key="dataset-delete-yes").disabled
    stop_all(opened)


def test_a_damaged_dataset_is_listed_and_can_be_deleted(opened: Lab) -> None:
    press(upload(draw("data"), "mine.npz", GOOD), "upload-keep")
    (opened.settings.datasets / "own/mine.safetensors").write_bytes(b"damaged")
    app = draw("data")
    assert "is damaged: delete it" in texts(app)
    for page in ("pretrain", "home"):
        draw(page)
    app.button(key="delete-mine").click().run()
    app.button(key="dataset-delete-yes").click().run()
    assert "mine.safetensors" not in files(opened)


def test_a_dataset_whose_files_were_removed_after_its_download_can_be_downloaded_again(opened: Lab) -> None:
    opened.downloads.begin("mnist", lambda progress, stop: progress(1.0))  # as though it had left its files
    wait_until(lambda: not opened.downloads.state("mnist").running)
    app = draw("pretrain")
    app.selectbox(key="pretrain-dataset").set_value("mnist").run()
    assert app.button(key="pretrain-dataset-download")


# Adapters from a file


def with_adapter(base: str, content: bytes) -> AppTest:
    """The page Adapters with a file for a base."""
    app = draw("files", base=base)
    return upload(app, "adapter.zip", content, "adapter-file")


def test_an_adapter_file_is_verified_and_scores_what_its_run_scored(filled: Lab) -> None:
    run = filled.store.runs(methods=["lora"])[0]
    content, base = filled.artifacts.read(run.id, ADAPTER), str(run.spec.base)
    tasks = [DIGITS, TURNED, DIGITS]
    found, evaluated = evaluate_adapter(content, filled.artifacts.network(base), filled.tasks, tasks)
    assert found == filled.artifacts.verify(run.id)
    for each, name in zip(evaluated, ("source_accuracy", "accuracy"), strict=True):
        assert each.before.measures["accuracy"] == run.result.measures[f"{name}_before"]
        assert each.after.measures["accuracy"] == run.result.measures[name]
    assert merged_with(content, filled.artifacts.network(base)) == filled.artifacts.read(run.id, "merged.safetensors")

    app = with_adapter(base, content)
    assert "its certificate matches the file's contents" in texts(app)
    (table,) = app.dataframe
    assert [task.rpartition(" (")[2] for task in table.value["Task"]] == ["the adapter's task)", "the base's task)"]
    assert [*table.value["With the adapter"]] == [
        f"{run.result.measures[name]:.2f} %" for name in ("accuracy", "source_accuracy")
    ]
    app.toggle(key="adapter-more").set_value(True).run()
    app = with_adapter(base, _of_elsewhere(content))
    assert "It was trained on elsewhere, rotated 45°" in texts(app)
    (table,) = app.dataframe
    assert len(table.value) == 1


def _of_elsewhere(content: bytes) -> bytes:
    """The same adapter as of a dataset that is not here."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as own, zipfile.ZipFile(made, "w") as other:
        for name in own.namelist():
            other.writestr(name, own.read(name).replace(b'"dataset": "digits"', b'"dataset": "elsewhere"'))
    return made.getvalue()


def test_an_adapter_of_peft_is_evaluated_without_certificate_and_not_stored(filled: Lab, tmp_path: Path) -> None:
    (base,) = filled.bases()
    config = LoraConfig(r=3, lora_alpha=6, target_modules=["layers.0", "layers.2"])
    get_peft_model(filled.artifacts.network(base.id), config).save_pretrained(str(tmp_path / "peft"))
    content = Path(shutil.make_archive(str(tmp_path / "adapter"), "zip", tmp_path / "peft")).read_bytes()
    before = {path: path.stat().st_mtime_ns for path in filled.settings.runs.rglob("*")}
    app = with_adapter(base.id, content)
    assert "it has no certificate" in texts(app)
    assert "not of the merged file" in texts(app)
    assert {path: path.stat().st_mtime_ns for path in filled.settings.runs.rglob("*")} == before


def test_an_adapter_whose_base_is_not_here_is_said_to_be_so_in_one_sentence_and_one_finds_its_own_base(
    filled: Lab, trained_home: TrainedHome
) -> None:
    (base,) = filled.bases()
    app = with_adapter(base.id, WHOLE)
    (error,) = app.error
    assert error.value == literal(
        "No base here is the one that this adapter was trained on, which has the fingerprint "
        f"{base_fingerprint(BASE)[:12]}… and is called b`# big in the file."
    )
    assert app.selectbox(key="pick-base").value == base.id
    assert not app.success
    (other,) = trained_home.bring(filled, str(trained_home.one_seed.base))
    app = with_adapter(other.id, filled.artifacts.read(filled.store.runs(methods=["lora"])[0].id, ADAPTER))
    assert not app.error
    assert app.selectbox(key="pick-base").value == base.id  # until somebody chooses another one
    assert "its certificate matches the file's contents" in texts(app)
    app.selectbox(key="pick-base").set_value(other.id).run()
    assert len(app.error) == 1
    assert "\n" not in app.error[0].value
    assert not app.dataframe
