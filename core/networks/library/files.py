"""Which files of a folder, a zip or a repository make a network, and the digest that names them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from core.errors import NetworkFileError, printable
from core.methods.peft_config import CONFIG_FILE
from core.networks import tokenizer
from core.reader import in_reader
from core.reader.json_text import json_value
from core.zip_file import MAY_RUN_CODE, is_beside_weights

ADAPTER = CONFIG_FILE
IS_ADAPTER = "is an adapter, not a network"
"""Part of the message about an adapter, by which a page tells where to go with it."""

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
CHAT_TEMPLATE = "chat_template.jinja"
"""Kept beside a network and outside its digest: it changes no weight and no token, and earlier versions left it out."""
README = "README.md"
"""Read for the licence, and not kept."""

PICKLES = (*MAY_RUN_CODE, ".h5", ".msgpack", ".onnx")
"""Endings of files with weights in formats that are never read."""

MAX_TEXT = {CONFIG: 2**20, INDEX: 2**24, CHAT_TEMPLATE: 2**20, README: 2**24}
MAX_TOKENIZER = 2**26
"""Maximum bytes of the files beside the weights; the largest tokenizers have some 40 MB."""

MAX_SHARDS = 256

_SHARD = re.compile(r"[\w.-]{1,200}\.safetensors")
_USUAL_SHARD = re.compile(r"model-\d+-of-\d+\.safetensors")


@dataclass(frozen=True)
class NetworkFiles:
    """Names of the files of a network."""

    texts: tuple[str, ...]
    """Config, tokenizer, and the index of shards if there is one."""
    weights: tuple[str, ...]
    """Files of weights; as long as the index of shards has not been read, those that are called as it usually says."""

    beside: tuple[str, ...] = ()
    """What is kept with the network, but is no part of it."""

    @property
    def all(self) -> tuple[str, ...]:
        """Every file of the network."""
        return (*self.texts, *self.weights)

    @property
    def kept(self) -> tuple[str, ...]:
        """Every file that is kept."""
        return (*self.all, *self.beside)


def choose(names: Collection[str], what: str) -> NetworkFiles:
    """The files of a network among all names of a place.

    Args:
        names: names of files, without folders.
        what: subject of error messages, as in ``The folder minilm``.

    Raises:
        NetworkFileError: a part is missing.
    """
    if ADAPTER in names and WEIGHTS not in names and INDEX not in names:
        raise NetworkFileError(
            f"{what} {IS_ADAPTER}: check it on the page Adapters, under From a file, and import the network "
            "that it was trained on here."
        )
    if CONFIG not in names:
        raise NetworkFileError(
            f"{what} has no {CONFIG}: choose a network as save_pretrained of transformers has written it."
        )
    if WEIGHTS not in names and INDEX not in names:
        pickles = sorted(name for name in names if name.endswith(PICKLES) and not is_beside_weights(name))
        raise NetworkFileError(
            f"{what} has no {WEIGHTS}, only {printable(pickles[0])}, which LoRA Lab does not read, since such files "
            "can run code: choose a network with safetensors, or save it with save_pretrained."
            if pickles
            else f"{what} has no {WEIGHTS}: choose a network with weights as safetensors."
        )
    found = tuple(name for name in tokenizer.FILES if name in names)
    beside = (CHAT_TEMPLATE,) if CHAT_TEMPLATE in names else ()
    if WEIGHTS in names:
        return NetworkFiles((CONFIG, *found), (WEIGHTS,), beside)
    return NetworkFiles((CONFIG, *found, INDEX), tuple(filter(_USUAL_SHARD.fullmatch, names)), beside)


def check_tokenizer(files: NetworkFiles, what: str) -> None:
    """Check that a tokenizer is among the files. Raises: NetworkFileError: none is."""
    if not {"tokenizer.json", "vocab.txt", "vocab.json"} & set(files.texts):
        raise NetworkFileError(f"{what} has no tokenizer.json: choose a network with its tokenizer.")


def with_shards(files: NetworkFiles, index: bytes, names: Collection[str], what: str) -> NetworkFiles:
    """The same files with those that the index of shards names.

    Raises:
        NetworkFileError: it is damaged, or names files that are not there.
    """
    shards = sorted(set(read_index(index, what).values()))
    if missing := [shard for shard in shards if shard not in names]:
        raise NetworkFileError(f"{what} is incomplete: {INDEX} names {missing[0]:.80}, which is not there.")
    return replace(files, weights=tuple(shards))


def read_index(content: bytes, what: str) -> dict[str, str]:
    """The file of each tensor, by the tensor's name. Raises: NetworkFileError: it is damaged."""
    try:
        places = json_value(content)["weight_map"]
        shards = set(places.values())
        sound = all(isinstance(shard, str) and _SHARD.fullmatch(shard) for shard in shards)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise NetworkFileError(f"{what} is damaged: {INDEX} does not list the files of the weights.") from error
    if not sound or not 0 < len(shards) <= MAX_SHARDS:
        raise NetworkFileError(
            f"{what} is damaged: {INDEX} must name 1 to {MAX_SHARDS} safetensors files beside it, and nothing else."
        )
    return dict(places)


def max_bytes_of(name: str) -> int:
    """Maximum size of a file beside the weights."""
    return MAX_TEXT.get(name, MAX_TOKENIZER)


def digest_of(hashes: Mapping[str, str]) -> str:
    """The digest of a network: SHA-256 over one line per file, with its name and its SHA-256, sorted by name."""
    lines = (f"{name} {sha256}\n" for name, sha256 in sorted(hashes.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@in_reader(NetworkFileError, README)
def licence_in(readme: bytes) -> str:
    """The licence that the front matter of a model card states; empty if there is none."""
    first, *lines = readme[: 2**16].decode("utf-8", "replace").lstrip().splitlines() or [""]
    end = next((place for place, line in enumerate(lines) if line.startswith("---")), None)
    if first.rstrip() != "---" or end is None:
        return ""
    stated = (line.partition(":") for line in lines[:end])
    values = {name: value.strip().strip("\"'") for name, _, value in stated}
    found = {name: value if not re.search(r"[^\w.+ -]", value) else "" for name, value in values.items()}
    licence = found.get("license", "")
    return ((found.get("license_name") or licence) if licence in ("", "other") else licence)[:60]
