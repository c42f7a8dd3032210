"""Files of runs: read back and checked, exported, blended, traced to where they come from."""
