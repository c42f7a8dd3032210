"""Figures of intervals, learning curves, trade-offs and examples, and their common style and colors."""
