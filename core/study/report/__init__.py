"""The decision report of one experiment."""
