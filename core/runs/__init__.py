"""Runs: what is known of them, who trains them, and how a spec becomes a result."""
