"""The reader: a process with limits, in which files that somebody else wrote are opened.

A function that parses such a file is marked with :func:`in_reader`. Whoever calls it, a page, a command or a node
of a cluster, has it run in a process of its own, with limits on memory, time and what it may return:

>>> @in_reader(DatasetError)
... def read_table(content: bytes) -> Table: ...

What goes wrong there, a crash included, is one sentence here.

- ``python -m core.reader.serve`` is started on first use, imports what it is asked for, forks per file, and ends
  after a minute without files, or with the process that asks. It never sees a file; a fork sees one. Without
  ``fork`` a process is started per file. It gets no tokens from the environment, and cannot write files.
- Arguments and results go through ``core/reader/values.py`` in MessagePack and are decoded by the function's
  declared types: no pickle. A crash, a limit or a wrong result is one sentence; a ``LabError`` of the function
  comes back as itself.
- Files that are read at the same time share a budget of memory, from which a small file takes little; a page says
  when a file waits for others.
- **Weights stay outside.** Their headers are checked (``core/tensor_file.py``), and entries of zips are unpacked in
  pieces by whoever has the file; the reader gives the directory (``UntrustedZip``).
- **A tokenizer that was accepted works in the dashboard.** What comes back is its form in the format of the
  tokenizers library, which ``check_form()`` has found harmless: known parts, little growth of a text, few added
  tokens, regular expressions of published tokenizers. The check is made whenever a process first uses a network, so
  networks of old homes pass it too.
- **Chat templates are programs** of a network's authors: ``core/reader/chat_template.py`` runs them, for all
  conversations of a part at once, and gives texts in parts.
- **Our own files** are read in place, within ``reading_here()``, once their SHA-256 has been compared.
- The API parses its requests itself (``core/serving/request.py``), because a fork takes longer than an answer.
"""

from core.reader.opening import WAITS, in_reader, reading_here, reads_here
from core.reader.process import GROWTH, Limits

__all__ = ["GROWTH", "WAITS", "Limits", "in_reader", "reading_here", "reads_here"]
