"""What is asked: configurations of experiments, also as files, and what an experiment trains next.

Where learning rates are searched for, an experiment has a plan (``core/plan/plan.py``) in the store. Seeds, methods and
ranks that are added become part of it. How long each method trains is found as its learning rate is
(``core/plan/budget.py``), and not by patience, which is no test of whether a curve has settled.
"""
