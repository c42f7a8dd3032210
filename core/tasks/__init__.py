"""A dataset seen in one way: presets, and tasks in memory."""
