"""The readers of TensorBoard and MLflow give back what the store has: exactly, and nothing twice."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from tensorboard import context
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins import base_plugin
from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups

from core.__main__ import main
from core.data.task_spec import TaskSpec
from core.lab import Lab
from core.networks.decoder import DecoderSpec
from core.networks.perceptron import PerceptronSpec
from core.run_spec import RunSpec
from core.store.record import Experiment
from core.tasks.views.registry import VIEWS
from core.tasks.views.view import View
from core.tracking.tracker import settings_of
from tests import forked
from tests.adapter.classifiers import sample
from tests.tracking.conftest import Place
from tests.tracking.readers import mlflow_client, mlflow_runs, single, stored, tensorboard_provider


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in which the process is."""
    folder = tmp_path / "nowhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def logs(idle: Lab, experiment: Experiment, tmp_path: Path) -> Path:
    """A folder of TensorBoard to which the experiment was sent."""
    to = tmp_path / "logs"
    assert main(["track", experiment.id, "--to", f"tensorboard:{to}", "--home", str(idle.settings.home)]) == 0
    return to


def test_every_number_is_read_back_and_is_sent_once(
    place: Place, idle: Lab, experiment: Experiment, nowhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["track", experiment.id, "--to", place.target, "--home", str(idle.settings.home)]
    before = stored(idle, experiment)
    assert main(command) == 0
    first = json.loads(capsys.readouterr().out)
    assert place.read() == place.kept(before)
    assert first == {"experiment": experiment.id, "to": place.target, "sent": 5}
    assert main(command) == 0
    second = json.loads(capsys.readouterr().out)
    assert second == first | {"sent": 0}
    assert place.read() == place.kept(before)
    assert list(nowhere.iterdir()) == []


def test_the_hparams_page_has_settings_and_measures(logs: Path, idle: Lab, experiment: Experiment) -> None:
    ask = context.RequestContext()
    backend = backend_context.Context(base_plugin.TBContext(data_provider=tensorboard_provider(logs)))
    metadata = backend.hparams_metadata(ask, "")
    known = backend.experiment_from_metadata(
        ask, "", include_metrics=True, hparams_run_to_tag_to_content=metadata, data_provider_hparams=[]
    )
    request = api_pb2.ListSessionGroupsRequest(
        start_index=0,
        slice_size=100,
        allowed_statuses=[api_pb2.STATUS_SUCCESS],
        col_params=[api_pb2.ColParams(metric=info.name) for info in known.metric_infos],
    )
    groups = list_session_groups.Handler(ask, backend, "", request).run().session_groups
    runs = {run.id: run for run in idle.store.runs_of([experiment.base, *experiment.runs])}
    shown = {group.hparams["run"].string_value: group for group in groups}
    assert shown.keys() == runs.keys()
    for id, group in shown.items():
        for name, value in settings_of(runs[id].spec).items():
            found = group.hparams[name]
            kind = "bool" if isinstance(value, bool) else "string" if isinstance(value, str) else "number"
            assert getattr(found, f"{kind}_value") == value
        measures = {value.name.tag: value.value for value in group.metric_values}
        assert measures["result/accuracy"] == np.float32(runs[id].score)


def test_scripts_read_losses_as_scalars(logs: Path, idle: Lab, experiment: Experiment) -> None:
    run = idle.store.run(experiment.runs[0])
    (path,) = logs.glob(f"*/*_{run.id}")
    events = EventAccumulator(str(path), size_guidance={"scalars": 0}).Reload()
    curve = idle.store.curve(run.id)
    assert [scalar.value for scalar in events.Scalars("loss")] == curve.loss.tolist()
    times = [scalar.wall_time for scalar in events.Scalars("loss")]
    assert times == sorted(times)
    assert idle.store.run(run.id).started <= times[0] <= times[-1] <= idle.store.run(run.id).ended


def test_mlflow_has_params_parents_and_files(
    idle: Lab, experiment: Experiment, mlflow_file: Path, nowhere: Path
) -> None:
    to = f"mlflow:sqlite:///{mlflow_file}"
    assert main(["track", experiment.id, "--to", to, "--home", str(idle.settings.home)]) == 0
    client, listed = mlflow_client(mlflow_file), mlflow_runs(mlflow_file)
    children = {run.data.tags["lora_lab.run"]: run for run in listed if "lora_lab.run" in run.data.tags}
    parents = {run.info.run_id: run for run in listed if "lora_lab.run" not in run.data.tags}
    assert children.keys() == {experiment.base, *experiment.runs}
    assert {run.info.run_name for run in parents.values()} == {experiment.name}
    assert {run.info.status for run in listed} == {"FINISHED"}
    for id, child in children.items():
        run = idle.store.run(id)
        assert child.data.params == {name: str(value) for name, value in settings_of(run.spec).items()}
        assert (child.data.tags.get("mlflow.parentRunId") in parents) == (id in experiment.runs)
        assert child.info.end_time == round((run.ended or 0) * 1000)
        files = [item.path for item in client.list_artifacts(child.info.run_id)]
        assert files == (["adapter.zip"] if run.spec.role == "adapter" else [])
        for file in files:
            content = Path(client.download_artifacts(child.info.run_id, file, str(nowhere))).read_bytes()
            assert content == idle.artifacts.read(id, file)
    (parent,) = parents
    report = Path(client.download_artifacts(parent, "report.html", str(nowhere))).read_text()
    assert experiment.id in report


def test_a_renamed_experiment_stays_one(place: Place, idle: Lab, experiment: Experiment) -> None:
    command = ["track", experiment.id, "--to", place.target, "--home", str(idle.settings.home)]
    assert main(command) == 0
    idle.experiments.rename(experiment.id, "Another / name: ✓")
    assert main(command) == 0
    assert place.read() == place.kept(stored(idle, experiment))


@pytest.mark.parametrize(
    ("to", "words"),
    [
        ("wandb:somewhere", "There is no tracker 'wandb'"),
        ("tensorboard:", "TensorBoard needs a folder"),
        ("mlflow:postgresql://host/db", "MLflow needs a SQLite file or a server"),
        ("mlflow:http://host:port", "MLflow needs a SQLite file or a server"),
        ("tensorboard:/proc/nowhere", "cannot be used"),
        ("mlflow:sqlite:////proc/nowhere/x.db", "cannot be used"),
        ("mlflow:http://user:secret@127.0.0.1:9", "http://127.0.0.1:9 cannot be used: there is no connection"),
    ],
)
def test_a_bad_address_is_one_sentence(
    to: str, words: str, idle: Lab, experiment: Experiment, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["track", experiment.id, "--to", to, "--home", str(idle.settings.home)]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert words in error
    assert error.endswith(".")
    assert "secret" not in error


def test_an_unknown_experiment_is_one_sentence(idle: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    to = f"tensorboard:{tmp_path / 'logs'}"
    assert main(["track", "e-none", "--to", to, "--home", str(idle.settings.home)]) == 1
    assert capsys.readouterr().err.startswith("error: There is no experiment 'e-none'. The latest experiments are ")
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize(("to", "module"), [("tensorboard:{}", "tensorboard"), ("mlflow:sqlite:///{}/x.db", "mlflow")])
def test_a_missing_package_is_one_sentence(
    to: str,
    module: str,
    idle: Lab,
    experiment: Experiment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    home = str(idle.settings.home)
    assert main(["track", experiment.id, "--to", to.format(tmp_path / "new"), "--home", home]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.endswith("which is not installed: pip install -r requirements-trackers.txt")
    assert not (tmp_path / "new").exists()


def test_the_usual_loader_of_tensorboard_shows_every_point(logs: Path, idle: Lab, experiment: Experiment) -> None:
    # It leaves out whatever it does not take for a scalar, such as tensors of float64, which other readers show.
    done = forked.run(["-m", "tests.tracking.usual_loader", str(logs)])
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads(json.dumps(single(stored(idle, experiment))))


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.kind)
def test_settings_of_a_run_on_texts_have_nothing_that_only_images_have(view: View) -> None:
    is_text = view.kind != "image"
    network = {"image": PerceptronSpec(), "text": sample("bert").spec, "language": DecoderSpec()}[view.kind]
    task = TaskSpec.of(dataset="mine", classes=(0, 1), shots=5, length=16)
    learned = "language" if view.kind == "language" else "classification"
    spec = RunSpec(method="lora", network=network, task=task, source=task, base="b", objective={"kind": learned})
    told = settings_of(spec)
    assert {"task.dataset", "task.classes", "task.shots", "source.dataset", "task.length"} <= told.keys()
    others = {field.name for other in VIEWS for field in other.fields} - {field.name for field in view.fields}
    of_others = {name for name in told if name.rpartition(".")[2] in others}
    # Of images, what trackers have been told stays.
    assert of_others == (set() if is_text else {"task.length", "source.length"})
    assert is_text == ("task.rotation" not in told)
