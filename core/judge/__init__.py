"""Results from elsewhere: tables that other tools write become what a verdict is computed of.

A source reads a file, in the reader, as a :class:`core.judge.table.Table` of texts. A
:class:`core.judge.reading.Reading` says what its columns are; what does not fit is asked and never guessed
(:class:`core.judge.reading.Question`). What comes out are rows, :class:`core.judge.grouping.Row`: all that a verdict
needs of a training run. Runs of this lab are written as such tables, too, so both are judged by the same functions.

A row becomes a run record whose spec has reported parts (``core/judge/reported.py``): a method that has nothing but a
name, a rank, alpha and further settings, a measure with a unit and a direction. Such a run cannot be trained. What a
table does not say stays unknown, and no sentence speaks of it.
"""
