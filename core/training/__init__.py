"""Training: one step, epochs of steps, and what happens on the way."""
