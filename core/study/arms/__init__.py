"""Arms of an experiment: which settings win, how they differ, and what may be said of them."""
