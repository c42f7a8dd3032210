"""Commands of ``python -m core`` that have a module of their own."""
