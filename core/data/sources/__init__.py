"""Where datasets come from: one module per source, and the registry that lists them."""
