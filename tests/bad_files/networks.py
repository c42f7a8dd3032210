"""Bad networks: transformers of strangers, as folders and as zips, and files of bases."""

from __future__ import annotations

import json
import pickle
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from core.methods.lora import LoRASpec
from core.methods.low_rank import add_lora
from core.networks.file import network_bytes
from core.networks.perceptron import PerceptronSpec
from tests.bad_files.catalog import BadFile, Table, of_kind
from tests.bad_files.zips import unsafe
from tests.data.uploaded import Entry, zipped
from tests.networks.tiny import save_tiny

CONFIG, TOKENIZER = "config.json", "tokenizer.json"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")

Files = dict[str, bytes]
"""Contents of a folder by name."""

Change = Callable[[Files], object]


@cache
def sound() -> Mapping[str, bytes]:
    """The files of a network that is taken."""
    with tempfile.TemporaryDirectory() as folder:
        return {path.name: path.read_bytes() for path in save_tiny(Path(folder) / "tiny").iterdir()}


def stored(*entries: tuple[Entry, bytes]) -> bytes:
    """A zip that is not compressed, so that no entry is refused for its compression ratio."""
    return zipped(*entries, how=zipfile.ZIP_STORED)


def changed(change: Change) -> bytes:
    """That network with changed files, as a zip."""
    files = dict(sound())
    change(files)
    return stored(*files.items())


def beside(*entries: tuple[Entry, bytes]) -> bytes:
    """That network with more entries."""
    return zipped(*sound().items(), *entries)


def put(**contents: bytes) -> Change:
    """Replace files; ``_`` in their names stands for a period."""
    return lambda files: files.update({name.replace("_", "."): content for name, content in contents.items()})


def without(name: str) -> Change:
    return lambda files: files.pop(name)


def config(**changes: object) -> Change:
    """Change fields of the config; an ellipsis takes one out."""

    def change(files: Files) -> None:
        values = json.loads(files[CONFIG]) | changes
        files[CONFIG] = json.dumps({name: value for name, value in values.items() if value is not ...}).encode()

    return change


def tensors(change: Callable[[dict[str, Tensor]], object]) -> Change:
    def changed(files: Files) -> None:
        found = safetensors.torch.load(files[WEIGHTS])
        change(found)
        files[WEIGHTS] = safetensors.torch.save(found)

    return changed


def in_json(content: bytes, change: Callable[[Any], object]) -> bytes:
    values = json.loads(content)
    change(values)
    return json.dumps(values).encode()


