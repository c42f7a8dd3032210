"""Results from elsewhere: tables that other tools write become what a verdict is computed of.

A source reads a file, in the reader, as a :class:`core.judge.table.Table` of texts. A
:class:`core.judge.reading.Reading` says what its columns are; what does not fit is asked and never guessed
(:class:`core.judge.reading.Question`). What comes out is :class:`core.judge.grouping.Reported`, all that a table says
of a training run, and then a row of results like those of our own runs (``core/judge/reported.py``), so that both are
judged by the same functions. What a table does not say stays unknown, and no sentence speaks of it.
"""
