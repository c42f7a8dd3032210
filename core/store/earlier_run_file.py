"""The file ``run.safetensors`` in the folders of runs of versions up to 13 of the store."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from core.objectives.measure import VALIDATION
from core.store.record import EPOCH_COLUMNS

NAME = "run.safetensors"

FORMAT = "lora-lab-run-2"

COLUMNS = {"losses": "loss", "seconds": "seconds"}
"""Columns of the store's ``losses`` table, with the names of their tensors."""

MEASURE = "epochs."
"""Beginning of the names of tensors with a measure of each epoch, NaN where an epoch has none."""


def rows_of(content: bytes) -> tuple[dict[str, list[dict[str, Any]]], bool]:
    """Rows of the store by table, and whether the file is sound.

    Raises:
        ValueError, LookupError, TypeError, AttributeError: it is damaged.
    """
    try:
        curve = safetensors.numpy.load(content)
    except safetensors.SafetensorError as error:
        raise ValueError(str(error)) from error
    kept = json.loads(json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]["run"])
    about, ends = kept["about"], np.cumsum(curve["count"])
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(curve):
        digest.update(np.ascontiguousarray(curve[name]).tobytes())
    whole = hashlib.sha256(json.dumps([digest.hexdigest(), *sorted(curve)]).encode()).hexdigest()
    run = about["row"] | {"experiment": about["experiment"] and about["experiment"]["id"]}
    epochs = []
    for place, values in enumerate(curve["epochs"].tolist()):
        measures = {name: float(curve[name][place]) for name in curve if name.startswith(MEASURE)}
        own = {name.removeprefix(MEASURE): value for name, value in measures.items() if value == value}
        epoch = {name: None if value != value else value for name, value in zip(EPOCH_COLUMNS, values, strict=True)}
        whole_numbers = {"epoch": int(values[0]), "step": int(values[1])}
        # Safetensors sorts names; pages show the validation part first.
        ordered = sorted(own.items(), key=lambda item: (not item[0].startswith(VALIDATION), item[0]))
        epochs.append(epoch | whole_numbers | {"measures": json.dumps(dict(ordered))})
    of_run = {
        "tags": [{"tag": tag} for tag in about["tags"]],
        "files": [{"name": name, "sha256": sha256} for name, sha256 in about["files"].items()],
        "log": [{"at": at, "text": text} for at, text in about["log"]],
        "transitions": [{"at": at, "state": state} for at, state in about["transitions"]],
        "losses": [
            {"first_step": int(first)}
            | {column: curve[name][end - n : end].tobytes() for column, name in COLUMNS.items()}
            for first, n, end in zip(curve["first"], curve["count"], ends, strict=True)
        ],
        "epochs": epochs,
    }
    experiments = [*([about["experiment"]] if about["experiment"] else []), *about.get("others", [])]
    rows = {table: [{"run": run["id"]} | row for row in found] for table, found in of_run.items()}
    rows["members"] = [{"run": run["id"], "experiment": each["id"]} for each in experiments]
    return rows | {"runs": [run], "experiments": experiments}, (kept["format"], kept["sha256"]) == (FORMAT, whole)
