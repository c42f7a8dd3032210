"""Objectives: what a run learns and how that is measured; one module per objective, and the registry."""
