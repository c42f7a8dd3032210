"""Files for other tools: each is read by its tool and measured on the whole test part."""

from __future__ import annotations

import shutil
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from peft import PeftModel
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from core.__main__ import main
from core.adapter.archive import CONFIG, zip_bytes
from core.artifacts import exports
from core.artifacts.artifacts import MERGED
from core.artifacts.exports import FORMATS, Export, ExportCertificate
from core.data.examples import Examples
from core.engine.jobs.run_files import ADAPTER, NETWORK
from core.errors import AdapterError, DamagedFileError, ExportError
from core.files import write_atomically
from core.lab import Lab
from core.methods.adapted import merged_copy
from core.networks import pretrained
from core.networks.file import write_network
from core.settings import Settings
from core.store.record import Run
from core.training.evaluation import Evaluation
from tests.conftest import some_of
from tests.trained_home import TrainedHome

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # in PEFT


@dataclass(frozen=True)
class Home:
    """A lab with finished runs."""

    lab: Lab
    experiment: str
    """Id of an experiment with two runs in full and two with LoRA."""

    def run(self, kind: str, number: int = 0) -> Run:
        """A run of a kind of method, by its number among those."""
        return [
            run for run in self.lab.store.members(self.lab.store.experiment(self.experiment)) if run.spec.kind == kind
        ][number]

    def own(self, run: Run) -> Tensor:
        """Logits of the network of a run on the whole test part, in one batch."""
        return no_grad_logits(self.lab.artifacts.trained(run), self.batch(run))

    def batch(self, run: Run) -> dict[str, Tensor]:
        return dict(self.test(run).batch(slice(None)))

    def test(self, run: Run) -> Examples:
        return self.lab.tasks.get(run.spec.task, network=run.spec.network).test


