"""Intervals, significance tests, and the claims that they support."""
