"""Comparisons in tables, and what makes one unfair.

``best()`` and ``winners()`` in ``core/results/choice.py`` apply the one rule for every page, report and command;
``chosen_arms()`` and ``best_arm()`` give what wins with its finished runs. Only finished runs count, a setting with a
failed seed never wins and is named, the validation part decides, and ties go to fewer trained parameters. What may be
said of the winners on the test part is another question: ``docs/statistics.md``. Figures of runs in training draw the
line of each method and rank bold that is ahead so far, of those that would be compared. That decides nothing, and with
the training it becomes the line of the winner.

**Stopped experiments** have no verdict: ``decide()`` waits for every stopped run that nobody has archived. To archive
them is how somebody chooses to be answered with the seeds that finished, on a page or by ``grow --without-stopped``.
"""
