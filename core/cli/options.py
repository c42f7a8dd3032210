"""Options that several commands share, and options that are fields of specs."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from core.errors import LabError, UnknownRunError
from core.lab import Lab
from core.settings import Settings
from core.spec import Spec, bounds

RUNS_KEPT = (
    "Every run is kept with its progress. To go on, run python -m core grow with the id that list prints and --finish, "
    "or start the dashboard on the same home folder (streamlit run app.py) and press Finish under Experiments."
)
LATEST = 5
"""Experiments that are named where there is none of the id that was given."""

TRACK_SECONDS = 60.0
"""Maximum time that a command waits for trackers at its end."""

NOTHING_KEPT = "Nothing was kept."
"""What is kept of a command that a signal ends: a command sets one of these as ``kept``, or a sentence of its own."""


class _Given(argparse.Action):
    """Stores a value, and adds the option's name to ``given``, so that a default can be told from what was typed."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: Any = None
    ) -> None:
        setattr(namespace, self.dest, values)
        namespace.given = (*getattr(namespace, "given", ()), self.option_strings[0])


class _Switch(_Given):
    """An option without a value."""

    def __init__(self, option_strings: list[str], dest: str, default: bool = False, help: str | None = None) -> None:
        super().__init__(option_strings, dest, nargs=0, default=default, help=help)

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: Any = None
    ) -> None:
        super().__call__(parser, namespace, True, option_string)


def note_given(parser: argparse.ArgumentParser) -> None:
    """Have the options that are added from now on noted by their names, as ``given``, where they are used."""
    parser.register("action", None, _Given)
    parser.register("action", "store_true", _Switch)
    parser.set_defaults(given=())


def add_home(parser: argparse._ActionsContainer) -> None:
    """Add ``--home``, for :meth:`core.settings.Settings.from_environment`."""
    parser.add_argument("--home", type=Path, help="folder for runs and datasets (default: LORA_LAB_HOME)")


@contextmanager
def opened_lab(options: argparse.Namespace, trains: bool = False) -> Iterator[Lab]:
    """The lab of the home folder that ``--home`` names, closed at the end. Args: trains: whether it runs what waits.

    Raises:
        UnknownRunError: the body asked for what is not there; the sentence names what is.
    """
    lab = Lab(Settings.from_environment(options.home))
    if trains:
        lab.start()
    try:
        yield lab
        lab.tracking.close(TRACK_SECONDS)  # whoever breaks off does not wait for trackers
    except UnknownRunError as error:
        latest = [f"{experiment.id} ({experiment.name})" for experiment in lab.store.experiments(LATEST)]
        there = f"The latest experiments are {'; '.join(latest)}" if latest else "No experiment is"
        raise UnknownRunError(f"{error} {there} in {lab.settings.home}.") from error
    finally:
        lab.close()


def add_output(parser: argparse._ActionsContainer) -> None:
    """Add the options of a command that prints a comparison; see :func:`check_output`."""
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the decision report, one HTML file")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")


def check_output(options: argparse.Namespace) -> None:
    """Check the options of :func:`add_output` before anything is trained.

    Raises:
        LabError: the report cannot be written there.
    """
    if options.report:
        check_folder(options.report)


def check_folder(file: Path) -> None:
    """Check that a file can be written where an option says. Raises: LabError: it is a folder, or has none."""
    if os.path.isdir(file):  # unlike Path.is_dir(), False for a name that is too long
        raise LabError(f"{file} is a folder: name a file in it.")
    if not os.path.isdir(file.absolute().parent):
        raise LabError(f"The folder of {file} does not exist: make it, or name another file.")


def add_field(
    parser: argparse._ActionsContainer,
    flag: str,
    spec: type[Spec],
    field: str,
    more: str = "",
    shown: object = None,
    **settings: Any,
) -> None:
    """Add an option with the type, meaning, default and bounds of a spec's field.

    Args:
        parser: of the command, or one of its groups of options.
        flag: the option, as in ``--rank``.
        spec: the class of the spec.
        field: its field: a number, one of several words, or yes or no.
        more: what the value is of, after the field's title.
        shown: the default in words; None shows the value itself.
        settings: of :meth:`argparse.ArgumentParser.add_argument`; ``default`` replaces that of the field.
    """
    about, kind = bounds(spec, field), spec.model_fields[field].annotation
    default = settings.setdefault("default", about.default)
    shown = shown or (default[0] if isinstance(default, list) else default)
    limits = f"{about.low:g} to {about.high:g}" if about.low is not None and about.high is not None else ""
    title = f"{about.title}, {more}" if more else about.title
    notes = "; ".join(filter(None, [limits, f"default {shown}"]))
    if kind is bool:
        settings["action"] = "store_true"
    else:
        settings |= {"choices": get_args(kind)} if get_origin(kind) is Literal else {"type": number_type(kind)}
    parser.add_argument(flag, help=f"{title}: {about.description} ({notes})".replace("%", "%%"), **settings)


def number_type(annotation: Any) -> type[int] | type[float]:
    """The type of numbers in a field's annotation, such as ``int | None``."""
    return int if int in (annotation, *get_args(annotation)) else float
