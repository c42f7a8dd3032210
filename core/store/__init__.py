"""Storage of runs in SQLite and in their folders: state transitions, curves, search, notes, copies and backups.

- **States** of a run are ``queued``, ``running``, ``interrupted``, ``finished``, ``stopped`` and ``failed``.
  ``NEXT`` in ``core/store/schema.py`` says which may follow which, and ``Transitions`` in
  ``core/store/transitions.py`` is the only code that changes them. What a worker reports counts only while its
  claim holds: a worker that was replaced changes nothing.
- **Losses.** At each start, ``Copies.catch_up()`` tells the store what the folders know beyond it. ``Restorer``
  rebuilds a lost store from the ``run.safetensors`` files and, where one cannot be read, from backups. Runs in
  ``deleted/runs.txt`` are not brought back.
- **Deletion** is ``RunNotes.delete()``: folders are moved to ``deleted/``, the transaction removes the rows, then
  the folders go. A process that dies between two of these steps leaves something that the next start finishes or
  undoes.
"""
