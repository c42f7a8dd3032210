"""Reading the file of an experiment for a command; a network that it names is brought."""

from __future__ import annotations

from pathlib import Path

from core.cli.networks import network_named
from core.errors import LabError
from core.lab import Lab
from core.plan.configuration import Configuration
from core.plan.configuration_file import MAX_FILE, read_configuration
from core.spec import Device


def configuration_in(lab: Lab, file: Path, device: Device | None) -> Configuration:
    """The configuration in a file.

    Args:
        lab: has datasets and networks.
        file: see :mod:`core.plan.configuration_file`.
        device: where to train; None for where the file says.

    Raises:
        LabError: there is no such file, or something is wrong with it.
    """
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_FILE + 1)
    except OSError as error:
        raise LabError(f"{file} cannot be read: {error.strerror}.") from error
    found = read_configuration(
        content, lab.catalog, lab.networks, lambda name: network_named(lab.networks, name, folders=False)
    )
    if device is None:
        return found
    base = None if found.base is None else found.base.but(device=device)
    return found.but(base=base, device=device)
