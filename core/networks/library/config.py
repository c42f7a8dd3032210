"""What is checked of a network's config before its files are copied: what it reads, and numbers within bounds; and a
name by it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from core.errors import JsonError, NetworkFileError, printable
from core.networks.hugging_face import harmless
from core.networks.imported import architecture_text
from core.networks.library.files import CONFIG
from core.networks.transformers_library import transformers
from core.reader.json_text import json_value
from core.tensor_file import TensorEntry

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
        raise NetworkFileError(
            f"{what} has a {CONFIG} that cannot be read ({printable(str(error), 160)}): choose another network."
        ) from error


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
