"""Bad networks: one clear sentence each, before much memory is taken, and nothing is left behind."""

from __future__ import annotations

import io
import json
import resource
import shutil
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from core.errors import LabError
from core.networks.library.networks import Networks
from core.settings import Settings
from tests.networks.tiny import save_tiny
from tests.soak.sentences import faults_of

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"

Change = Callable[[Path], object]


def config(**changes: object) -> Change:
    def change(folder: Path) -> None:
        values = json.loads((folder / "config.json").read_text()) | changes
        kept = {name: value for name, value in values.items() if value is not ...}
        (folder / "config.json").write_text(json.dumps(kept))

    return change


def tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Change:
    def changed(folder: Path) -> None:
        found = load_file(folder / WEIGHTS)
        change(found)
        save_file(found, folder / WEIGHTS)

    return changed


def header(change: Callable[[dict[str, Any]], object]) -> Change:
    """Change the header of the weights, and nothing of the tensors."""

    def changed(folder: Path) -> None:
        content = (folder / WEIGHTS).read_bytes()
        end = 8 + int.from_bytes(content[:8], "little")
        values = json.loads(content[8:end])
        change(values)
        new = json.dumps(values).encode()
        (folder / WEIGHTS).write_bytes(len(new).to_bytes(8, "little") + new + content[end:])

    return changed


def ten_gigabytes(values: dict[str, Any]) -> None:
    last = max((name for name in values if name != "__metadata__"), key=lambda name: values[name]["data_offsets"])
    start = values[last]["data_offsets"][0]
    values[last] |= {"dtype": "F32", "shape": [2_500_000_000], "data_offsets": [start, start + 10_000_000_000]}


def only_pickle(folder: Path) -> None:
    torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()


def as_float8(found: dict[str, torch.Tensor]) -> None:
    name = "encoder.layer.0.attention.self.query.weight"
    found[name] = found[name].to(torch.float8_e4m3fn)


def without(part: str) -> Callable[[dict[str, torch.Tensor]], object]:
    def change(found: dict[str, torch.Tensor]) -> None:
        for name in [name for name in found if part in name]:
            del found[name]

    return change


def index(change: Callable[[dict[str, str]], object]) -> Change:
    """Store the network in two shards, with an index that was changed."""

    def changed(folder: Path) -> None:
        found = load_file(folder / WEIGHTS)
        places = {name: f"model-{number % 2 + 1:05}-of-00002.safetensors" for number, name in enumerate(sorted(found))}
        for shard in sorted(set(places.values())):
            save_file({name: found[name] for name in found if places[name] == shard}, folder / shard)
        (folder / WEIGHTS).unlink()
        change(places)
        (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": places}))

    return changed


def cut(name: str, by: int) -> Change:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-by])


def first(places: dict[str, str]) -> str:
    return min(places)


def shard_cut(folder: Path) -> None:
    index(lambda places: None)(folder)
    cut("model-00002-of-00002.safetensors", 100)(folder)


def vocabulary(folder: Path) -> None:
    path = folder / "tokenizer.json"
    values = json.loads(path.read_text())
    values["model"]["vocab"]["beyond"] = 4000
    path.write_text(json.dumps(values))


def nested(depth: int) -> Change:
    """Put lists inside each other into the config."""

    def change(folder: Path) -> None:
        values = json.loads((folder / "config.json").read_text())
        lists = f', "more": {"[" * depth}{"]" * depth}}}'
        (folder / "config.json").write_text(json.dumps(values)[:-1] + lists)

    return change


def no_words(folder: Path) -> None:
    values = json.loads((folder / "tokenizer.json").read_text())
    values["normalizer"] = {"type": "Replace", "pattern": {"Regex": "."}, "content": ""}
    (folder / "tokenizer.json").write_text(json.dumps(values))


