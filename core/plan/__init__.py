"""What is asked: configurations of experiments, also as files, and what an experiment trains next.

Where learning rates are searched for, an experiment has a plan (``core/plan/plan.py``) in the store. Seeds, methods and
ranks that are added become part of it. The design has a whole setting stop once the validation loss of its seeds has
not improved for ten epochs. Here the experiment trains three times as long while a method still gets better
(``core/plan/course.py``): patience is no test of whether a curve has settled, the same number of updates for all needs
no budget of each setting's own, and a learning rate that decays is found settled in the same way.
"""
