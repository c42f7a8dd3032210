"""How datasets become tasks: one module per kind of data, and the registry that lists them."""
