"""Files of runs: read back and checked, exported, traced to where they come from."""
