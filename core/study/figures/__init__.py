"""Figures of curves, sweeps and trade-offs, and their common style."""
