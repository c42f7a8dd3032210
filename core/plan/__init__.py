"""What is asked: configurations of experiments, also as files, and what an experiment trains next.

Where learning rates are searched for, an experiment has a plan (``core/plan/plan.py``) in the store. Seeds, methods and
ranks that are added become part of it. The design has a whole setting stop by the mean of its seeds' validation losses;
that is not built yet: all settings train for the epochs that were asked for, whether that was enough is measured
(``core/study/arms/settled.py``), and *Train longer* triples them.
"""
