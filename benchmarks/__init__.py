"""Speed and memory of the training engine, side by side with what a user would use instead."""
