"""A imported network is kept once under the digest of its files, and starts training with exactly its weights."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from core.data.examples import TextExamples
from core.errors import NetworkFileError, NetworkInUseError, StorageFullError
from core.networks.forward import forward
from core.networks.library.card import ABOUT
from core.networks.library.files import CHAT_TEMPLATE, licence_in
from core.networks.library.importing import PARTIAL, RESUMED, import_from
from core.networks.library.networks import Networks
from core.networks.library.place import folder_place
from core.networks.perceptron import PerceptronSpec
from core.settings import Settings
from tests.conftest import some_of
from tests.networks.tiny import SIZES, VOCABULARY, save_tiny
from tests.pairs import pairwise

pytestmark = pytest.mark.usefixtures("read_here")


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return save_tiny(tmp_path / "tiny")


def kept(networks: Networks) -> set[str]:
    """Names below the library's folder."""
    root = networks._settings.networks
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("architecture", "shard", "dtype", "classifier"),
    some_of(
        pairwise(tuple(SIZES), (None, "6KB"), (torch.float32, torch.bfloat16), (False, True)),
        lambda architecture, shard, *_: (shard is None) == (architecture in ("bert", "gpt2", "llama")),
    ),
)
def test_training_starts_from_the_weights_that_were_brought_in_a_folder_that_transformers_reads(
    networks: Networks, tmp_path: Path, architecture: str, shard: str | None, dtype: torch.dtype, classifier: bool
) -> None:
    folder = save_tiny(tmp_path / "made", architecture, shard=shard, dtype=dtype, classifier=classifier)
    card = networks.import_folder(folder)
    assert (len(list(folder.glob("*.safetensors"))) > 1) == (shard is not None)
    network = networks.start(networks.spec(card.digest, 3), seed=5)
    real = AutoModel.from_pretrained(folder, dtype=torch.float32).state_dict()
    inner = getattr(network, network.base_model_prefix).state_dict()
    assert inner.keys() >= real.keys() - {"pooler.dense.weight", "pooler.dense.bias"}
    # What transformers draws for lack of a tensor, and what LoRA Lab draws, are told apart by the file.
    there = {name for path in folder.glob("*.safetensors") for name in load_file(path)}
    for name, tensor in real.items():
        if name in inner and any(stored.endswith(name) for stored in there):
            assert torch.equal(inner[name], tensor), name
    assert card.head
    again = networks.start(networks.spec(card.digest, 3), seed=5)
    other = networks.start(networks.spec(card.digest, 3), seed=6)
    for name, parameter in network.named_parameters():
        same = torch.equal(parameter, other.get_parameter(name))
        assert torch.equal(parameter, again.get_parameter(name))
        if not any(name.startswith(f"{path}.") for path in card.head):
            assert same, name
    drawn = next(name for name, _ in network.named_parameters() if name.startswith(f"{card.head[-1]}."))
    assert not torch.equal(network.get_parameter(drawn), other.get_parameter(drawn))
    two = networks.spec(card.digest, 3).examples(2, torch.Generator()).batch(slice(None))
    assert forward(network, two).shape == (2, 3)

    model = AutoModelForSequenceClassification.from_pretrained(networks.folder(card.digest))
    assert classifier <= (sum(parameter.numel() for parameter in model.parameters()) == card.parameters)
    texts = ["The cat sat on the mat", "", "a big red dog ran far and far"]
    tokenizer = networks.tokenizer(card.digest)
    real = AutoTokenizer.from_pretrained(networks.folder(card.digest))(texts)["input_ids"]
    assert tokenizer.encode(texts) == [ids or [tokenizer.padding] for ids in real]


