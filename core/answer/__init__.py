"""An answer for people: three lines, and below them what could undo the claim as a list of checks."""
