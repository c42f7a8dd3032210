"""Files of an archive, or rows of a table, that cannot be used: told one by one, and left out if a person says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from core.data.uploads.limits import MAX_TEXTS
from core.errors import DatasetError

MAX_TOLD = 100
"""Faults that are told one by one."""

T = TypeVar("T")


@dataclass
class Faults:
    """What is wrong with some files or rows of an upload."""

    told: list[str] = field(default_factory=list)
    """A sentence for each of the first ones."""
    count: int = 0
    """Number of all of them."""

    def add(self, sentence: str) -> None:
        """Note one more."""
        self.count += 1
        if len(self.told) < MAX_TOLD:
            self.told.append(sentence)

    def plus(self, other: Faults) -> Faults:
        """These and then others."""
        return Faults([*self.told, *other.told][:MAX_TOLD], self.count + other.count)

    def check(self, usable: int, leave_out: bool) -> None:
        """Check that the rest may be used.

        Args:
            usable: number of files or rows without a fault.
            leave_out: whether those with one may be left out.

        Raises:
            DatasetError: they may not; or most have one, so that the whole upload is something else.
        """
        if self.count > (usable if leave_out else 0):
            more = f" {self.count - 1:,} more cannot be used." if self.count > 1 else ""
            raise DatasetError(f"{self.told[0]}{more}")

    def check_so_far(self, usable: int, empty: int) -> None:
        """Check, while rows are read, that not too many are of no use. Raises: DatasetError: there are."""
        if self.count + empty > MAX_TEXTS:
            self.check(usable, leave_out=True)
            raise DatasetError(f"More than {MAX_TEXTS:,} rows of the file are empty or cannot be used: leave them out.")

    def without(self, make: Callable[[], T], what: str) -> T:
        """Make something of the rest.

        Args:
            make: makes it.
            what: the files or rows are, in the plural.

        Raises:
            DatasetError: the rest is not enough.
        """
        try:
            return make()
        except DatasetError as error:
            if not self.count:
                raise
            raise DatasetError(f"{self.told[0]} Without the {what} that cannot be used: {error}") from error
