"""Datasets, and the tasks made from them."""
