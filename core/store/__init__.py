"""What is known of runs, in SQLite and in the runs' own folders: state transitions, curves, search, notes, backups."""
