"""Objectives: what a run learns and how that is measured; one module per objective, and the registry.

A run's objective (``core/objectives/``) gives the loss, the number of outputs, what an output answers, and measures
by name. A ``Measure`` has a name, a unit, a direction, words for better and worse, limits, a default margin, and a
value for each example, so that intervals over examples can be computed for any of them; for one that is no mean,
such as macro-F1, that value is its linearization.

- **Names are flat.** Results, epochs, ``--json`` and trackers have ``accuracy``, ``accuracy_before``,
  ``validation_accuracy`` and ``source_accuracy`` beside ``macro_f1``, ``loss`` and so on: the name of a measure,
  with what ``core/objectives/measure.py`` puts before or after it.
- **The primary measure and the margin** stand in ``RunSpec.objective``, the same in each run of an experiment, so
  that every function that gets rows knows them: ``judged_by()`` in ``core/results/arm.py``. They do not
  change what is trained, so arms and bank keys leave them out, and the default objective is left out of the JSON of
  specs.
- **After an epoch** only what is watched is computed, and the primary measure; on test parts all.
- ``quantity()`` in ``core/results/measures.py`` is how a name becomes a number of a result: a measure, what was
  gained or forgotten in the primary one, or a cost. Differences keep the sign of the measure; ``sign`` says which
  side is better.
"""