@pytest.fixture(scope="module")
def lab(trained_home: TrainedHome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(Settings(trained_home.copy(tmp_path_factory.mktemp("exports") / "home")))
    yield lab
    lab.store.close()


@pytest.fixture(scope="module")
def texts(lab: Lab, trained_home: TrainedHome) -> Home:
    return Home(lab, trained_home.direct.id)


@pytest.fixture(scope="module")
def images(lab: Lab, trained_home: TrainedHome) -> Home:
    return Home(lab, trained_home.plain.id)


def no_grad_logits(network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    with torch.no_grad():
        found = network.eval()(**batch) if len(batch) > 1 else network.eval()(*batch.values())
    return found if isinstance(found, Tensor) else found.logits


def by_the_tool(home: Home, run: Run, name: str, path: Path, folder: Path) -> Tensor:
    """Logits on the whole test part, by the tool that a file is for and without the code that makes certificates."""
    batch = home.batch(run)
    if name == "onnx":
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return torch.from_numpy(session.run(["logits"], {key: tensor.numpy() for key, tensor in batch.items()})[0])
    if name == "transformers":
        shutil.unpack_archive(path, folder)
        return no_grad_logits(AutoModelForSequenceClassification.from_pretrained(folder), batch)
    if name == "peft":
        shutil.unpack_archive(path, folder)
        state = load_file(home.lab.artifacts.base(run)) if run.spec.base else {}
        return no_grad_logits(PeftModel.from_pretrained(plain(home, run, state), folder), batch)
    return no_grad_logits(plain(home, run, load_file(path)), batch)


def plain(home: Home, run: Run, state: dict[str, Tensor]) -> nn.Module:
    """The network of a run with other weights, without classes of this project; those that it was imported with if
    there are none, and a head of any weights."""
    spec = run.spec.network
    if spec.brought is None:
        sizes = [tensor.shape for key, tensor in state.items() if key.endswith("weight")]
        linears = [nn.Linear(inputs, outputs) for outputs, inputs in sizes]
        network = nn.Sequential()
        network.add_module("layers", nn.Sequential(linears[0], nn.ReLU(), linears[1], nn.ReLU(), linears[2]))
    else:
        source = home.lab.networks.folder(spec.brought)
        network = AutoModelForSequenceClassification.from_pretrained(source, **spec.pretrained)
    if state:
        network.load_state_dict(state)
    return network


def check_certificate(found: ExportCertificate, own: Tensor, exported: Tensor) -> None:
    """A certificate says what the logits of a run and of its file say, to within the rounding of other batches."""
    rounding = 2e-6 * max(1.0, float(own.abs().max()))
    assert found.examples == len(own) == len(exported)
    assert found.largest_logit == pytest.approx(float(own.abs().max()), abs=rounding)
    assert found.largest_difference == pytest.approx(float((own - exported).abs().max()), abs=rounding)
    assert found.equal_predictions == int((own.argmax(1) == exported.argmax(1)).sum())


CASES = [
    *[("texts", kind, name) for kind in ("full", "lora") for name in FORMATS if (kind, name) != ("full", "peft")],
    *[("images", "lora", name) for name in ("peft", "safetensors", "onnx")],
]
"""Home, method and kind of file; full fine-tuning has no adapter, and a perceptron is nothing that transformers has."""


@pytest.mark.parametrize(("which", "kind", "name"), some_of(CASES, lambda *case: case != ("texts", "lora", "onnx")))
def test_the_certificate_is_what_a_fresh_measurement_finds(
    request: pytest.FixtureRequest, tmp_path: Path, which: str, kind: str, name: str
) -> None:
    home: Home = request.getfixturevalue(which)
    run, form = home.run(kind), FORMATS[name]
    made = home.lab.exports.make(run, form)
    found = made.certificate
    assert home.lab.exports.known(run, form) == made
    assert found == ExportCertificate.from_json(found.to_json())
    assert home.lab.exports.path(run, form).read_bytes() == made.path.read_bytes()
    own, exported = home.own(run), by_the_tool(home, run, name, made.path, tmp_path / "unpacked")
    check_certificate(found, own, exported)
    assert (own - exported).abs().max() <= 1e-5 * max(1.0, found.largest_logit)
    assert found.equal_predictions == found.examples
    stored = home.lab.artifacts.predictions(run.id, lambda: Evaluation({})).predicted
    np.testing.assert_array_equal(exported.argmax(1), stored)
    hits = exported.argmax(1) == home.test(run).labels
    assert 100 * hits.double().mean().item() == pytest.approx(run.score)
    if kind == "full" and name == "safetensors":
        assert found.largest_difference == 0
        assert made.path.name == NETWORK


@pytest.mark.parametrize(("which", "name"), [("texts", "transformers"), ("images", "safetensors"), ("images", "onnx")])
def test_the_certificate_of_a_file_that_differs_says_by_how_much(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: str, name: str
) -> None:
    home: Home = request.getfixturevalue(which)
    run, form = home.run("lora", 1), FORMATS[name]
    other = merged_copy(home.lab.artifacts.trained(run))
    with torch.no_grad():
        list(other.parameters())[-1][0] += 1  # the bias of the first class
    sha256 = write_network(home.lab.settings.runs / run.id / MERGED, other)
    home.lab.store.add_file(run.id, MERGED, sha256)
    with pytest.raises(ExportError, match=r"logits by .* and of the trained network differ by"):
        home.lab.exports.make(run, form)
    monkeypatch.setattr(exports, "TOLERANCE", 10.0)
    made = home.lab.exports.make(run, form)
    own, exported = home.own(run), by_the_tool(home, run, name, made.path, tmp_path / "unpacked")
    check_certificate(made.certificate, own, exported)
    assert made.certificate.largest_difference > 0.1
    assert made.certificate.equal_predictions < len(own)


def test_a_file_that_computes_something_else_is_not_offered_and_replaces_none(
    images: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab, run, form = images.lab, images.run("full"), FORMATS["onnx"]
    right = type(form).read

    def wrong(self: object, path: object, base: object) -> object:
        network, tool = right(form, path, base)  # type: ignore[arg-type]
        return lambda pixels: network(pixels) + 1, tool

    folder = lab.settings.runs / run.id
    (folder / form.certificate).unlink(missing_ok=True)
    assert lab.exports.known(run, form) is None
    with pytest.raises(ExportError, match="not been made"):
        lab.exports.path(run, form).read_bytes()
    sha256 = write_atomically(folder / form.file, b"made before")
    certificate = ExportCertificate(form.name, "a tool", sha256, 1, 1.0, 0.0, 1)
    write_atomically(folder / form.certificate, certificate.to_json())
    lab.store.add_file(run.id, form.file, sha256)
    there = set(folder.iterdir())
    monkeypatch.setattr(type(form), "read", wrong)
    with pytest.raises(ExportError, match="differ by 1, more than"):
        lab.exports.make(run, form)
    assert set(folder.iterdir()) == there
    assert lab.exports.known(run, form) == Export(folder / form.file, certificate)
    assert lab.exports.path(run, form).read_bytes() == b"made before"


def test_a_file_that_was_changed_is_not_given_out(texts: Home, lab: Lab) -> None:
    run, form = texts.run("lora"), FORMATS["transformers"]
    path = lab.exports.make(run, form).path
    content = path.read_bytes()
    path.write_bytes(content + b"!")
    with pytest.raises(DamagedFileError, match="no longer what was written there"):
        lab.exports.path(run, form).read_bytes()
    path.write_bytes(content)
    assert lab.exports.make(run, form).certificate.equal_predictions


def test_the_tokenizer_of_a_folder_makes_the_tokens_of_training(texts: Home, lab: Lab, tmp_path: Path) -> None:
    run, form = texts.run("lora"), FORMATS["transformers"]
    shutil.unpack_archive(lab.exports.make(run, form).path, tmp_path / "folder", "zip")
    dataset = lab.catalog.load(run.spec.task.dataset)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "folder")
    assert tokenizer.model_max_length == run.spec.task.length
    found = tokenizer(list(dataset.test_texts), padding=True, truncation=True, return_tensors="pt")
    batch = texts.batch(run)
    assert torch.equal(found["input_ids"], batch["input_ids"])
    assert torch.equal(found["attention_mask"], batch["attention_mask"])


def test_a_folder_whose_tokenizer_makes_other_tokens_is_not_offered(
    texts: Home, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, form = texts.run("lora"), FORMATS["transformers"]
    folder = lab.settings.runs / run.id
    for name in (form.file, form.certificate):
        (folder / name).unlink(missing_ok=True)
    there = set(folder.iterdir())
    monkeypatch.setattr(pretrained, "_settings", lambda *_: {"tokenizer_config.json": b'{"padding_side": "left"}'})
    with pytest.raises(ExportError, match=r"reads texts as other tokens than training did|cannot read texts with"):
        lab.exports.make(run, form)
    assert set(folder.iterdir()) == there


def test_an_adapter_that_peft_cannot_check_is_a_sentence(
    images: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, form = images.run("lora", 1), FORMATS["peft"]
    base = images.lab.artifacts.base_network(run)
    path = tmp_path / "adapter.zip"
    with zipfile.ZipFile(images.lab.artifacts.path(run.id, ADAPTER)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    wrong = entries | {CONFIG: entries[CONFIG].replace(b"layers.", b"others.")}
    assert wrong != entries
    path.write_bytes(zip_bytes(wrong))
    with pytest.raises(AdapterError, match=r"PEFT \S+ cannot read this adapter: \S+"):
        form.read(path, lambda: base)
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(AdapterError, match=r"not installed: pip install -r requirements-peft\.txt"):
        images.lab.exports.make(run, form)
    assert images.lab.exports.known(run, form) is None


def test_a_network_without_an_adapter_is_not_exported_as_one(images: Home) -> None:
    run = images.run("full")
    assert "peft" not in [form.name for form in images.lab.exports.offered(run)]
    with pytest.raises(ExportError, match=r"cannot be exported as peft: choose one of safetensors and onnx\."):
        images.lab.exports.make(run, FORMATS["peft"])


def test_the_command_line_writes_an_adapter_and_prints_its_certificate(
    images: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, file = images.run("lora"), tmp_path / "adapter.zip"
    options = ["--format", "peft", "--home", str(images.lab.settings.home)]
    assert main(["export", run.id, str(file), *options]) == 0
    assert file.read_bytes() == images.lab.artifacts.read(run.id, ADAPTER)
    printed = ExportCertificate.from_json(capsys.readouterr().out.encode())
    assert printed == images.lab.exports.known(run, FORMATS["peft"]).certificate
    assert printed.examples == len(images.test(run))


def magic(file: Path) -> str:
    """The kind of a file by its content alone."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            return "peft" if CONFIG in archive.namelist() else "transformers"
    try:
        load_file(file)
        return "safetensors"
    except SafetensorError:
        onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        return "onnx"


@pytest.mark.parametrize(
    ("name", "kind"),
    [("model.onnx", "onnx"), ("a.safetensors", "safetensors"), ("a.ZIP", "peft"), ("a.bin", "safetensors")],
)
def test_the_command_line_writes_the_kind_that_the_ending_of_the_file_says(
    images: Home, tmp_path: Path, name: str, kind: str
) -> None:
    run = images.run("lora")
    assert main(["export", run.id, str(tmp_path / name), "--home", str(images.lab.settings.home)]) == 0
    assert magic(tmp_path / name) == kind


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("model.onnx", ["--format", "safetensors"], "model.onnx has the ending of onnx, but --format is safetensors"),
        ("a.zip", ["--format", "onnx"], "a.zip has the ending of peft and transformers, but --format is onnx"),
        ("a.zip", [], ".zip is the ending of peft and transformers: choose one of them with --format, or name"),
    ],
)
def test_the_command_line_refuses_an_ending_that_says_something_else(
    texts: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, options: list[str], sentence: str
) -> None:
    home = str(texts.lab.settings.home)
    assert main(["export", texts.run("lora").id, str(tmp_path / name), *options, "--home", home]) == 1
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / name).exists()


def test_the_command_line_explains_every_kind_of_file(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["export", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "default: by the ending of FILE, else safetensors" in told
    for form in FORMATS.values():
        assert f"{form.name}: " in told
        assert form.line.split()[-1].removesuffix(".") in told
