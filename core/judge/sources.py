"""Where results come from: tables, folders of the Trainer of transformers and of TRL, and MLflow's SQLite file.

The Trainer's ``training_args.bin`` is a pickle and is never read, so that seeds, and learning rates that decay, come
from the names of the folders.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from core.errors import JudgeError, printable
from core.judge.table import LIMITS, MAX_BYTES, MAX_CELLS, MAX_ROWS, Table, read_table, table_of
from core.methods.full import FullSpec
from core.numbers import counted
from core.reader import in_reader
from core.store.judged import ReadFile
from core.zip_file import UntrustedZip, ZipLimits, write_zip

STATE, ADAPTER = "trainer_state.json", "adapter_config.json"

SOURCES = {
    "Trainer": f"Folders of the Trainer of transformers or TRL, as a zip: {STATE} and {ADAPTER} are read.",
    "MLflow": "The SQLite file of MLflow.",
    "Table": "CSV, TSV, JSON lines or Parquet with one row for each run, and the names of the columns above it.",
}
"""Kinds of files, and what each is, in a sentence for the page and the help."""

ZIP, SQLITE = b"PK\x03\x04", b"SQLite format 3\x00"

RESULTS = ("all_results.json", "eval_results.json", "test_results.json", "predict_results.json")
"""What ``Trainer.save_metrics()`` writes."""

READ = (STATE, ADAPTER, *RESULTS)
"""Names of all files that are read of a folder."""

MAX_ENTRIES = 50_000
"""Maximum number of files in a zip of folders."""

PARTS = ("eval_", "test_", "predict_")
"""Beginnings of the names of measures in logs."""

COSTS = ("_runtime", "_samples_per_second", "_steps_per_second", "_model_preparation_time", "_num_tokens")
"""Endings of names in logs that are no measures."""


@dataclass(frozen=True)
class Given:
    """A file as somebody gave it."""

    name: str
    content: bytes

    @property
    def about(self) -> ReadFile:
        """What is kept of the file itself."""
        return ReadFile(printable(self.name, 200), hashlib.sha256(self.content).hexdigest(), len(self.content))

    @cached_property
    def table(self) -> Table:
        """What the file has, read once. Raises: JudgeError: it cannot be read; the message names it."""
        if len(self.content) > MAX_BYTES:
            raise JudgeError(
                f"{printable(self.name)} has more than {MAX_BYTES // 2**20} MiB: leave rows or columns out."
            )
        is_folders = self.content.startswith(ZIP) and STATE.encode() in self.content
        read = read_trainer if is_folders else read_mlflow if self.content.startswith(SQLITE) else read_table
        try:
            return read(self.content)
        except JudgeError as error:
            raise JudgeError(f"{printable(self.name)}: {error}") from error


def given(paths: Sequence[Path]) -> list[Given]:
    """The files that paths name; what is read of folders of the Trainer, or of those below them, becomes one zip.

    Raises:
        JudgeError: one cannot be read, or is too large.
    """
    found, entries = list[Given](), list[tuple[str, bytes]]()
    folders = [path for path in paths if path.is_dir()]
    found += [Given(path.name, _content(path)) for path in paths if path not in folders]
    for folder in folders:
        own = sorted(path for path in folder.rglob("*") if path.name in READ and not path.is_symlink())
        if all(path.name != STATE for path in own):
            raise JudgeError(f"{folder} has no {STATE}: choose a folder that the Trainer has saved to.")
        entries += [(str(Path(folder.name, path.relative_to(folder))), _content(path)) for path in own]
    if folders:
        target = io.BytesIO()
        write_zip(target, entries)
        name = folders[0].name if len(folders) == 1 else f"{len(folders)} folders"
        found.append(Given(f"{name}.zip", target.getvalue()))
    return found


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise JudgeError(f"{printable(str(path), 200)} cannot be read: {reason}.") from error


@in_reader(JudgeError, "The zip of folders", LIMITS)
def read_trainer(content: bytes) -> Table:
    """Read folders of runs in a zip: one row for each run and epoch that was evaluated.

    Raises:
        JudgeError: the zip is damaged, or a file in it is not what the Trainer writes.
    """
    archive = UntrustedZip(content, ZipLimits(MAX_ENTRIES, MAX_BYTES), "The zip", JudgeError)
    entries = {entry.name: entry for entry in archive.entries if entry.name.rpartition("/")[2] in READ}

    def read(folder: str, name: str) -> dict[str, Any]:
        path = f"{folder}/{name}" if folder else name
        try:
            found = json.loads(archive.read(entries[path])) if path in entries else {}
        except (ValueError, RecursionError) as error:
            raise JudgeError(f"{printable(path)} is no JSON: save it again.") from error
        return found if isinstance(found, dict) else {}

    rows: list[dict[str, Any]] = []
    without = 0
    for folder, place in _states(entries).items():
        adapter = read(folder, ADAPTER) or read(place, ADAPTER)
        without += not adapter
        logged = _logged(read(place, STATE), {name: read(folder, name) for name in RESULTS})
        if not logged:
            raise JudgeError(
                f"The {STATE} of {printable(folder)!r} has no measures such as eval_loss: evaluate before saving."
            )
        about = {"folder": folder.rpartition("/")[2] or "run", **_adapted(adapter)}
        rows += [about | row for row in logged]
    notes = [f"{counted(without, 'folder')} without {ADAPTER} counted as full fine-tuning."] if without else []
    return table_of(enumerate(rows, 1), notes)


def _states(entries: Iterable[str]) -> dict[str, str]:
    """Folders of runs, each with the place of its state: the folder itself, else its latest checkpoint."""
    found: dict[str, tuple[float, str]] = {}
    for place in (name.rpartition("/")[0] for name in entries if name.rpartition("/")[2] == STATE):
        checkpoint = re.fullmatch(r"(?:(.*)/)?checkpoint-(\d{1,11})", place)
        folder, order = (checkpoint[1] or "", float(checkpoint[2])) if checkpoint else (place, float("inf"))
        found[folder] = max(found.get(folder, (-1.0, "")), (order, place))
    return {folder: place for folder, (_, place) in sorted(found.items())}


def _adapted(adapter: Mapping[str, Any]) -> dict[str, Any]:
    """Method, rank and alpha of a run, of which the config of its adapter is read."""
    if not adapter:
        return {"method": FullSpec.name()}
    kind = "dora" if adapter.get("use_dora") else str(adapter.get("peft_type", "")).lower()
    targets = adapter.get("target_modules")
    own = {"rank": adapter.get("r"), "alpha": adapter.get("lora_alpha")}
    own["layers"] = " ".join(sorted(map(str, targets))) if isinstance(targets, list) else targets
    own["scaling"] = "alpha/sqrt(r)" if adapter.get("use_rslora") else None
    return {"method": kind or "adapter"} | {name: value for name, value in own.items() if value}


def _logged(state: Mapping[str, Any], results: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The measures of each step at which a run was evaluated, those of the last with what was saved beside the log."""
    history = [dict(entry) for entry in state.get("log_history", ())]
    rates = {entry["learning_rate"] for entry in history if "learning_rate" in entry}
    common = {"learning_rate": rates.pop(), "decay": "constant"} if len(rates) == 1 < len(history) else {}
    for name, key in (("epochs", "num_train_epochs"), ("steps", "global_step")):
        if (value := state.get(key)) is not None and value == int(value):
            common[name] = int(value)
    by_step: dict[float, dict[str, Any]] = {}
    for entry in history:
        if measured := _measures(entry):
            by_step.setdefault(float(entry.get("step", 0)), {}).update({"epoch": entry.get("epoch")} | measured)
    saved = {name: value for each in results.values() for name, value in _measures(each).items()}
    if saved or by_step:
        last = by_step.setdefault(max(by_step, default=0.0), {})
        last |= saved | last
    return [common | row for _, row in sorted(by_step.items())]


