"""Storage of runs in SQLite and in their folders: state transitions, curves, search, notes and backups.

- **States** of a run are ``queued``, ``running``, ``interrupted``, ``finished``, ``stopped`` and ``failed``.
  ``NEXT`` in ``core/store/schema.py`` says which may follow which, and ``Transitions`` in
  ``core/store/transitions.py`` is the only code that changes them. What a worker reports counts only while its
  claim holds: a worker that was replaced changes nothing.
- **Losses.** ``open_store()`` restores a store that is lost or damaged from the latest sound backup, and ``adopt()``
  brings it up to date with the ``run.json`` files of runs that are newer. What must survive a loss at once is
  written in a transaction with ``backed_up``. Runs in ``deleted/runs.txt`` are not brought back.
- **Deletion** is ``RunNotes.delete()``: the transaction removes the rows and records the ids, then the folders go.
  What a process that dies in between leaves, the next start completes.
"""
