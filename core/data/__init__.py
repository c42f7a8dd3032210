"""Datasets and the examples of a task."""
