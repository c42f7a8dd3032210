"""Ways to change a base: what is trained beside or in place of its weights."""
