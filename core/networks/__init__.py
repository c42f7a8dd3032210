"""Architectures, and their weights as files."""
