"""Figures of curves, sweeps and trade-offs, and the style they share."""
