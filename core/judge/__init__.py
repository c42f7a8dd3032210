"""Results from elsewhere: tables that other tools write become what a verdict is computed of.

A file (:class:`core.judge.sources.Given`) has a :class:`core.judge.table.Table` of texts, which the reader reads. A
:class:`core.judge.reading.Reading` says what its columns are; what does not fit is asked and never guessed
(:class:`core.judge.reading.Question`). :class:`core.judge.understood.Understood` makes runs of it, and ``gather()`` in
``core/judge/results.py`` rows of results like those of our own runs, so that both are judged by the same
functions. What a table does not say stays unknown, and no sentence speaks of it.
"""
