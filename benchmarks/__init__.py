"""Speed and memory of the training engine compared with its alternatives."""
