"""The reader: a process with limits, in which files that somebody else wrote are opened.

A function that parses such a file is marked with :func:`in_reader`. Whoever calls it, a page, a command or a node
of a cluster, has it run in a process of its own, with limits on memory, time and what it may return:

>>> @in_reader(DatasetError)
... def read_table(content: bytes) -> Table: ...

What goes wrong there, a crash included, is one sentence here. What comes back has the declared type: see
:mod:`core.reader.values`. Weights are not read there, since gigabytes do not go through a socket.
"""

from core.reader.limits import Limits
from core.reader.opening import in_reader, reading_here, reads_here

__all__ = ["Limits", "in_reader", "reading_here", "reads_here"]
