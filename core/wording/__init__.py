"""Sentences and numbers for people, used by pages, cards and reports alike."""
