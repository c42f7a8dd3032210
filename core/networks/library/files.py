"""Which files of a folder, a zip or a repository make a network, the digest that names them, and what is checked of its
config before they are copied: what it reads, and numbers within bounds; and a name by it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core.errors import JsonError, NetworkFileError, printable
from core.methods.adapter import CONFIG_FILE
from core.networks import tokenizer
from core.networks.hugging_face import harmless
from core.networks.imported import architecture_text
from core.networks.transformers_library import transformers
from core.reader import in_reader
from core.reader.json_text import json_value
from core.tensor_file import TensorEntry
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
            f"{what} {IS_ADAPTER}: check it in the Library, under Adapter files, and import the network "
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


COUNTS = ("layer", "block", "expert", "depth", "stage", "group", "network")
"""Parts of the names of fields that count modules. A network has no more of them than it has tensors."""

MIN_COUNT = 256
"""A count up to this is never refused: some configs have defaults that exceed what the network has."""

OF_IMAGES = ("IMAGE_CLASSIFICATION", "ZERO_SHOT_IMAGE_CLASSIFICATION", "IMAGE_SEGMENTATION", "OBJECT_DETECTION")
"""Tasks of transformers that tell that a network which classifies no texts reads images."""

EXPERTS = re.compile(r"(num|n)_(local_|routed_)?experts$")
"""Pattern of the names of fields that count the experts of a layer."""

MAX_NUMBER = 2**24
"""Maximum of any whole number in a config; vocabularies and lengths of inputs are far below."""

SILENT = re.compile(
    r"(models?|networks?|checkpoints?|snapshots?|base|output|main)([-_]?\d+)?|[0-9a-f]{7,64}", re.IGNORECASE
)
"""Pattern of the names of folders that do not tell which network is in them."""


def told_by(folder: str) -> str:
    """The name of a folder as that of the network in it; empty where it does not tell which one that is."""
    return "" if SILENT.fullmatch(folder) else folder


def name_in(config: Mapping[str, Any]) -> str:
    """A name for a network by its config: of what it was loaded from when it was saved, else its architecture."""
    source = config.get("_name_or_path")
    told = told_by(Path(source).name) if isinstance(source, str) else ""
    return told or architecture_text(config)


def check_kind(content: bytes, what: str) -> dict[str, Any]:
    """The values of a ``config.json`` of an architecture that transformers has.

    Raises:
        NetworkFileError: not a config, or of another architecture, or it needs code of its authors.
    """
    try:
        values = json_value(content)
        kind = values["model_type"]
    except JsonError as error:
        raise NetworkFileError(f"{what} has a {CONFIG} that is {error}.") from error
    except (LookupError, TypeError) as error:
        raise NetworkFileError(
            f"{what} has a {CONFIG} that does not say which architecture of transformers it is of: choose another one."
        ) from error
    if isinstance(kind, str) and _reads_images(kind):
        raise NetworkFileError(
            f"{what} is a network for images ({kind}), and LoRA Lab imports networks that read texts: networks that "
            "learn your own images are made on the page Pretrain."
        )
    if not isinstance(kind, str) or not is_known(kind):
        named = str(kind)[:60]
        raise NetworkFileError(
            f"{what} needs code that its authors wrote ({named!r}, auto_map), which LoRA Lab does not run: choose a "
            "network of an architecture that transformers has."
            if "auto_map" in values
            else f"{what} is of the architecture {named!r}, which transformers does not know: choose another network."
        )
    if any(number > 1 for name, number in _numbers(values) if EXPERTS.search(name)):
        raise NetworkFileError(
            f"{what} is a mixture of experts ({kind}), which LoRA Lab does not train: choose a network whose layers "
            "all read every token, such as BERT, Llama or Qwen."
        )
    if values.get("quantization_config"):
        raise NetworkFileError(f"{what} has quantized weights: import the network as 16-bit or 32-bit floats.")
    return dict(values)


def check_numbers(values: Mapping[str, Any], entries: Collection[TensorEntry], what: str) -> None:
    """Check that shapes can be built from a config. Raises: NetworkFileError: a number is out of bounds."""
    for name, value in _numbers(values):
        most = max(len(entries), MIN_COUNT) if any(part in name for part in COUNTS) else MAX_NUMBER
        if not -MAX_NUMBER <= value <= most:
            try:
                shown = f"{value:.6g}"
            except OverflowError:
                shown = "a number of hundreds of digits"
            raise NetworkFileError(
                f"{what} has {shown} as {printable(name) or 'a value'} in its {CONFIG}, which cannot be right."
            )


def check_fields(values: Mapping[str, Any], what: str) -> None:
    """Check that transformers reads a config whose numbers are within bounds. Raises: NetworkFileError: it does not."""
    fields = harmless(values)
    try:
        transformers().AutoConfig.for_model(fields.pop("model_type"), **fields).to_dict()
    except Exception as error:  # configs validate their values with exceptions of many kinds
        if isinstance(error, MemoryError):
            raise
        field = re.search(r"[Ff]ield '(\w{1,60})'", str(error))
        why = f"the value of '{field[1]}'" if field is not None else printable(str(error), 160)
        raise NetworkFileError(f"{what} has a {CONFIG} that cannot be read ({why}): choose another network.") from error


def _reads_images(kind: str) -> bool:
    """Whether a network of an architecture reads images, and no texts that it could classify."""
    models = transformers("models.auto.modeling_auto")
    return kind not in models.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES and any(
        kind in getattr(models, f"MODEL_FOR_{task}_MAPPING_NAMES", ()) for task in OF_IMAGES
    )


def is_known(kind: str) -> bool:
    """Whether transformers has an architecture of this name."""
    return kind in transformers().CONFIG_MAPPING


def _numbers(value: Any, name: str = "") -> Iterable[tuple[str, float]]:
    """All numbers in a config, lengths and sums of lists included, with the name of the field that they are in."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(inner, str(key))
    elif isinstance(value, list):
        for inner in value:
            yield from _numbers(inner, name)
        yield name, len(value)
        # An integer of hundreds of digits cannot be added to a float, and is out of bounds by itself.
        most = 2 * MAX_NUMBER
        yield name, sum(max(-most, min(inner, most)) for inner in value if isinstance(inner, int | float))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield name, value
