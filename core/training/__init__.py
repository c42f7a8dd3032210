"""Training: steps, epochs, and the events that report on them."""
