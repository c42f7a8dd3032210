"""Disk usage of the home folder, and the limit on it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from core.errors import LabError, StorageFullError
from core.forecast.forecast import plan
from core.methods.method import Role
from core.run_spec import RunSpec
from core.settings import Settings
from core.store.record import WAITING
from core.store.store import Store
from core.tasks.tasks import Tasks
from core.training.schedule import total_steps

STEP_BYTES = 2 * 12
"""Bytes stored per step: a float32 loss and a float64 time, once in the store and once in the run's folder."""

FILE_BYTES = 2**13
"""Bytes of a weights file besides the weights: names and shapes, model card, certificate."""


NO_ROOM = "Its checkpoint was removed to make room for other runs: finished, it trains again from its first step."


@dataclass(frozen=True)
class Usage:
    """Bytes in the home folder, by category."""

    runs: int
    """Files of runs."""
    store: int
    """The store, with the curves of all runs, and its backups."""
    datasets: int
    networks: int
    """Imported networks, and what has arrived of others."""
    limit: int

    @property
    def total(self) -> int:
        """Bytes of all categories together."""
        return self.runs + self.store + self.datasets + self.networks


class DiskUsage:
    """Measures the disk usage of a home folder. Any thread may call any method."""

    def __init__(self, settings: Settings, store: Store, tasks: Tasks) -> None:
        self._settings = settings
        self._store = store
        self._tasks = tasks
        self._known: dict[str, tuple[int, int]] = {}
        """Modification time and bytes of each run's folder, by name."""

    def measure(self) -> Usage:
        """Current usage."""
        path = self._settings.store
        # A SQLite file never shrinks, but freed pages are used again, so they count as free.
        ((free,),) = self._store.rows("SELECT freelist_count * page_size FROM pragma_freelist_count, pragma_page_size")
        return Usage(
            runs=sum(self._of_runs().values()),
            store=max(0, sum(_size(path.with_name(path.name + end)) for end in ("", "-wal")) - free)
            + _tree(self._settings.backups),
            datasets=_tree(self._settings.datasets),
            networks=_tree(self._settings.networks),
            limit=self._settings.max_stored_bytes,
        )

    def obstacle(self) -> str | None:
        """Why nothing can be written now, and what that means for runs; None if it can, as far as is known."""
        found = self._store.obstacle
        later = "Until then pages show runs as they were last written: what seems to train may have broken off."
        return found and f"{found} {later}"

    def of(self, ids: Iterable[str]) -> int:
        """Bytes of the files of these runs."""
        return sum(_tree(self._settings.runs / id) for id in ids)

    def expected(self, specs: Iterable[RunSpec]) -> int:
        """Bytes that the files of these runs will take."""
        return sum(map(self._expected, specs))

    def check(self, specs: Iterable[RunSpec]) -> None:
        """Check that there is room for the files of these runs, and of those that are queued or running already.

        Raises:
            StorageFullError: there is not enough room.
        """
        waiting = [run.spec for run in self._store.runs(states=WAITING)]
        sizes: dict[RunSpec, int] = {}
        coming = 0
        for spec in (*specs, *waiting):
            like = spec.but(seed=0)
            if like not in sizes:
                sizes[like] = self._expected(spec)
            coming += sizes[like]
        self.check_bytes(coming)

    def check_bytes(self, coming: int) -> None:
        """Check that there is room for so many bytes; checkpoints of stopped runs make room if that is enough.

        Raises:
            StorageFullError: there is not enough room.
        """
        used, limit = self.measure().total, self._settings.max_stored_bytes
        if used + coming > limit and not self._make_room(used + coming - limit):
            raise StorageFullError(
                f"LoRA Lab stores {used / 1e9:.2f} GB, and this would bring it to {(used + coming) / 1e9:.2f} GB; "
                f"the limit is {limit / 1e9:g} GB: delete runs under Experiments, or raise LORA_LAB_MAX_GB."
            )

    def _make_room(self, missing: int) -> bool:
        """Remove checkpoints of stopped runs, of archived ones and the oldest first, until so many bytes are free.

        Such a run can still be finished, from its first step. Returns: whether there were enough; else none is removed.
        """
        paths = {id: self._settings.runs / id / name for id, name in self._store.stopped_checkpoints().items()}
        sizes = {id: _size(path) for id, path in paths.items()}
        if sum(sizes.values()) < missing:
            return False
        for id, path in paths.items():
            if missing > 0 and self._store.drop_checkpoint(id, NO_ROOM):
                path.unlink(missing_ok=True)
                missing -= sizes[id]
        return missing <= 0

    def _expected(self, spec: RunSpec) -> int:
        """Bytes that a run will store: its file of weights, its predictions and its curve."""
        sizes = plan(spec.trained_network, spec.method)
        weights = 4 * (sizes.trainable_parameters if spec.role is Role.ADAPTER else sizes.parameters)
        try:
            outline = self._tasks.outline(spec.task)
            examples, tests = len(outline.train), len(outline.test)
        except LabError:
            examples = tests = 0  # its dataset is gone, so it will fail
        steps = total_steps(spec.optim, examples)
        return FILE_BYTES + weights + tests + STEP_BYTES * steps

    def _of_runs(self) -> dict[str, int]:
        """Bytes of each run's folder; cached until the folder's modification time changes."""
        known: dict[str, tuple[int, int]] = {}
        try:
            with os.scandir(self._settings.runs) as folders:
                for folder in folders:
                    try:
                        changed = folder.stat().st_mtime_ns
                    except FileNotFoundError:
                        continue  # deleted meanwhile
                    before = self._known.get(folder.name)
                    fresh = before if before and before[0] == changed else (changed, _tree(Path(folder.path)))
                    known[folder.name] = fresh
        except FileNotFoundError:
            pass
        self._known = known
        return {name: size for name, (_, size) in known.items()}


def _tree(folder: Path) -> int:
    """Bytes of all files below a folder; 0 if it does not exist."""
    total = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    total += _tree(Path(entry.path))
                else:
                    total += _size(Path(entry.path))
    except (FileNotFoundError, NotADirectoryError):
        pass
    return total


def _size(path: Path) -> int:
    try:
        return os.lstat(path).st_size
    except FileNotFoundError:
        return 0