def _measures(entry: Mapping[str, Any]) -> dict[str, Any]:
    known = {name: value for name, value in entry.items() if name.startswith(PARTS) and not name.endswith(COSTS)}
    return {name: value for name, value in known.items() if isinstance(value, int | float)}


WAL = 2
"""Version in the header of a SQLite file with a log beside it, which a file in memory cannot have."""

OURS = "lora_lab."
"""Beginning of the tags of a run that this lab has sent."""

PREFIXES = ("method.", "optim.", "result/")
"""What such a run has before the names that exported tables have; see :mod:`core.tracking.tracker`."""

STATES = {"FINISHED": "finished", "FAILED": "failed"}

RUNS = """
SELECT r.run_uuid AS id, r.name, r.status, e.name AS experiment FROM runs r
JOIN experiments e ON e.experiment_id = r.experiment_id WHERE r.lifecycle_stage = 'active'
ORDER BY r.start_time, r.run_uuid LIMIT ?"""

VALUES = """
SELECT run_uuid AS id, key, value FROM params UNION ALL
SELECT run_uuid, key || CASE WHEN key IN
    (SELECT key FROM metrics GROUP BY run_uuid, key HAVING count(DISTINCT step) > 1) THEN ' (last)' ELSE '' END,
CASE WHEN is_nan THEN NULL ELSE value END FROM latest_metrics LIMIT ?"""
"""Params before metrics, which do not take their names. A metric with several steps is called as in ``loss (last)``."""


