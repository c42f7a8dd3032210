"""The file of an uploaded dataset: safetensors with the names of the classes, checked before anything is allocated.

The targets are labels of these classes; a file without classes has numbers, and says which objective they are for.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from core.data.dataset import USUAL_OBJECTIVE, TextColumns
from core.errors import DatasetError

MAX_FILE = 2**28
"""Bytes per file; 200,000 images take 159 MB."""

MAX_HEADER = 2**20
"""Bytes of a file's header, which includes the class names."""

KEY = "dataset"
"""Key of the JSON in the file's metadata. Only one, because the library writes several in no fixed order."""

Arrays = dict[str, NDArray[Any]]
Shapes = Mapping[str, tuple[str, tuple[int, ...]]]
"""Type and shape of each array of a file."""

PARTS = ("train", "test")
_BYTES = {"I64": 8, "F32": 4, "U8": 1}


@dataclass(frozen=True)
class Header:
    """Content of a file's header."""

    num_train: int
    num_test: int
    class_names: tuple[str, ...]
    """Empty for targets that are numbers."""
    objective: str = USUAL_OBJECTIVE
    """Kind of the objective that the targets are for."""
    columns: TextColumns | None = None
    """Of the table that a dataset of texts was made of, where they are known."""


@dataclass(frozen=True)
class FileFormat:
    """What is in the files of one kind of dataset, besides the targets of each part."""

    name: str
    arrays: Callable[[Shapes, str, int], Shapes]
    """Given what a file says, a part and its number of examples: the arrays that the part must have."""

    def written(
        self,
        arrays: Mapping[str, NDArray[Any]],
        class_names: Sequence[str],
        objective: str = USUAL_OBJECTIVE,
        columns: TextColumns | None = None,
    ) -> bytes:
        """The content of a file; the same bytes for the same dataset."""
        # Left out where it is the usual one or not known, so that such files are those of versions without it.
        more: dict[str, object] = {} if objective == USUAL_OBJECTIVE else {"objective": objective}
        if columns is not None:
            known = {key: value for key, value in asdict(columns).items() if key == "part" or value is not None}
            more["columns"] = known
        about = json.dumps({"format": self.name, "class_names": list(class_names), **more}, sort_keys=True)
        content: bytes = safetensors.numpy.save(
            {name: np.ascontiguousarray(array) for name, array in arrays.items()}, metadata={KEY: about}
        )
        return content

    def header(self, name: str, start: bytes, size: int) -> Header:
        """Check that the header of a file is consistent and matches the file's size.

        Args:
            name: of the dataset.
            start: the first bytes of the file, with the whole header.
            size: of the file.

        Raises:
            DatasetError: it is not.
        """
        length = int.from_bytes(start[:8], "little")
        if size > MAX_FILE or not 0 < length <= MAX_HEADER or len(start) < 8 + length:
            raise damaged(name)
        try:
            header = json.loads(start[8 : 8 + length])
            about = json.loads(header["__metadata__"][KEY])
            class_names, form = about["class_names"], about["format"]
            objective = about.get("objective", USUAL_OBJECTIVE)
            columns = TextColumns(**about["columns"]) if "columns" in about else None
            targets = "I64" if class_names else "F32"
            shapes = {
                key: (value["dtype"], tuple(value["shape"])) for key, value in header.items() if key != "__metadata__"
            }
            counts = {part: shapes[f"{part}_labels"][1][0] for part in PARTS}
            wanted: dict[str, tuple[str, tuple[int, ...]]] = {}
            for part, count in counts.items():
                wanted |= {f"{part}_labels": (targets, (count,)), **self.arrays(shapes, part, count)}
            sizes = sum(math.prod(shape) * _BYTES[kind] for kind, shape in wanted.values())
            if (
                form != self.name
                or shapes != wanted
                or min(counts.values()) < 1
                or sizes != size - 8 - length
                or not isinstance(class_names, list)
                or not isinstance(objective, str)
                or len(class_names) < (2 if objective == USUAL_OBJECTIVE else 0)
                or not all(isinstance(one, str) for one in class_names)
                or (
                    columns
                    and not (
                        all(isinstance(one, str) for one in (columns.text, columns.label, columns.part or ""))
                        and isinstance(columns.without_repeats, bool | None)
                    )
                )
            ):
                raise damaged(name)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise damaged(name) from error
        return Header(counts["train"], counts["test"], tuple(class_names), objective, columns)

    def read(self, name: str, content: bytes) -> tuple[Header, Arrays]:
        """Read a file into read-only arrays.

        Raises:
            DatasetError: it is damaged, a label is that of no class, or a number is not finite.
        """
        header = self.header(name, content[: 8 + MAX_HEADER], len(content))
        try:
            arrays: Arrays = safetensors.numpy.load(content)
        except (safetensors.SafetensorError, ValueError, LookupError, TypeError) as error:
            raise damaged(name) from error
        for part in PARTS:
            labels = arrays[f"{part}_labels"]
            if not header.class_names:
                if not np.isfinite(labels).all():
                    raise damaged(name)
            elif labels.min() < 0 or labels.max() >= len(header.class_names):
                raise damaged(name)
        for array in arrays.values():
            array.flags.writeable = False
        return header, arrays


def damaged(name: str) -> DatasetError:
    """The error for a file that is not what was written."""
    return DatasetError(f"The file of your dataset {name} is damaged: delete it and upload it again.")
