"""Datasets, and tasks made of them."""
