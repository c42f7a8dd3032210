"""What is checked of a network's files before they are kept, from the cheapest check to the most expensive one.

Weights are in safetensors files of any size: headers are checked before anything is allocated, and tensors read one by
one.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from math import prod
from pathlib import Path

import torch
from torch import Tensor, nn

from core.errors import LabError, NetworkFileError, SpecError, os_error_as, printable
from core.memory import free_bytes, is_out_of_memory
from core.methods.linear import is_linear
from core.methods.roles import role_of
from core.methods.targets import CLASSIFIERS, is_in_head
from core.networks.forward import forward
from core.networks.hugging_face import architecture, fill_classifier, head_of
from core.networks.library.card import Inspection
from core.networks.library.files import CONFIG, INDEX, NetworkFiles, check_fields, check_kind, check_numbers, read_index
from core.networks.tokenizer import OpenedTokenizer, Tokenizer, opened_tokenizer
from core.networks.transformer import TransformerSpec
from core.tensor_file import FLOATS, TensorEntry, header_entries

TEXTS = ("Hello, world!", "", "été 日本 \N{GRINNING FACE}\n\t 0123456789")
"""Texts that a tokenizer is tried with."""

PADDED_TOLERANCE = 1e-3
"""Maximum difference between the logits of texts alone and with padding behind them, relative to the largest logit:
rounding is far below, and a network that reads its padding far above."""

POOLERS = ("pooler",)
"""Modules of an encoder that checkpoints of language models may lack, so that they are drawn as the head is."""


def check_headers(folder: Path, files: NetworkFiles, what: str) -> tuple[TensorEntry, ...]:
    """The tensors of all weight files by their headers alone.

    Raises:
        NetworkFileError: a file is damaged, or the index of shards says something else than the files.
    """
    by_file = {name: read_header(folder / name) for name in files.weights}
    entries = tuple(entry for found in by_file.values() for entry in found)
    if INDEX in files.texts:
        places = read_index((folder / INDEX).read_bytes(), what)
        own = {entry.name: name for name, found in by_file.items() for entry in found}
        if len(own) != len(entries) or own != places:
            raise NetworkFileError(f"{what} is damaged: {INDEX} and the files that it names have different tensors.")
    return entries


def inspect(folder: Path, files: NetworkFiles, what: str) -> Inspection:
    """Read everything, build the classifier, and let it read random texts.

    Args:
        folder: with the files.
        files: their names.
        what: subject of error messages.

    Raises:
        NetworkFileError: something is wrong with a file, or the parts do not fit together.
    """
    entries = check_headers(folder, files, what)
    values = check_kind((folder / CONFIG).read_bytes(), what)
    if values.get("is_encoder_decoder"):
        raise NetworkFileError(
            f"{what} has an encoder and a decoder, and LoRA Lab trains networks with one of them: choose one such as "
            "BERT or Llama."
        )
    check_numbers(values, entries, what)
    check_fields(values, what)
    try:
        opened = opened_tokenizer(folder.absolute())
        spec = TransformerSpec.of(weights="0" * 64, num_classes=2, config=architecture(values, opened.padding))
        _check_sizes(spec, entries, opened, what)
        tokenizer = Tokenizer("", folder, opened)
        _check_tokens(tokenizer, what)
        _check_shapes(spec, what)
        check_memory(entries, what)
        weights = read_all(folder, files)
        network, drawn = fill_classifier(spec.config, spec.num_classes, weights, seed=0)
        _check_drawn(network, drawn, entries, what)
        _check_answer(network, spec, what)
    except SpecError as error:
        raise NetworkFileError(f"{what} cannot be used: {error}") from error
    roles = Counter(role_of(path) for path, module in network.named_modules() if is_linear(module))
    return Inspection(
        config=spec.config,
        architecture=spec.values["model_type"],
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        attention=roles["attention"],
        feed_forward=roles["feed-forward"],
        other=roles[None],
        tokenizer=tokenizer.kind,
        vocabulary=tokenizer.size,
        longest_input=spec.longest_input,
        head=head_of(network, drawn),
    )


def read_all(folder: Path, files: NetworkFiles, hashes: Mapping[str, str] | None = None) -> dict[str, Tensor]:
    """The weights of all files, without those of a classifier: that is drawn anew, for the classes of the data.

    Args:
        folder: with the files.
        files: their names.
        hashes: expected SHA-256 by name, if known.

    Raises:
        NetworkFileError: a file is damaged.
    """
    weights: dict[str, Tensor] = {}
    for name in files.weights:
        weights |= read_weights(folder / name, (hashes or {}).get(name))
    return {name: tensor for name, tensor in weights.items() if not is_in_head(name, CLASSIFIERS)}


def check_memory(entries: Iterable[TensorEntry], what: str) -> None:
    """Check that the weights fit in the memory that is free, as stored and as float32.

    Raises:
        NetworkFileError: they do not.
    """
    needed = sum(entry.nbytes + (0 if entry.dtype == "F32" else 4 * prod(entry.shape)) for entry in entries)
    free = free_bytes(torch.device("cpu"))
    if needed > free:
        raise NetworkFileError(
            f"{what} takes {needed / 1e9:.1f} GB of memory, but {free / 1e9:.1f} GB are free on this machine: "
            "choose a smaller network."
        )


def _check_sizes(spec: TransformerSpec, entries: Iterable[TensorEntry], tokenizer: OpenedTokenizer, what: str) -> None:
    """Check the architecture against the weights and the tokenizer before anything large is built."""
    network = spec.build()
    if empty := [name for name, parameter in network.named_parameters() if not parameter.numel()]:
        raise NetworkFileError(f"{what} has a {CONFIG} that leaves {printable(empty[0])} empty, which cannot be right.")
    described = sum(parameter.numel() for parameter in network.parameters())
    head = sum(p.numel() for name, p in network.named_parameters() if is_in_head(name, CLASSIFIERS))
    there = sum(prod(entry.shape) for entry in entries)
    computed = sum(buffer.nbytes for buffer in network.buffers())
    if described - head > 2 * there + 2**20 or computed > 2**30:
        raise NetworkFileError(
            f"{what} has a {CONFIG} for {described:,} parameters, but {there:,} in its files: they belong to different "
            "networks."
        )
    if max(tokenizer.largest, tokenizer.size - 1) >= spec.vocabulary:
        raise NetworkFileError(
            f"{what} has a tokenizer of {tokenizer.size:,} tokens with ids up to {tokenizer.largest:,}, but embeddings "
            f"for {spec.vocabulary:,} tokens: they belong to different networks."
        )


def _check_tokens(tokenizer: Tokenizer, what: str) -> None:
    """Check that the tokenizer reads texts."""
    try:
        read = tokenizer.encode(TEXTS)
    except NetworkFileError as error:
        raise NetworkFileError(f"{what} has a tokenizer that cannot read texts: choose another network.") from error
    if read[0] == read[1]:
        raise NetworkFileError(f"{what} has a tokenizer that finds no words in texts: choose another network.")
    if max(map(max, read)) > tokenizer.largest:
        raise NetworkFileError(f"{what} has a tokenizer that makes tokens it does not know: choose another network.")


def _check_drawn(network: nn.Module, drawn: tuple[str, ...], entries: Iterable[TensorEntry], what: str) -> None:
    """Check that only a head was missing in the weights."""
    inside = f"{getattr(network, 'base_model_prefix', '')}."
    missing = [
        name for name in drawn if name.startswith(inside) and name.removeprefix(inside).partition(".")[0] not in POOLERS
    ]
    if not missing:
        return
    whole = {entry.name for entry in entries if not entry.is_weight}
    if any(name in whole or name.removeprefix(inside) in whole for name in missing):
        raise NetworkFileError(f"{what} has quantized weights: import the network as 16-bit or 32-bit floats.")
    raise NetworkFileError(
        f"{what} lacks {len(missing):,} tensors of its architecture, such as {printable(missing[0])}: its weights "
        "are of another network."
    )


def _check_shapes(spec: TransformerSpec, what: str) -> None:
    """Check that the network runs where only shapes count, as memory and frozen blocks are found."""
    try:
        forward(spec.build(), spec.examples(2).batch(slice(None)))
    except Exception as error:  # architectures ask for values in many ways
        if is_out_of_memory(error):
            raise
        raise NetworkFileError(
            f"{what} computes with the values of its inputs in a way that LoRA Lab cannot plan for: choose another "
            "network."
        ) from error


def _check_answer(network: nn.Module, spec: TransformerSpec, what: str) -> None:
    """Check that the classifier answers random texts with finite numbers, the same whether padding follows them."""
    texts = spec.examples(2, torch.Generator().manual_seed(0)).batch(slice(None))
    kept = (texts["input_ids"].shape[1] + 1) // 2
    alone = {name: tensor[:, :kept] for name, tensor in texts.items()}
    behind = torch.arange(texts["input_ids"].shape[1]) >= kept
    padded = {
        "input_ids": texts["input_ids"].masked_fill(behind, spec.padding),
        "attention_mask": texts["attention_mask"].masked_fill(behind, 0),
    }
    try:
        with torch.inference_mode():
            logits, once, again = (forward(network, batch) for batch in (texts, alone, padded))
    except LabError:
        raise
    except Exception as error:  # architectures refuse inputs with exceptions of many kinds
        if is_out_of_memory(error):
            raise
        cause = str(error).strip().split("\n")[0] or type(error).__name__
        raise NetworkFileError(
            f"{what} cannot classify texts ({printable(cause, 160)}): choose another network."
        ) from error
    if logits.shape != (2, spec.num_classes) or not all(torch.isfinite(found).all() for found in (logits, once, again)):
        raise NetworkFileError(f"{what} does not answer texts with finite numbers: choose another network.")
    if (once - again).abs().max() > PADDED_TOLERANCE * once.abs().max():
        raise NetworkFileError(
            f"{what} answers a text differently when padding follows it, as in a batch with longer texts: choose "
            "another network."
        )


def read_header(path: Path) -> tuple[TensorEntry, ...]:
    """The tensors of a file, in the order of their bytes, once the header agrees with itself and with the file's size.

    Raises:
        NetworkFileError: not a safetensors file, damaged, cut off, or of types that are not known.
    """
    with os_error_as(NetworkFileError, f"{path.name:.80} cannot be read"), path.open("rb") as file:
        return header_entries(file, path.stat().st_size, path.name[:80], NetworkFileError)


def read_weights(path: Path, sha256: str | None = None) -> dict[str, Tensor]:
    """The weights of a file by their names, as they are stored.

    Args:
        path: the file.
        sha256: expected SHA-256 of the whole file, in hex, if known.

    Raises:
        NetworkFileError: see :func:`read_header`; or the SHA-256 differs, or a value is not finite.
    """
    entries = read_header(path)
    digest = hashlib.sha256()
    weights: dict[str, Tensor] = {}
    # Not load_file, which maps the file: truncating a mapped file kills the process that uses it.
    with os_error_as(NetworkFileError, f"{path.name:.80} cannot be read"), path.open("rb") as file:
        head = file.read(8)
        digest.update(head)
        digest.update(file.read(int.from_bytes(head, "little")))
        for entry in entries:
            content = torch.empty(entry.nbytes, dtype=torch.uint8)
            if file.readinto(content.numpy().data) != entry.nbytes:  # a file system reads whole, except at the end
                raise NetworkFileError(f"{path.name:.80} became shorter while it was read: import it again.")
            digest.update(content.numpy().data)
            if entry.is_weight:
                tensor = content.view(FLOATS[entry.dtype]).reshape(entry.shape)
                if not torch.isfinite(tensor).all():
                    raise NetworkFileError(
                        f"{path.name:.80} is damaged: {printable(entry.name)} has values that are not finite."
                    )
                weights[entry.name] = tensor
    if sha256 is not None and digest.hexdigest() != sha256:
        raise NetworkFileError(f"{path.name:.80} is no longer what was imported: import this network again.")
    return weights