@pytest.mark.parametrize("token", [-1, VOCABULARY])
def test_padding_that_is_no_token_is_that_of_the_tokenizer(networks: Networks, tmp_path: Path, token: int) -> None:
    folder = save_tiny(tmp_path / "made", "llama")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"pad_token_id": token}))
    digest = networks.import_folder(folder).digest
    spec = networks.spec(digest, 3)
    assert spec.padding == networks.tokenizer(digest).padding == 0
    uneven = TextExamples.of([[5], [5, 6, 7]], torch.zeros(2, dtype=torch.int64), spec.padding).batch(slice(None))
    assert forward(networks.start(spec, seed=0), uneven).shape == (2, 3)


def test_a_chat_template_is_kept_beside_a_network_and_outside_its_digest(networks: Networks, tiny: Path) -> None:
    before = networks.import_folder(tiny)
    assert networks.tokenizer(before.digest).template == ""
    networks._tokenizers.clear()
    (tiny / CHAT_TEMPLATE).write_text("{{ messages }}{# ünïcode #}")
    for template in ("{{ messages }}{# ünïcode #}", "{{ bos_token }}"):
        (tiny / CHAT_TEMPLATE).write_text(template)
        card = networks.import_folder(tiny)
        assert (card.digest, card.files, card.bytes) == (before.digest, before.files, before.bytes)
        assert networks.tokenizer(card.digest).template == template
        assert networks.tokenizer(card.digest).special["pad_token"] == "[PAD]"
        networks._tokenizers.clear()
    networks.remove(card.digest)
    digest = networks.import_folder(tiny).digest
    assert digest == before.digest
    assert networks.tokenizer(digest).template == "{{ bos_token }}"
    assert kept(networks) >= {f"{digest}/{CHAT_TEMPLATE}"}
    (tiny / CHAT_TEMPLATE).write_bytes(b"x" * (2**20 + 1))
    with pytest.raises(NetworkFileError, match=r"a chat_template\.jinja of more than 1 MiB"):
        networks.import_folder(tiny)


def test_what_pages_could_not_plan_is_refused_at_once(networks: Networks, tmp_path: Path) -> None:
    with pytest.raises(NetworkFileError, match="in a way that LoRA Lab cannot plan for"):
        networks.import_folder(save_tiny(tmp_path / "made", "xlnet", classifier=True))
    assert not networks.list()


def test_what_was_left_by_a_process_that_was_killed_while_moving_files_into_place_is_no_obstacle(
    networks: Networks, tiny: Path
) -> None:
    place = replace(folder_place(tiny), key="tiny")
    staged = networks._settings.networks / PARTIAL / f"{RESUMED}tiny" / ("a" * 64)
    staged.mkdir(parents=True)
    (staged.parent / "config.json").write_bytes((tiny / "config.json").read_bytes())
    (staged / "tokenizer.json").write_bytes(b"moved already")
    card = import_from(networks._settings.networks, lambda size: None, place, "tiny")
    assert networks.list() == [card]
    assert all(name.startswith(card.digest) for name in kept(networks))


def test_the_card_says_what_the_network_is(networks: Networks, tiny: Path) -> None:
    card = networks.import_folder(tiny, "My network")
    assert (card.name, card.origin, card.licence, card.architecture) == ("My network", "folder", "mit", "bert")
    assert (card.attention, card.feed_forward, card.other) == (8, 4, 2)  # the pooler and the classifier
    assert (card.tokenizer, card.vocabulary, card.longest_input) == ("WordLevel", 20, 64)
    assert card.bytes == sum((tiny / name).stat().st_size for name in card.files)
    assert networks.card(card.digest) == networks.list()[0] == card
    assert networks.spec(card.digest, 7).num_classes == 7
    silent, sizes = tiny.rename(tiny.with_name("checkpoint-500")), SIZES["bert"]
    networks.remove(card.digest)
    told = f"bert, {sizes['num_hidden_layers']} layers of width {sizes['hidden_size']}"
    assert networks.import_folder(silent).name == told
    config = silent / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"_name_or_path": "org/their-bert"}))
    assert networks.import_folder(silent).name == "their-bert"