BAD: dict[str, tuple[Change, str]] = {
    "no config": (lambda folder: (folder / "config.json").unlink(), "has no config.json"),
    "a config that is no JSON": (
        lambda folder: (folder / "config.json").write_text("{"),
        "is not valid JSON, in line 1",
    ),
    "a config that is a list": (lambda folder: (folder / "config.json").write_text("[]"), "does not say which"),
    "a config of deep brackets": (
        lambda folder: (folder / "config.json").write_text("[" * 99_999),
        "is nested too deeply",
    ),
    "a config of 2 MB": (lambda folder: (folder / "config.json").write_text(" " * 2**21), "more than 1 MiB"),
    "no architecture": (config(model_type=...), "does not say which"),
    "an unknown architecture": (config(model_type="mamba9"), "which transformers does not know"),
    "an architecture that is a number": (config(model_type=7), "which transformers does not know"),
    "remote code": (
        config(model_type="mpt9", auto_map={"AutoModel": "modeling_mpt.MPT"}),
        "needs code that its authors wrote",
    ),
    "an architecture without a classifier": (config(model_type="vit"), "cannot build a classifier"),
    "quantized": (config(quantization_config={"bits": 4}), "has quantized weights"),
    "a billion layers": (config(num_hidden_layers=10**9), "as num_hidden_layers"),
    "a hidden size of 10^30": (config(hidden_size=10**30), "as hidden_size"),
    "a hidden size of 10^400": (config(hidden_size=10**400), "has a number of hundreds of digits as hidden_size"),
    "minus 10^400 layers": (config(num_hidden_layers=-(10**400)), "hundreds of digits as num_hidden_layers"),
    "deep lists": (nested(800), "has a config.json that is nested too deeply"),
    "a negative hidden size": (config(hidden_size=-16), "cannot"),
    "a hidden size of words": (config(hidden_size="many"), "cannot"),
    "no vocabulary": (config(vocab_size=0), "cannot"),
    "empty layers": (config(intermediate_size=0), "empty, which cannot be right"),
    "no heads": (config(num_attention_heads=0), "cannot"),
    "three heads for sixteen": (config(num_attention_heads=3), "cannot"),
    "a vocabulary of ten million": (config(vocab_size=10**7), "belong to different networks"),
    "an activation that nobody knows": (config(hidden_act="step"), "cannot"),
    "twice as wide": (config(hidden_size=32, intermediate_size=64), "another shape"),
    "more layers than there are weights": (config(num_hidden_layers=4), "its weights are of another network"),
    "infinite": (config(layer_norm_eps=float("inf")), "as layer_norm_eps"),
    "not a number": (config(layer_norm_eps=float("nan")), "as layer_norm_eps"),
    "only a pickle": (only_pickle, "only pytorch_model.bin, which LoRA Lab does not read"),
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), "has no model.safetensors"),
    "empty weights": (lambda folder: (folder / WEIGHTS).write_bytes(b""), "not a safetensors file"),
    "a pickle called safetensors": (
        lambda folder: torch.save({}, folder / WEIGHTS),
        "not a safetensors file",
    ),
    "a header of 2^60 bytes": (
        lambda folder: (folder / WEIGHTS).write_bytes((2**60).to_bytes(8, "little") + b"{}"),
        "not a safetensors file",
    ),
    "weights that end early": (cut(WEIGHTS, 100), "declares"),
    "10 GB declared": (header(ten_gigabytes), "declares"),
    "a shape that does not fit its bytes": (
        header(lambda values: values["embeddings.LayerNorm.bias"].update(shape=[99])),
        "does not fit its shape",
    ),
    "a negative shape": (
        header(lambda values: values["embeddings.LayerNorm.bias"].update(shape=[-4, -4])),
        "not a safetensors file",
    ),
    "a type that nobody knows": (
        header(lambda values: values["embeddings.LayerNorm.bias"].update(dtype="F4")),
        "numbers of the type 'F4'",
    ),
    "a header that is a list": (
        lambda folder: (folder / WEIGHTS).write_bytes((2).to_bytes(8, "little") + b"[]"),
        "not a safetensors file",
    ),
    "float8": (tensors(as_float8), "quantized"),
    "NaN in the weights": (
        tensors(lambda found: found["embeddings.LayerNorm.bias"].fill_(float("nan"))),
        "values that are not finite",
    ),
    "weights that make every answer infinite": (
        tensors(lambda found: [tensor.fill_(3e38) for tensor in found.values()]),
        "does not answer texts with finite numbers",
    ),
    "weights without attention": (tensors(without("attention.self")), "its weights are of another network"),
    "weights of something else": (
        lambda folder: save_file({"layers.0.weight": torch.ones(30_000)}, folder / WEIGHTS),
        "its weights are of another network",
    ),
    "an index that names a file that is not there": (
        index(lambda places: places.update({first(places): "model-00003-of-00003.safetensors"})),
        "which is not there",
    ),
    "an index that names a file elsewhere": (
        index(lambda places: places.update({first(places): "../../secret.safetensors"})),
        "must name",
    ),
    "an index that names a pickle": (
        index(lambda places: places.update({first(places): "pytorch_model.bin"})),
        "must name",
    ),
    "an index with a tensor in the wrong shard": (
        index(lambda places: places.update({first(places): "model-00002-of-00002.safetensors"})),
        "have different tensors",
    ),
    "an index with a tensor that is in no shard": (
        index(lambda places: places.update(more="model-00002-of-00002.safetensors")),
        "have different tensors",
    ),
    "an index without a tensor that is in a shard": (
        index(lambda places: places.pop(first(places))),
        "have different tensors",
    ),
    "an empty index": (index(lambda places: places.clear()), "must name"),
    "a shard that ends early": (shard_cut, "declares"),
    "no tokenizer": (lambda folder: (folder / "tokenizer.json").unlink(), "has no tokenizer.json"),
    "a damaged tokenizer": (cut("tokenizer.json", 40), "tokenizer of this network cannot be read"),
    "a tokenizer of 100 MB": (
        lambda folder: (folder / "tokenizer.json").write_bytes(b" " * 10**8),
        "more than 64 MiB",
    ),
    "more tokens than embeddings": (vocabulary, "embeddings for 48 tokens"),
    "a tokenizer that drops all words": (no_words, "has a tokenizer that finds no words in texts"),
    "an encoder with a decoder": (config(model_type="bart", is_encoder_decoder=True), "has an encoder and a decoder"),
}


