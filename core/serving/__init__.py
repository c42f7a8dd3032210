"""Many adapters on one base, answered in one batch."""