def test_the_same_files_are_kept_once_whatever_they_are_called(networks: Networks, tiny: Path, tmp_path: Path) -> None:
    first = networks.import_folder(tiny, "one")
    before = kept(networks)
    copy = shutil.copytree(tiny, tmp_path / "elsewhere")
    (copy / "pytorch_model.bin").write_bytes(b"a pickle beside it is not taken")
    (copy / "modeling_tiny.py").write_text("raise SystemExit")
    again = networks.import_folder(copy, "two")
    assert again == first, "only a person changes the name, and runs record the first one"
    assert kept(networks) == before
    assert {name.rpartition("/")[2] for name in before} == {*first.files, ABOUT}
    other = networks.import_folder(save_tiny(tmp_path / "other", seed=1))
    assert other.digest != first.digest
    assert [card.name for card in networks.list()] == ["other", "one"]


def test_a_network_is_renamed_without_a_change_of_what_it_is_or_of_what_runs_record(
    networks: Networks, tiny: Path, tmp_path: Path
) -> None:
    card = networks.import_folder(tiny, "checkpoint-3000")
    before, spec = kept(networks), networks.spec(card.digest)
    about = networks.folder(card.digest) / ABOUT
    written = about.read_bytes()
    renamed = networks.rename(card.digest, "  Tickets *BERT*  ")
    assert networks.card(card.digest) == renamed == networks.find("tickets *bert*") == networks.find("checkpoint-3000")
    assert (renamed.title, renamed.name, renamed.digest) == ("Tickets *BERT*", "checkpoint-3000", card.digest)
    assert kept(networks) == before
    assert networks.spec(card.digest) == spec
    assert networks.titles() == {card.digest: "Tickets *BERT*"}
    assert networks.title_of(spec) == "Tickets *BERT*"
    for bad in ("two\nlines", "tab\there", "x" * 101):
        with pytest.raises(NetworkFileError, match=r"one line of at most 100 characters.*choose another"):
            networks.rename(card.digest, bad)
    assert networks.card(card.digest).title == "Tickets *BERT*"
    assert networks.import_folder(tiny, "again") == renamed
    networks.rename(card.digest, "")
    assert about.read_bytes() == written, "a card without a name of one's own is that of earlier versions"
    values = json.loads(written)
    for name in (7, "a\nb", " x", "x" * 101):
        about.write_text(json.dumps(values | {"own_name": name, "version": 2}))
        with pytest.raises(NetworkFileError, match=r"description .* is damaged: import that network again"):
            networks.card(card.digest)
    networks.remove(card.digest)
    assert networks.title_of(spec) == "checkpoint-3000"


def test_networks_are_found_by_name_and_digest(networks: Networks, tiny: Path) -> None:
    card = networks.import_folder(tiny, "sentence-transformers/all-MiniLM-L6-v2")
    for name in ("minilm", "MiniLM", "sentence-transformers/all-minilm-l6-v2", card.digest, card.digest[:8]):
        assert networks.find(name) == card
    assert networks.find(card.digest[:7]) is None
    assert networks.find("smollm2") is None
    assert networks.find("") is None


def test_damage_is_seen_before_training_and_repaired_by_bringing_it_again(networks: Networks, tiny: Path) -> None:
    card = networks.import_folder(tiny)
    paths = [networks.folder(card.digest) / name for name in ("model.safetensors", "tokenizer.json", "config.json")]
    for path in paths:
        content = bytearray(path.read_bytes())
        content[-3] ^= 4
        path.write_bytes(content)
    with pytest.raises(NetworkFileError, match="no longer what was imported"):
        networks.start(networks.spec(card.digest), 0)
    networks.import_folder(tiny)
    assert [path.read_bytes() for path in paths] == [(tiny / path.name).read_bytes() for path in paths]
    networks.start(networks.spec(card.digest), 0)


