"""The queue: launching runs, workers that have them trained, what they report, and recovery after crashes."""
