"""Functions that run in the reader, whoever calls them."""

from __future__ import annotations

import functools
import inspect
import threading
import typing
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, ParamSpec, TypeVar, cast

from core.errors import LabError
from core.reader import process
from core.reader.limits import Limits
from core.reader.values import ShapeError, decode, encode

P = ParamSpec("P")
T = TypeVar("T")

LARGE = 2**29
"""Files that may take more bytes of memory than this are read one at a time, so that their sum stays bounded."""

_large = threading.Lock()

is_reader = False
"""Whether this process is the reader, so that nothing is passed on."""

_thread = threading.local()


@contextmanager
def reading_here() -> Iterator[None]:
    """Within this context the thread reads files by itself: those that LoRA Lab wrote, with their SHA-256 checked."""
    _thread.reads = True
    try:
        yield
    finally:
        _thread.reads = False


def in_reader(
    error: type[LabError], what: str = "The file", limits: Limits | None = None, imports: tuple[str, ...] = ()
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Have a function of a module run in the reader.

    Its arguments and its result have types that :mod:`core.reader.values` can pass on. Where it has parameters called
    ``error`` or ``what``, they stand for those of this decorator.

    Args:
        error: class of the error for a file that ends the reader, or exceeds a limit.
        what: subject of that sentence.
        limits: on one call.
        imports: modules that the function imports when it is called; the reader imports them once, for all calls.
    """
    bounds = limits or Limits()

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def read(*args: P.args, **kwargs: P.kwargs) -> T:
            if is_reader or getattr(_thread, "reads", False):
                return function(*args, **kwargs)
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            subject, kind = bound.arguments.get("what", what), bound.arguments.get("error", error)
            parts: list[memoryview] = []
            request = [
                function.__module__,
                function.__qualname__,
                encode(bounds, parts),
                encode(bound.arguments, parts),
            ]
            with _large if bounds.memory > LARGE else nullcontext():
                answer, buffers, status = process.ask(request, parts, bounds, imports)
            if answer is None:
                raise kind(bounds.sentence(subject, status))
            return cast(T, _result(function, answer, buffers, subject, kind, bounds))

        return read

    return decorate


def run(request: Any, parts: list[memoryview]) -> tuple[Any, list[memoryview]]:
    """Run what was asked for, in the reader. Returns: the answer, and the bytes of its arrays."""
    module, name, _, arguments = request
    function = inspect.unwrap(getattr(__import__(module, fromlist=[name]), name))
    hints = typing.get_type_hints(function)
    given = {key: decode(hints[key], value, parts) for key, value in arguments.items()}
    out: list[memoryview] = []
    try:
        return {"result": encode(function(**given), out)}, out
    except LabError as problem:
        return {"error": type(problem).__name__, "sentence": str(problem)}, []


def limits_of(request: Any) -> Limits:
    """The limits of a request."""
    found: Limits = decode(Limits, request[2], [])
    return found


def _result(
    function: Callable[..., Any], answer: Any, parts: list[memoryview], what: str, error: type[LabError], limits: Limits
) -> Any:
    """The result of a call. Raises: LabError: as the function did; or its result has another type than it declares."""
    try:
        if "result" in answer:
            return decode(typing.get_type_hints(function)["return"], answer["result"], parts)
        kind: type[LabError] = decode(type[LabError], answer["error"], [])
        sentence = decode(str, answer["sentence"], [])
    except (ShapeError, LookupError, TypeError) as problem:
        raise error(limits.sentence(what, 1)) from problem
    found = kind.__new__(kind)
    Exception.__init__(found, sentence)
    raise found
