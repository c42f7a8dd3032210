"""Functions that run in the reader, whoever calls them."""

from __future__ import annotations

import functools
import inspect
import os
import threading
import typing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar, cast

import msgspec

from core.errors import LabError
from core.reader import process
from core.reader.process import Limits
from core.reader.values import decode, encode, encode_parts

WAIT_SECONDS = 0.5
"""Interval at which those who wait are told so."""


class Budget:
    """Bytes, of which a file takes its limit while it is read, and waits while too few are left."""

    def __init__(self, total: int) -> None:
        """Args: total: number of bytes."""
        self._total = self._left = total
        self._returned = threading.Condition()

    @contextmanager
    def taken(self, size: int, waits: Callable[[bool], object]) -> Iterator[None]:
        """Take bytes within this context.

        Args:
            size: number of bytes; all of them if it is more.
            waits: called with True again and again while others have them, and then with False.
        """
        size, has_waited = min(size, self._total), False
        while not self._change(-size):
            has_waited = True
            waits(True)
        try:
            if has_waited:
                waits(False)
            yield
        finally:
            self._change(size)

    def _change(self, by: int) -> bool:
        """Take bytes or give them back. Returns: False if there were too few for a while."""
        with self._returned:
            found = self._returned.wait_for(lambda: self._left + by >= 0, WAIT_SECONDS)
            self._left += by * found
            self._returned.notify_all()
            return found


P = ParamSpec("P")
T = TypeVar("T")

MAX_TOGETHER = 2**32
"""Bytes of memory of all files that are read at the same time."""

_budget = Budget(MAX_TOGETHER)


def _after_fork() -> None:
    """Have a budget of one's own: nobody gives back what other threads of the parent have taken."""
    global _budget
    _budget = Budget(MAX_TOGETHER)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

is_reader = False
"""Whether this process is the reader, so that nothing is passed on."""

_thread = threading.local()

WAITS: ContextVar[Callable[[bool], object]] = ContextVar("waits", default=lambda is_waiting: None)
"""What is told in this context when a file waits for others; see :meth:`core.reader.opening.Budget.taken`."""


@contextmanager
def reading_here() -> Iterator[None]:
    """Within this context the thread reads files by itself: those that LoRA Lab wrote, with their SHA-256 checked."""
    before = getattr(_thread, "reads", False)
    _thread.reads = True
    try:
        yield
    finally:
        _thread.reads = before


def reads_here() -> bool:
    """Whether files are read in this process: in the reader, and within :func:`reading_here`."""
    return is_reader or getattr(_thread, "reads", False)


def in_reader(
    error: type[LabError], what: str = "The file", limits: Limits | None = None, imports: tuple[str, ...] = ()
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Have a function of a module run in the reader.

    Its arguments and its result have types that :mod:`core.reader.values` can pass on. Where it has parameters called
    ``error`` or ``what``, they stand for those of this decorator.

    Args:
        error: class of the error for a file that ends the reader, or exceeds a limit.
        what: subject of that sentence.
        limits: on one call; of those of a small file see :meth:`Limits.of_arguments`.
        imports: modules that the function imports when it is called; the reader imports them once, for all calls.
    """
    bounds = limits or Limits()

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def read(*args: P.args, **kwargs: P.kwargs) -> T:
            if reads_here():
                return function(*args, **kwargs)
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            given = bound.arguments
            kind, subject = given.get("error", error), given.get("what", what)
            try:
                arguments = encode_parts(given.values())
            except UnicodeEncodeError as problem:
                raise kind(f"{subject} has characters in it that are no text: choose another one.") from problem
            limits = bounds.of_arguments(sum(map(len, arguments)))
            request = [encode([function.__module__, function.__qualname__, limits])], arguments
            with _budget.taken(limits.memory, WAITS.get()):
                answer, code = process.ask(request, limits, (function.__module__, *imports))
            try:
                name, sentence, result = decode(tuple[str, str, msgspec.Raw], answer)
                if not name:
                    return cast(T, decode(typing.get_type_hints(function)["return"], result))
                made = decode(type[LabError], encode(name))
            except msgspec.DecodeError as problem:
                raise kind(limits.sentence(subject, code)) from problem
            raise _error(made, sentence)  # not from a variable: its traceback would keep the file in a circle

        return read

    return decorate


def _error(kind: type[LabError], sentence: str) -> LabError:
    """An error of a class, whose own way to make it may take other arguments."""
    found = kind.__new__(kind)
    Exception.__init__(found, sentence)
    return found


def run(module: str, name: str, arguments: bytes) -> bytes:
    """Run a function in the reader. Returns: the name of an error and its sentence, or its result."""
    function: Callable[..., Any] = inspect.unwrap(getattr(__import__(module, fromlist=[name]), name))
    hints = typing.get_type_hints(function)
    kinds = tuple(hints[parameter] for parameter in inspect.signature(function).parameters)
    try:
        return encode(["", "", function(*decode(tuple[kinds], arguments))])  # type: ignore[valid-type]
    except LabError as error:
        return encode([type(error).__name__, str(error).encode("utf-8", "replace").decode(), None])