def test_a_description_that_is_damaged_or_of_another_network_is_one_sentence_and_repaired_by_bringing_it_again(
    networks: Networks, tiny: Path
) -> None:
    card = networks.import_folder(tiny)
    path = networks.folder(card.digest) / ABOUT
    other = path.read_bytes().replace(card.files["model.safetensors"].encode(), b"0" * 64)
    for about in (b"", b"{", b"[]", b'{"version": 1}', b"null", b'{"version": 2}', b"[" * 10_000, other):
        path.write_bytes(about)
        with pytest.raises(NetworkFileError, match=r"^[^\n]{10,300}\.$"):
            networks.card(card.digest)
        assert networks.list() == []
    networks.import_folder(tiny)
    assert networks.card(card.digest).files == card.files


@pytest.mark.parametrize("digest", ["0" * 64, "", "..", "../runs", "x" * 64, "partial"])
def test_what_is_not_there_is_one_sentence(networks: Networks, digest: str) -> None:
    for ask in (networks.card, networks.folder, networks.tokenizer, networks.spec):
        with pytest.raises(NetworkFileError, match="is not in this library"):
            ask(digest)
    networks.remove(digest)


def test_a_network_is_removed_unless_a_run_starts_from_it(settings: Settings, tiny: Path) -> None:
    using = ["r-1", "r-2", "r-3", "r-4", "r-5"]
    networks = Networks(settings, users=lambda digest: using)
    card = networks.import_folder(tiny)
    networks.tokenizer(card.digest)
    with pytest.raises(NetworkInUseError, match=r"runs start from it: r-1, r-2, r-3 and 2 more\.$"):
        networks.remove(card.digest)
    assert networks.list() == [card]
    using.clear()
    networks.remove(card.digest)
    assert kept(networks) == set()
    with pytest.raises(NetworkFileError):
        networks.tokenizer(card.digest)


def test_a_run_that_comes_while_a_network_is_being_removed_keeps_it(settings: Settings, tiny: Path) -> None:
    answers = [[], ["r-late"]]
    networks = Networks(settings, users=lambda digest: answers.pop(0))
    card = networks.import_folder(tiny)
    with pytest.raises(NetworkInUseError):
        networks.remove(card.digest)
    networks.start(networks.spec(card.digest), 0)


def test_the_limit_of_the_home_folder_holds(settings: Settings, tiny: Path) -> None:
    asked: list[int] = []

    def refuse(size: int) -> None:
        asked.append(size)
        raise StorageFullError("full")

    networks = Networks(settings, check_room=refuse)
    with pytest.raises(StorageFullError):
        networks.import_folder(tiny)
    assert asked == [sum(path.stat().st_size for path in tiny.iterdir() if path.name != "README.md")]
    assert kept(networks) == set()


def test_a_family_that_starts_random_is_drawn_from_the_seed(networks: Networks) -> None:
    spec = PerceptronSpec()
    start, built = networks.start(spec, 3), spec.build(3)
    assert all(torch.equal(a, b) for a, b in zip(start.parameters(), built.parameters(), strict=True))


def test_tensors_that_are_no_floats_are_left_out(networks: Networks, tiny: Path) -> None:
    weights = load_file(tiny / "model.safetensors") | {"embeddings.position_ids": torch.arange(64)[None]}
    save_file(weights, tiny / "model.safetensors")
    card = networks.import_folder(tiny)
    networks.start(networks.spec(card.digest), 0)


@pytest.mark.parametrize(
    ("readme", "licence"),
    [
        ("---\nlicense: apache-2.0\n---\n", "apache-2.0"),
        ('---\r\ntags:\r\n- a\r\nlicense: "mit"\r\n---\r\n', "mit"),
        ("---\nlicense: other\nlicense_name: llama3.2\n---", "llama3.2"),
        ("license: mit", ""),
        ("---\nlicense:\n- mit\n- gpl\n---\n", ""),
        ("", ""),
        ("---\nlicense:" + 60_000 * " " + "!\n---\n", ""),  # an expression took minutes, and held up all threads
    ],
    ids=lambda text: text[:20],
)
def test_the_licence_is_that_of_the_readme(readme: str, licence: str) -> None:
    assert licence_in(readme.encode()) == licence