@pytest.mark.parametrize(
    "changes",
    [
        {"attn_implementation": "kernels-community/flash-attn3"},
        {"_attn_implementation": "kernels-community/flash-attn3"},
        {"experts_implementation": "somebody/kernel"},
        {"_name_or_path": "/etc", "use_kernels": True},
        {"transformers_weights": "../../secret"},
    ],
)
def test_a_config_decides_only_the_architecture(
    networks: Networks, changed: Path, sound: Path, changes: dict[str, object]
) -> None:
    plain = networks.bring_folder(sound)
    config(**changes)(changed)
    card = networks.bring_folder(changed)
    assert card.digest != plain.digest
    assert card.config == plain.config
    network = networks.start(networks.spec(card.digest), 0)
    assert network.config._attn_implementation in ("sdpa", "eager")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("sound") / "tiny")


@pytest.fixture
def networks(settings: Settings) -> Networks:
    return Networks(settings)


@pytest.fixture
def changed(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "changed"))


def left(networks: Networks) -> list[str]:
    return [path.name for path in networks._settings.networks.rglob("*") if path.is_file()]


def refused(networks: Networks, bring: Callable[[], object]) -> str:
    """The sentence with which a network is refused, once it is seen to be one and to have left nothing."""
    with pytest.raises(LabError) as caught:
        bring()
    assert faults_of(str(caught.value)) == [], str(caught.value)
    assert left(networks) == []
    return str(caught.value)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize("name", list(BAD))
