"""One module for each check; :mod:`core.answer.checks.registry` lists them."""
