"""Time and memory before the start: what runs will take, and how many fit at once."""
