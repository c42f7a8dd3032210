"""Transformers as folders that ``from_pretrained`` of transformers reads: config, tokenizer and weights."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from torch import nn

from core.errors import NetworkFileError, os_error_as
from core.files import sha256_of, written_atomically
from core.networks.file import network_bytes
from core.networks.imported import HuggingFaceSpec
from core.networks.registry import known_spec
from core.networks.tokenizer import FILES, FORM, SETTINGS, SPECIAL, Tokenizer
from core.networks.transformer import TransformerSpec
from core.objectives.objective import ObjectiveSpec
from core.objectives.registry import CLASSIFICATION
from core.zip_file import write_zip

CONFIG = "config.json"
WEIGHTS = "model.safetensors"


def pretrained_files(
    network: nn.Module,
    tokenizer: Path | None,
    labels: Sequence[str] = (),
    length: int | None = None,
    objective: ObjectiveSpec = CLASSIFICATION,
) -> Iterator[tuple[str, bytes]]:
    """The files of a folder from which transformers' class for the task and ``AutoTokenizer`` load.

    Args:
        network: a transformer without adapters, such as a merged one; its file of weights is also one that
            :func:`core.networks.file.read_network` reads.
        tokenizer: folder with the tokenizer's files, such as that of the network that training started from; None for
            a network that has a tokenizer itself.
        labels: name of each class; classes without one are called by their number.
        length: tokens after which texts were cut off in training; None for the limit that the tokenizer's files have.
        objective: what the network has learned.

    Yields:
        Names and contents, the weights last.

    Raises:
        NetworkFileError: the network is no transformer, or the tokenizer's files cannot be read.
    """
    spec = known_spec(network)
    if not isinstance(spec, HuggingFaceSpec):
        raise NetworkFileError(f"Only transformers can be saved for Hugging Face, not a {spec.title}.")
    config = spec.values | {"architectures": [type(network).__name__], "dtype": "float32"}
    if spec.tokenizer is not None:
        texts = spec.tokenizer.files(length)
    else:
        texts = _tokenizer_files(tokenizer, spec.padding, length)
    if isinstance(spec, TransformerSpec):
        config |= _classes(spec, labels, objective)
    yield CONFIG, (json.dumps(config, indent=2, sort_keys=True) + "\n").encode()
    yield from texts.items()
    yield WEIGHTS, network_bytes(network)


def _classes(spec: TransformerSpec, labels: Sequence[str], objective: ObjectiveSpec) -> dict[str, object]:
    """What a config says of the outputs of a classifier."""
    names = [*labels, *(f"LABEL_{label}" for label in range(len(labels), spec.num_classes))][: spec.num_classes]
    return {
        "id2label": {str(label): name for label, name in enumerate(names)},
        "label2id": {name: label for label, name in enumerate(names)},
        "problem_type": objective.problem_type,
    }


def _tokenizer_files(tokenizer: Path | None, padding: int, length: int | None) -> dict[str, bytes]:
    """The files of a tokenizer in a folder. Raises: NetworkFileError: there are none, or they cannot be read."""
    if tokenizer is None:
        raise NetworkFileError("There is no tokenizer for this network: import the network again.")
    with os_error_as(NetworkFileError, f"The tokenizer in {tokenizer.name:.80} cannot be read"):
        texts = {name: (tokenizer / name).read_bytes() for name in FILES if (tokenizer / name).is_file()}
    if not texts:
        raise NetworkFileError(f"There is no tokenizer in {tokenizer.name:.80}: import the network again.")
    return texts | _settings(tokenizer, texts, padding, length)


def write_pretrained(
    path: Path,
    network: nn.Module,
    tokenizer: Path | None,
    labels: Sequence[str] = (),
    length: int | None = None,
    objective: ObjectiveSpec = CLASSIFICATION,
) -> str:
    """Write a zip of :func:`pretrained_files` to ``path`` atomically; returns its SHA-256. The same input gives the
    same bytes.

    Raises:
        NetworkFileError: see :func:`pretrained_files`; nothing is written.
        OSError: the disk is full or the folder cannot be written to.
    """
    with written_atomically(path) as file:
        write_zip(file, pretrained_files(network, tokenizer, labels, length, objective))
    return sha256_of(path)


def _settings(folder: Path, texts: Mapping[str, bytes], padding: int, length: int | None) -> dict[str, bytes]:
    """The files of a tokenizer that have settings, with those with which texts are read and padded as in training."""
    read = Tokenizer("", folder)
    name = read.name_of(padding)
    token = {} if name is None else {"pad_token": name}
    sides = {"padding_side": "right", "truncation_side": "right"}
    limit = {} if length is None else {"model_max_length": length}
    changes: dict[str, Mapping[str, object]] = {SETTINGS: {**token, **sides, **limit}}
    if SPECIAL in texts:
        changes[SPECIAL] = token
    if read.dropout and FORM in texts:
        changes[FORM] = {"model": json.loads(texts[FORM])["model"] | {"dropout": None}}
    return {name: _changed(texts.get(name, b"{}"), change) for name, change in changes.items()}


def _changed(content: bytes, change: Mapping[str, object]) -> bytes:
    """A file of JSON with other values of some fields."""
    return (json.dumps(json.loads(content) | change, indent=2, sort_keys=True) + "\n").encode()


def are_read(
    found: Mapping[str, Sequence[Sequence[int]]] | None, tokens: Sequence[Sequence[int]], padding: int
) -> bool:
    """Whether a file's tokenizer, if it has one, makes the tokens of training, with padding behind the shorter texts.

    Args:
        found: what it makes.
        tokens: of each text, as in training.
        padding: the token that pads.
    """
    if found is None:
        return True
    width = max(map(len, tokens))
    for text, ids, mask in zip(tokens, found["input_ids"], found["attention_mask"], strict=True):
        if list(text) == [padding]:  # a text without any token, of which every tokenizer makes something else
            continue
        missing = width - len(text)
        if list(ids) != [*text, *[padding] * missing] or list(mask) != [1] * len(text) + [0] * missing:
            return False
    return True
