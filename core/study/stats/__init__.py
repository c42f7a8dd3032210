"""Intervals, tests, and what they allow to claim."""
