"""Running jobs: cost estimates, building and training networks, worker threads, and recovery after crashes."""