@in_reader(JudgeError, "The SQLite file", LIMITS)
def read_mlflow(content: bytes) -> Table:
    """Read a file of MLflow: one row for each run, with its params and its metrics.

    Raises:
        JudgeError: it is no file of MLflow.
    """
    header = bytearray(content[:20])
    header[18:20] = (min(header[18], WAL - 1), min(header[19], WAL - 1))
    with closing(sqlite3.connect(":memory:")) as db:
        db.deserialize(bytes(header) + content[20:])
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA trusted_schema = OFF")
        there = {row["name"] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        for name in ("experiments", "runs", "params", "latest_metrics", "metrics", "tags"):
            if name not in there:
                raise JudgeError(f"The SQLite file is not one of MLflow: it has no table {name}.")
        return table_of(_tracked(db))


def _tracked(db: sqlite3.Connection) -> Iterator[tuple[int, dict[str, Any]]]:
    values, tags = _by_run(db, VALUES), _by_run(db, "SELECT run_uuid AS id, key, value FROM tags LIMIT ?")
    measured = {row["id"] for row in db.execute("SELECT run_uuid AS id FROM latest_metrics LIMIT ?", (MAX_CELLS,))}
    runs = db.execute(RUNS, (MAX_ROWS,)).fetchall()
    names = {row["id"]: row["name"] for row in runs}
    for number, run in enumerate(runs, 1):
        own, tag = values.get(run["id"], {}), tags.get(run["id"], {})
        row = {"run": run["id"], "name": run["name"], "state": STATES.get(run["status"], "stopped")}
        row["experiment"] = names.get(tag.get("mlflow.parentRunId"), run["experiment"])
        if f"{OURS}run" in tag:
            row |= {"run": tag[f"{OURS}run"], "state": tag.get(f"{OURS}state", row["state"])}
            bare = {"seed": own.get("seed")}
            for key, value in own.items():  # params first, whose names no result takes
                if part := next((part for part in PREFIXES if key.startswith(part)), ""):
                    bare.setdefault(key.removeprefix(part), value)
            own = {"method": bare.pop("kind", None)} | bare
        elif run["id"] not in measured:
            continue  # a group of runs
        yield number, row | own | row


def _by_run(db: sqlite3.Connection, query: str) -> dict[str, dict[str, Any]]:
    """Values by run and key, of which the first counts."""
    found: dict[str, dict[str, Any]] = {}
    for row in db.execute(query, (MAX_CELLS,)):
        found.setdefault(row["id"], {}).setdefault(str(row["key"]), row["value"])
    return found