def with_header(content: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """A file of tensors with a changed header, and nothing of the tensors changed."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = in_json(content[8:end], change)
    return len(header).to_bytes(8, "little") + header + content[end:]


def header(change: Callable[[dict[str, Any]], object]) -> Change:
    """Change the header of the weights."""
    return lambda files: files.update({WEIGHTS: with_header(files[WEIGHTS], change)})


def bias(**values: object) -> Change:
    """Change what the header says of one tensor."""
    return header(lambda all: all["embeddings.LayerNorm.bias"].update(values))


def index(change: Callable[[dict[str, str]], object]) -> Change:
    """Store the network in two shards, with an index that was changed."""

    def changed(files: Files) -> None:
        found = safetensors.torch.load(files.pop(WEIGHTS))
        places = {name: SHARDS[number % 2] for number, name in enumerate(sorted(found))}
        for shard in SHARDS:
            files[shard] = safetensors.torch.save({name: found[name] for name in found if places[name] == shard})
        change(places)
        files[INDEX] = json.dumps({"metadata": {}, "weight_map": places}).encode()

    return changed


def first_in(place: str) -> Change:
    """An index in which the first tensor is somewhere else."""
    return index(lambda places: places.update({min(places): place}))


def cut(name: str, by: int) -> Change:
    return lambda files: files.update({name: files[name][:-by]})


def shard_cut(files: Files) -> None:
    index(lambda places: None)(files)
    cut(SHARDS[1], 100)(files)


def tokenizer(change: Callable[[dict[str, Any]], object]) -> Change:
    return lambda files: files.update({TOKENIZER: in_json(files[TOKENIZER], change)})


def nested(files: Files) -> None:
    """Put lists inside each other into the config."""
    files[CONFIG] = files[CONFIG].rstrip()[:-1] + b', "more": ' + b"[" * 800 + b"]" * 800 + b"}"


def ten_gigabytes(values: dict[str, Any]) -> None:
    last = max((name for name in values if name != "__metadata__"), key=lambda name: values[name]["data_offsets"])
    start = values[last]["data_offsets"][0]
    values[last] |= {"dtype": "F32", "shape": [2_500_000_000], "data_offsets": [start, start + 10_000_000_000]}


def as_float8(found: dict[str, Tensor]) -> None:
    name = "encoder.layer.0.attention.self.query.weight"
    found[name] = found[name].to(torch.float8_e4m3fn)


def without_attention(found: dict[str, Tensor]) -> None:
    for name in [name for name in found if "attention.self" in name]:
        del found[name]


def of_images(kind: str) -> Change:
    """A network as those for images are: with a preprocessor in place of a tokenizer."""

    def change(files: Files) -> None:
        config(model_type=kind)(files)
        files["preprocessor_config.json"] = b"{}"
        del files[TOKENIZER]

    return change


def as_adapter(files: Files) -> None:
    """The files that PEFT saves."""
    weights = files[WEIGHTS]
    files.clear()
    files |= {"adapter_config.json": b'{"peft_type": "LORA"}', "adapter_model.safetensors": weights}


OTHER, NO_TENSORS, SHARD = "its weights are of another network", "not a safetensors file", "have different tensors"
NO_WORDS = {"type": "Replace", "pattern": {"Regex": r"\S+"}, "content": ""}

FOLDERS: dict[str, tuple[Change, str]] = {
    "no config": (without(CONFIG), "has no config.json"),
    "a config that is no JSON": (put(config_json=b"{"), "is not valid JSON, in line 1"),
    "a config that is a list": (put(config_json=b"[]"), "does not say which"),
    "a config of deep brackets": (put(config_json=b"[" * 99_999), "is nested too deeply"),
    "a config of 2 MB": (put(config_json=b" " * 2**21), "more than 1 MiB"),
    "no architecture": (config(model_type=...), "does not say which"),
    "an unknown architecture": (config(model_type="mamba9"), "which transformers does not know"),
    "an architecture that is a number": (config(model_type=7), "which transformers does not know"),
    "remote code": (config(model_type="mpt9", auto_map={"AutoModel": "modeling_mpt.MPT"}), "needs code that its"),
    "an architecture without a classifier": (config(model_type="informer"), "cannot build a classifier"),
    "a network for images": (config(model_type="vit"), r"for images \(vit\).* made on the page Pretrain"),
    "a network for images, without a tokenizer": (of_images("resnet"), r"for images \(resnet\).* the page Pretrain"),
    "a network of timm": (config(model_type=..., architecture="resnet18", pretrained_cfg={}), "does not say which"),
    "a network for images and texts": (config(model_type="clip"), r"for images \(clip\)"),
    "a network for sound": (config(model_type="wav2vec2"), "cannot"),
    "a mixture of experts": (config(model_type="mixtral", num_local_experts=8), r"a mixture of experts \(mixtral\)"),
    "a mixture of routed experts": (config(model_type="deepseek_v3", n_routed_experts=4), "a mixture of experts"),
    "experts in a part": (config(model_type="dbrx", ffn_config={"moe_num_experts": 4}), "a mixture of experts"),
    "an adapter": (as_adapter, "is an adapter, not a network: check it in the Library, under Adapter files"),
    "an encoder with a decoder": (config(model_type="bart", is_encoder_decoder=True), "has an encoder and a decoder"),
    "quantized": (config(quantization_config={"bits": 4}), "has quantized weights"),
    "a billion layers": (config(num_hidden_layers=10**9), "as num_hidden_layers"),
    "a hidden size of 10^30": (config(hidden_size=10**30), "as hidden_size"),
    "a hidden size of 10^400": (config(hidden_size=10**400), "has a number of hundreds of digits as hidden_size"),
    "sizes of 10^400 and 0.5": (config(hidden_size=[-(10**400), 0.5]), "hundreds of digits as hidden_size"),
    "minus 10^400 layers": (config(num_hidden_layers=-(10**400)), "hundreds of digits as num_hidden_layers"),
    "deep lists": (nested, "has a config.json that is nested too deeply"),
    "a negative hidden size": (config(hidden_size=-16), "cannot"),
    "a hidden size of words": (config(hidden_size="many"), "cannot"),
    "no vocabulary": (config(vocab_size=0), "cannot"),
    "empty layers": (config(intermediate_size=0), "empty, which cannot be right"),
    "no heads": (config(num_attention_heads=0), "cannot"),
    "three heads for sixteen": (config(num_attention_heads=3), "cannot"),
    "a vocabulary of ten million": (config(vocab_size=10**7), "belong to different networks"),
    "an activation that nobody knows": (config(hidden_act="step"), "cannot"),
    "twice as wide": (config(hidden_size=32, intermediate_size=64), "another shape"),
    "more layers than there are weights": (config(num_hidden_layers=4), OTHER),
    "infinite": (config(layer_norm_eps=float("inf")), "as layer_norm_eps"),
    "not a number": (config(layer_norm_eps=float("nan")), "as layer_norm_eps"),
    "only a pickle": (lambda files: files.update({"pytorch_model.bin": files.pop(WEIGHTS)}), "only pytorch_model.bin,"),
    "no weights": (without(WEIGHTS), "has no model.safetensors"),
    "empty weights": (put(model_safetensors=b""), NO_TENSORS),
    "a pickle called safetensors": (put(model_safetensors=pickle.dumps({})), NO_TENSORS),
    "a header of 2^60 bytes": (put(model_safetensors=(2**60).to_bytes(8, "little") + b"{}"), NO_TENSORS),
    "a header that is a list": (put(model_safetensors=(2).to_bytes(8, "little") + b"[]"), NO_TENSORS),
    "weights that end early": (cut(WEIGHTS, 100), "declares"),
    "10 GB declared": (header(ten_gigabytes), "declares"),
    "a shape that does not fit its bytes": (bias(shape=[99]), "does not fit its shape"),
    "a negative shape": (bias(shape=[-4, -4]), NO_TENSORS),
    "a type that nobody knows": (bias(dtype="F4"), "numbers of the type 'F4'"),
    "float8": (tensors(as_float8), "quantized"),
    "NaN in the weights": (
        tensors(lambda found: found["embeddings.LayerNorm.bias"].fill_(float("nan"))),
        "values that are not finite",
    ),
    "weights that make every answer infinite": (
        tensors(lambda found: [tensor.fill_(3e38) for tensor in found.values()]),
        "does not answer texts with finite numbers",
    ),
    "weights without attention": (tensors(without_attention), OTHER),
    "weights of something else": (
        put(model_safetensors=safetensors.torch.save({"layers.0.weight": torch.ones(30_000)})),
        OTHER,
    ),
    "an index that names a file that is not there": (first_in("model-00003-of-00003.safetensors"), "is not there"),
    "an index that names a file elsewhere": (first_in("../../secret.safetensors"), "must name"),
    "an index that names a pickle": (first_in("pytorch_model.bin"), "must name"),
    "an index with a tensor in the wrong shard": (first_in(SHARDS[1]), SHARD),
    "an index with a tensor that is in no shard": (index(lambda places: places.update(more=SHARDS[1])), SHARD),
    "an index without a tensor that is in a shard": (index(lambda places: places.pop(min(places))), SHARD),
    "an empty index": (index(lambda places: places.clear()), "must name"),
    "a shard that ends early": (shard_cut, "declares"),
    "no tokenizer": (without(TOKENIZER), "has no tokenizer.json"),
    "a damaged tokenizer": (cut(TOKENIZER, 40), "tokenizer of this network cannot be read"),
    "a tokenizer of 100 MB": (put(tokenizer_json=b" " * 10**8), "more than 64 MiB"),
    "more tokens than embeddings": (
        tokenizer(lambda form: form["model"]["vocab"].update(beyond=4000)),
        "ids up to 4,000, but embeddings for 48 tokens",
    ),
    "more tokens than embeddings, all of one id": (
        tokenizer(lambda form: form["model"]["vocab"].update({f"token{number}": 4 for number in range(48)})),
        "embeddings for 48 tokens",
    ),
    "a tokenizer that drops all words": (tokenizer(lambda form: form.update(normalizer=NO_WORDS)), "has a tokenizer"),
}

ZIPS: Table = {
    **{f"the first {length} bytes": (lambda n=length: beside()[:n], "") for length in (0, 1, 40, 2000)},
    **{f"all but {length} bytes": (lambda n=length: beside()[:-n], "") for length in (1, 30)},
    "large weights of zeros": (
        lambda: zipped(*(dict(sound()) | {WEIGHTS: bytes(300_000_000)}).items()),
        "not a safetensors file, or it is damaged",
    ),
    "no network": (lambda: zipped(("readme.txt", b"nothing")), "has no config.json"),
    "an adapter in a folder": (lambda: zipped(("out/adapter_config.json", b"{}")), "is an adapter, not a network"),
}

SMALL = PerceptronSpec(num_features=6, num_hidden_1=5, num_hidden_2=4, num_classes=3)
BASE = network_bytes(SMALL.build(seed=1))
"""The file of a small base."""

STATE = dict(SMALL.build(seed=1).state_dict())
NAN = torch.full((3,), torch.nan)
KINDS = "F64 F16 BF16 I64 I32 I16 I8 U64 U32 U16 U8 BOOL C64 F8_E4M3 F8_E5M2 F8_E8M0 F4 F6_E2M3 X1"

STATES: dict[str, dict[str, Tensor]] = {
    "another name": {"fc.weight": torch.zeros(2, 2)},
    "nothing": {},
    "a layer too many": STATE | {"layers.6.weight": torch.zeros(3, 3), "layers.6.bias": torch.zeros(3)},
    "a tensor too many": STATE | {"note": torch.zeros(1)},
    "a bias too few": {name: tensor for name, tensor in STATE.items() if name != "layers.4.bias"},
    "layers that do not join": STATE | {"layers.2.weight": torch.zeros(4, 9)},
    "a bias of another size": STATE | {"layers.0.bias": torch.zeros(9)},
    "a weight of one dimension": STATE | {"layers.0.weight": torch.zeros(30)},
    "no output": STATE | {"layers.4.weight": torch.zeros(0, 4), "layers.4.bias": torch.zeros(0)},
    "no hidden units": STATE | {"layers.0.weight": torch.zeros(0, 6), "layers.0.bias": torch.zeros(0)},
    "too many features": STATE | {"layers.0.weight": torch.zeros(5, 5000)},
    "NaN": STATE | {"layers.4.bias": NAN},
    "infinity": STATE | {"layers.4.bias": -NAN / 0},
    "half precision": {name: tensor.half() for name, tensor in STATE.items()},
    "whole numbers": STATE | {"layers.4.bias": torch.zeros(3, dtype=torch.int32)},
    "unsigned numbers": STATE | {"layers.4.bias": torch.zeros(3, dtype=torch.uint32)},
    "truth values": STATE | {"layers.4.bias": torch.zeros(3, dtype=torch.bool)},
    "an adapted network": dict(add_lora(SMALL.build(seed=1), LoRASpec(rank=2)).state_dict()),
}


def of_numbers(kind: str) -> bytes:
    """The file of a base whose header calls its numbers something else."""
    return with_header(BASE, lambda header: [header[name].update(dtype=kind) for name in STATE])


def bad_files() -> list[BadFile]:
    short = r"^[^\n]{10,300}\.$"
    bases: Table = {
        **{name: (partial(safetensors.torch.save, state), short) for name, state in STATES.items()},
        **{f"numbers of the kind {kind}": (partial(of_numbers, kind), short) for kind in KINDS.split()},
        **{
            f"{content[:9]!r}": (lambda content=content: content, r"^base\.safetensors is ")
            for content in (b"", b"\x80\x04.", b"PK\x03\x04", b"\xff" * 64, b"{}" * 9, bytes(8))
        },
    }
    configs: Table = {
        repr(content[:48]): (lambda content=content: content, says)
        for content, says in (
            (b"", "is not valid JSON"),
            (b"\x80\x04.", "is not"),
            (b"[]", "does not say which architecture"),
            (b"[" * 99_999, "is nested too deeply"),
            (b'{"model_type": "t5"}', "cannot build a language model from the architecture 't5'"),
            (b'{"model_type": "nobodys"}', "'nobodys', which transformers does not know: choose another network"),
            (b'{"model_type": "llama", "num_hidden_layers": 100000}', "has 100000 as num_hidden_layers"),
            (b'{"model_type": "llama", "hidden_size": "wide"}', "hidden_size"),
        )
    }
    folders: Table = {name: (partial(changed, change), says) for name, (change, says) in FOLDERS.items()}
    zips = of_kind("network", ZIPS) + of_kind("network", unsafe(beside), is_hostile=True)
    return of_kind("folder", folders) + zips + of_kind("base", bases) + of_kind("config", configs)
