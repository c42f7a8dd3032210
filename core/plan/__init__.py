"""What is asked: configurations of experiments, also as files, and the rates that a sweep tries."""
