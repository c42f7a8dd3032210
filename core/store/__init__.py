"""Storage of runs in SQLite and in their folders: state transitions, curves, search, notes, copies and backups."""
