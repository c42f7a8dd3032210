"""Files for other tools: each is read by its tool and measured on the whole test part."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import asdict

import numpy as np
import onnxruntime
import pytest
import torch

from core.engine.exports import FORMATS, ExportCertificate
from core.engine.jobs.run_files import NETWORK
from core.errors import DamagedFileError, ExportError
from core.lab import Lab
from core.settings import Settings
from core.store.record import Run
from tests.text_home import TextHome


@pytest.fixture(scope="module")
def lab(text_home: TextHome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    home = tmp_path_factory.mktemp("exports") / "home"
    shutil.copytree(text_home.home, home)
    lab = Lab(Settings(home))
    yield lab
    lab.store.close()


def run_of(lab: Lab, home: TextHome, kind: str) -> Run:
    return next(run for run in lab.members(lab.experiment(home.direct.id)) if run.spec.kind == kind)


@pytest.mark.parametrize("kind", ["full", "lora"])
@pytest.mark.parametrize("name", FORMATS)
def test_the_certificate_is_what_a_fresh_measurement_finds(lab: Lab, text_home: TextHome, kind: str, name: str) -> None:
    run, form = run_of(lab, text_home, kind), FORMATS[name]
    made = lab.exports.make(run, form)
    found = made.certificate
    assert lab.exports.known(run, form) == made
    assert found == ExportCertificate.from_json(found.to_json())
    assert found.examples == len(lab.tasks.get(run.spec.task, network=run.spec.network).test)
    assert found.equal_predictions == found.examples
    assert found.largest_difference <= 1e-4 * max(1.0, found.largest_logit)
    if kind == "full" and name == "safetensors":
        assert found.largest_difference == 0
        assert made.path.name == NETWORK
    assert lab.exports.content(run, form) == made.path.read_bytes()


def test_onnxruntime_alone_gives_the_labels_that_the_run_predicted(lab: Lab, text_home: TextHome) -> None:
    run = run_of(lab, text_home, "lora")
    path = lab.exports.make(run, FORMATS["onnx"]).path
    test = lab.tasks.get(run.spec.task, network=run.spec.network).test
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    batch = {name: tensor.numpy() for name, tensor in test.batch(slice(None)).items()}
    (logits,) = session.run(["logits"], batch)
    stored = lab.artifacts.predictions(run.id, lambda: torch.tensor([]))
    np.testing.assert_array_equal(logits.argmax(1), stored)


def test_a_file_that_computes_something_else_is_not_offered(
    lab: Lab, text_home: TextHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, form = run_of(lab, text_home, "full"), FORMATS["onnx"]
    right = type(form).read

    def wrong(self: object, path: object) -> object:
        network, tool = right(form, path)  # type: ignore[arg-type]
        return lambda **batch: network(**batch) + 1, tool

    monkeypatch.setattr(type(form), "read", wrong)
    (lab.settings.runs / run.id / form.certificate).unlink(missing_ok=True)
    with pytest.raises(ExportError, match="logits that differ by up to 1 "):
        lab.exports.make(run, form)
    assert lab.exports.known(run, form) is None
    with pytest.raises(ExportError, match="not been made"):
        lab.exports.content(run, form)


def test_a_file_that_was_changed_is_not_given_out(lab: Lab, text_home: TextHome) -> None:
    run, form = run_of(lab, text_home, "lora"), FORMATS["transformers"]
    path = lab.exports.make(run, form).path
    content = path.read_bytes()
    path.write_bytes(content + b"!")
    with pytest.raises(DamagedFileError, match="no longer what was written there"):
        lab.exports.content(run, form)
    path.write_bytes(content)
    assert asdict(lab.exports.make(run, form).certificate)["equal_predictions"]
