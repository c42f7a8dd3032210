"""How well a base does before fine-tuning: evaluated once for all runs that start from it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from cachetools import LRUCache

from core.data.sources.source import Revision
from core.data.task_spec import TaskSpec
from core.training.evaluation import Evaluation

Pair = tuple[Evaluation, Evaluation | None]
"""Evaluations of a base on its target and, if there is one, on its source."""

Key = tuple[str, tuple[tuple[TaskSpec, Revision], ...], str]
"""SHA-256 of the base's file, or digest of a network that was imported; target and, if there is one, source, each with
the revision of its dataset; device."""

REMEMBERED = 64
"""Evaluations that are kept; each has a predicted label per test example."""


class BaseEvaluations:
    """Evaluations of bases on test parts, which are the same for every run of an experiment."""

    def __init__(self) -> None:
        self._known: LRUCache[Key, Pair] = LRUCache(REMEMBERED)
        self._lock = threading.Lock()

    def get(self, key: Key | None, evaluate: Callable[[], Pair]) -> Pair:
        """The evaluation of a base.

        Args:
            key: what was evaluated on what; None where the base's file has no known hash, so that nothing is kept.
            evaluate: evaluates it, if that has not been done yet.
        """
        if key is None:
            return evaluate()
        with self._lock:
            found = self._known.get(key)
        if found is None:
            found = evaluate()
            with self._lock:
                self._known[key] = found
        return found
