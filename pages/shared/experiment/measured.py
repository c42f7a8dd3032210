"""Cached measurements of stored networks, for pages that are redrawn at every click."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import streamlit as st

from core.lab import Lab
from core.results.arm import Arm
from core.store.record import Run

P = ParamSpec("P")
T = TypeVar("T")


def measured(measure: Callable[Concatenate[Lab, P], T], lab: Lab, *args: P.args, **kwargs: P.kwargs) -> T:
    """Call ``measure(lab, *args, **kwargs)``, or return what the same call returned before.

    A run stands for its networks, which never change once it has finished, so runs and arms are compared by the ids
    of runs and when they ended.

    Args:
        measure: a module-level function such as those of :mod:`core.study.weights.remeasured`.
        lab: first argument of ``measure``; not part of the cache key.
        *args: further arguments of ``measure``.
        **kwargs: further arguments of ``measure``, by name.

    Raises:
        LabError: raised by ``measure``; errors are not cached.
    """
    result: T = _measured(f"{measure.__module__}.{measure.__qualname__}", measure, lab, args, kwargs)
    return result


def measured_unseen(measure: Callable[Concatenate[Lab, P], T], lab: Lab, *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what :func:`measured` returns, in a thread without a page, where no spinner can be drawn."""
    result: T = _unseen(f"{measure.__module__}.{measure.__qualname__}", measure, lab, args, kwargs)
    return result


def _call(name: str, _measure: Callable[..., Any], _lab: Lab, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call ``_measure``; Streamlit leaves arguments with an underscore out of the cache key."""
    return _measure(_lab, *args, **kwargs)


_CACHE: dict[str, Any] = {
    "max_entries": 1_000,
    "hash_funcs": {
        Run: lambda run: (run.id, run.ended),
        Arm: lambda arm: [(run.id, run.ended) for run in arm.runs],
    },
}
# Both are of one function, so that Streamlit keeps their results in one cache.
_measured = st.cache_data(
    show_spinner="Measuring stored networks. With transformers this takes minutes, and is done once.", **_CACHE
)(_call)
_unseen = st.cache_data(show_spinner=False, **_CACHE)(_call)
