"""Folders that the Trainer of transformers and that of TRL write: measures, rank and alpha of each run.

``training_args.bin`` is a pickle and is never read, so that seeds, and learning rates that decay, come from the names
of the folders.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from core.errors import JudgeError, os_error_as, printable
from core.judge.table import LIMITS, MAX_BYTES, Table, cell_text, table_of
from core.numbers import counted
from core.reader import in_reader
from core.zip_file import UntrustedZip, ZipLimits, write_zip

STATE, ADAPTER = "trainer_state.json", "adapter_config.json"

RESULTS = ("all_results.json", "eval_results.json", "test_results.json", "predict_results.json")
"""What ``Trainer.save_metrics()`` writes."""

READ = (STATE, ADAPTER, *RESULTS)
"""Names of all files that are read."""

CHECKPOINT = "checkpoint-"

MAX_ENTRIES = 50_000
"""Maximum number of files in a zip of folders."""

MAX_JSON = 32 * 2**20
"""Maximum size of one of the files."""

PARTS = ("eval_", "test_", "predict_")
"""Beginnings of the names of measures in logs."""

COSTS = ("_runtime", "_samples_per_second", "_steps_per_second", "_model_preparation_time", "_num_tokens")
"""Endings of names in logs that are no measures."""


def packed(folders: Iterable[Path]) -> bytes:
    """Put what is read of some folders into a zip, named by the folders.

    Args:
        folders: each the folder of a run, or one with several below it.

    Raises:
        JudgeError: there is no run in one of them, or it cannot be read.
    """
    entries: list[tuple[str, bytes]] = []
    for folder in folders:
        before = len(entries)
        for place, names, files in os.walk(folder, followlinks=False):
            names.sort()
            for name in sorted(files):
                path = Path(place, name)
                if name in READ and not path.is_symlink():
                    if len(entries) == MAX_ENTRIES:
                        raise JudgeError(f"{folder} has more than {MAX_ENTRIES:,} files of runs: choose fewer folders.")
                    entries.append((str(Path(folder.name, path.relative_to(folder))), _content(path)))
        if not any(name.rpartition("/")[2] == STATE for name, _ in entries[before:]):
            raise JudgeError(f"{folder} has no {STATE}: choose a folder that the Trainer has saved to.")
    target = io.BytesIO()
    write_zip(target, entries)
    return target.getvalue()


def _content(path: Path) -> bytes:
    with os_error_as(JudgeError, f"{path} cannot be read"), path.open("rb") as file:
        found = file.read(MAX_JSON + 1)
    if len(found) > MAX_JSON:
        raise JudgeError(f"{path} has more than {MAX_JSON // 2**20} MiB: leave it out.")
    return found


@in_reader(JudgeError, "The zip of folders", LIMITS)
def read_trainer(content: bytes) -> Table:
    """Read a zip of folders: one row for each run and epoch that was evaluated.

    Raises:
        JudgeError: the zip is damaged, or a file in it is not what the Trainer writes.
    """
    archive = UntrustedZip(content, ZipLimits(MAX_ENTRIES, MAX_BYTES), "The zip", JudgeError)
    entries = {entry.name: entry for entry in archive.entries if entry.name.rpartition("/")[2] in READ}

    def read(name: str) -> Any:
        if name not in entries:
            return None
        if entries[name].size > MAX_JSON:
            raise JudgeError(f"{printable(name)} has more than {MAX_JSON // 2**20} MiB: leave it out.")
        try:
            return json.loads(archive.read(entries[name]))
        except (ValueError, RecursionError) as error:
            raise JudgeError(f"{printable(name)} is no JSON: save it again.") from error

    states = _states(entries)
    rows: list[dict[str, str]] = []
    without = 0
    for folder, place in states.items():
        adapter = next(filter(None, (read(_join(at, ADAPTER)) for at in (folder, place))), None)
        without += adapter is None
        about = _about(folder, adapter)
        results: dict[str, Any] = {}
        for name in RESULTS:
            found = read(_join(folder, name))
            results |= found if isinstance(found, dict) else {}
        rows += _rows(folder, read(_join(place, STATE)), about, results)
    notes = [f"{counted(without, 'folder')} without {ADAPTER} counted as full fine-tuning."] if without else []
    return table_of(enumerate(rows, 1), "Log entry", notes)


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _states(entries: Iterable[str]) -> dict[str, str]:
    """Folders of runs, each with the place of its state: the folder itself, else its latest checkpoint."""
    found: dict[str, tuple[float, str]] = {}
    for name in entries:
        place, _, file = name.rpartition("/")
        if file != STATE:
            continue
        above, _, last = place.rpartition("/")
        number = last.removeprefix(CHECKPOINT)
        is_checkpoint = last.startswith(CHECKPOINT) and number.isdecimal() and len(number) < 12
        folder, order = (above, float(number)) if is_checkpoint else (place, float("inf"))
        if folder not in found or found[folder][0] < order:
            found[folder] = order, place
    return {folder: place for folder, (_, place) in sorted(found.items())}


def _about(folder: str, adapter: object) -> dict[str, str]:
    """Method, rank and alpha of a run."""
    name = folder.rpartition("/")[2] or "run"
    if not isinstance(adapter, dict):
        return {"folder": name, "method": "full"}
    kind = "dora" if adapter.get("use_dora") else str(adapter.get("peft_type", "")).lower()
    targets = adapter.get("target_modules")
    layers = " ".join(sorted(map(str, targets))) if isinstance(targets, list) else targets
    own = {"rank": adapter.get("r"), "alpha": adapter.get("lora_alpha"), "layers": layers}
    own |= {"scaling": "alpha/sqrt(r)" if adapter.get("use_rslora") else None}
    return {"folder": name, "method": kind or "adapter"} | {
        name: text for name, value in own.items() if (text := cell_text(value))
    }


def _rows(folder: str, state: object, about: Mapping[str, str], results: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    history = state.get("log_history") if isinstance(state, dict) else None
    if not isinstance(state, dict) or not isinstance(history, list) or not all(isinstance(e, dict) for e in history):
        raise JudgeError(f"{printable(_join(folder, STATE))} has no log_history: it is not what the Trainer writes.")
    rates = {entry["learning_rate"] for entry in history if isinstance(entry.get("learning_rate"), int | float)}
    common = dict(about)
    if len(rates) == 1 and len(history) > 1:
        common |= {"learning_rate": repr(rates.pop()), "decay": "constant"}
    for name, key in (("epochs", "num_train_epochs"), ("steps", "global_step")):
        if isinstance(state.get(key), int | float) and state[key] == int(state[key]):
            common[name] = str(int(state[key]))
    by_step: dict[float, dict[str, str]] = {}
    for entry in history:
        if measured := dict(_measures(entry)):
            step = entry.get("step")
            place = by_step.setdefault(float(step) if isinstance(step, int | float) else 0.0, {})
            place.update({"epoch": cell_text(entry.get("epoch")) or ""} | measured)
    if not by_step:
        by_step[0.0] = {}
    last = by_step[max(by_step)]
    last |= {name: text for name, text in _measures(results) if name not in last}
    if not any(dict(row).keys() - {"epoch"} for row in by_step.values()):
        raise JudgeError(
            f"{printable(_join(folder, STATE))} has no measures such as eval_loss: evaluate before saving."
        )
    for _, measured in sorted(by_step.items()):
        yield {**common, **measured}


def _measures(entry: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in entry.items():
        if str(name).startswith(PARTS) and not str(name).endswith(COSTS) and isinstance(value, int | float):
            yield str(name), repr(value)
