"""Network architectures, and their weights as files."""
