"""Running jobs: what they cost, how their networks are built and trained, and the threads that take them."""
