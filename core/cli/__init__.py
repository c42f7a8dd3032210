"""Commands of ``python -m core``."""