def test_a_bad_network_is_one_sentence_and_leaves_nothing(networks: Networks, changed: Path, name: str) -> None:
    change, sentence = BAD[name]
    change(changed)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert sentence in refused(networks, lambda: networks.bring_folder(changed))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 1024  # KiB


def test_the_same_network_is_taken_when_nothing_is_changed(networks: Networks, changed: Path) -> None:
    for change in (config(), header(lambda values: None), index(lambda places: None)):
        change(changed)
        networks.bring_folder(changed)


def test_a_network_that_reads_its_padding_is_one_sentence(networks: Networks, tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "tiny", "fnet")
    # What transformers itself computes: the same text, alone and with padding behind it, has other logits.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    ids, padding = torch.arange(4, 10)[None], torch.zeros(1, 6, dtype=torch.int64)
    with torch.no_grad():
        alone = network(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        padded = network(
            input_ids=torch.cat([ids, padding], 1), attention_mask=torch.cat([torch.ones_like(ids), padding], 1)
        ).logits
    assert (alone - padded).abs().max() > 0.01 * alone.abs().max()
    assert "answers a text differently when padding follows" in refused(networks, lambda: networks.bring_folder(folder))


def test_a_folder_that_is_not_there_is_one_sentence(networks: Networks, tmp_path: Path) -> None:
    assert "cannot be read" in refused(networks, lambda: networks.bring_folder(tmp_path / "nowhere"))


def zipped(folder: Path, **more: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in folder.iterdir():
            archive.writestr(f"a/{path.name}", more.pop(path.name, path.read_bytes()))
        for name, extra in more.items():
            archive.writestr(name, extra)
    return content.getvalue()


def test_a_zip_bomb_is_one_sentence(networks: Networks, sound: Path) -> None:
    bomb = zipped(sound, **{WEIGHTS: bytes(300_000_000)})
    assert "implausible compression" in refused(networks, lambda: networks.bring_zip(bomb, "a.zip"))


@pytest.mark.parametrize("cut", [0, 1, 40, -1, -30, 2000])
def test_a_damaged_zip_is_one_sentence(networks: Networks, sound: Path, cut: int) -> None:
    refused(networks, lambda: networks.bring_zip(zipped(sound)[:cut], "a.zip"))


def test_a_zip_that_writes_elsewhere_is_one_sentence(networks: Networks, sound: Path) -> None:
    evil = zipped(sound, **{"../../evil.txt": b"x"})
    assert "unsafe name" in refused(networks, lambda: networks.bring_zip(evil, "a.zip"))


def test_a_zip_without_a_network_is_one_sentence(networks: Networks, tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("nothing")
    empty = zipped(tmp_path)
    assert "has no config.json" in refused(networks, lambda: networks.bring_zip(empty, "a.zip"))


def test_a_zip_and_its_folder_are_the_same_network(networks: Networks, sound: Path) -> None:
    assert networks.bring_zip(zipped(sound), "a.zip").digest == networks.bring_folder(sound).digest


@pytest.mark.parametrize("cut", [None, 0, 1, 40, -1, -30, 2000])
def test_a_zip_on_this_machine_is_read_from_its_file(
    networks: Networks, sound: Path, tmp_path: Path, cut: int | None
) -> None:
    path = tmp_path / "mine.Zip"
    path.write_bytes(zipped(sound)[:cut])
    if cut is not None:
        refused(networks, lambda: networks.bring(str(path), folders=True))
        return
    card = networks.bring(str(path), folders=True)
    assert (card.digest, card.name, card.origin) == (networks.bring_folder(sound).digest, "mine", "zip")


def test_a_zip_may_be_as_large_as_a_network_and_is_not_held_in_memory(
    networks: Networks, sound: Path, tmp_path: Path
) -> None:
    path = tmp_path / "large.zip"
    with path.open("wb") as start:  # programs that unpack themselves begin with something else too
        start.truncate(300 * 2**20)
    with zipfile.ZipFile(path, "a") as archive:
        for file in sound.iterdir():
            archive.write(file, file.name)
    tracemalloc.start()
    try:
        assert networks.bring_folder(path).digest == networks.bring_folder(sound).digest
        assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
    finally:
        tracemalloc.stop()


def test_a_zip_that_is_larger_than_any_network_is_one_sentence(networks: Networks, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with path.open("wb") as file:
        file.truncate(9 * 2**30)  # takes no room on the disk
    assert "more than the 8.6 GB that a network may have" in refused(networks, lambda: networks.bring_folder(path))


def test_what_is_too_large_for_the_memory_is_one_sentence(
    networks: Networks, sound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.networks.library import bringing, check

    monkeypatch.setattr(bringing, "free_bytes", lambda device: 1000)
    assert "of memory are free" in refused(networks, lambda: networks.bring_folder(sound))
    monkeypatch.undo()
    monkeypatch.setattr(check, "free_bytes", lambda device: 1000)
    assert "of memory, but" in refused(networks, lambda: networks.bring_folder(sound))


def test_what_is_too_large_for_the_disk_is_one_sentence(
    networks: Networks, sound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = shutil.disk_usage("/")._replace(free=2**26 + 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    assert "are free on the disk" in refused(networks, lambda: networks.bring_folder(sound))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10**20) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=4,
)
FIELDS = st.sampled_from(
    [
        *("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size", "hidden_act"),
        *("max_position_embeddings", "type_vocab_size", "pad_token_id", "layer_norm_eps", "classifier_dropout"),
        *("model_type", "architectures", "auto_map", "dtype", "id2label", "tie_word_embeddings", "is_decoder"),
        *("quantization_config", "problem_type", "chunk_size_feed_forward", "add_cross_attention"),
    ]
)
ANY = hypothesis_settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def tried(sound: Path, root: Path, change: Change) -> None:
    """Bring a changed network: it is kept whole, or refused with a sentence."""
    home = root / "home"
    shutil.rmtree(root, ignore_errors=True)
    folder = Path(shutil.copytree(sound, root / "changed"))
    change(folder)
    networks = Networks(Settings(home=home))
    refusal, card = "", None
    try:
        card = networks.bring_folder(folder)
    except LabError as error:
        refusal = str(error)
    if card is not None:
        networks.start(networks.spec(card.digest), 0)
        return
    assert faults_of(refusal) == [], refusal
    assert left(networks) == []


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@ANY
@given(changes=st.dictionaries(FIELDS, VALUES, min_size=1, max_size=3))
def test_any_config_is_taken_or_refused_with_a_sentence(sound: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    tried(sound, tmp_path / "any", config(**changes))


@ANY
@given(
    file=st.sampled_from([WEIGHTS, "tokenizer.json", "tokenizer_config.json", "config.json"]),
    place=st.floats(0, 1),
    content=st.binary(max_size=20),
    end=st.booleans(),
)
def test_any_bytes_are_taken_or_refused_with_a_sentence(
    sound: Path, tmp_path: Path, file: str, place: float, content: bytes, end: bool
) -> None:
    def change(folder: Path) -> None:
        old = (folder / file).read_bytes()
        at = int(place * len(old))
        (folder / file).write_bytes(old[:at] + content + (b"" if end else old[at + len(content) :]))

    tried(sound, tmp_path / "any", change)


@ANY
@given(name=st.sampled_from(["data_offsets", "shape", "dtype"]), value=VALUES, which=st.integers(0, 30))
def test_any_header_is_taken_or_refused_with_a_sentence(
    sound: Path, tmp_path: Path, name: str, value: object, which: int
) -> None:
    def change(values: dict[str, Any]) -> None:
        tensor = sorted(values)[which % len(values)]
        if isinstance(values[tensor], dict):
            values[tensor][name] = value

    tried(sound, tmp_path / "any", header(change))
