"""TensorBoard and MLflow: a run is written whole, once it is over; until then the dashboard shows it.

A tracker marks a run as whole last, with its state and the time of its end. A run with this mark is left alone; any
other trace of it, as after a kill or an end that was not the last, is deleted before it is written. A lock in the home
folder has writers take turns.
"""
