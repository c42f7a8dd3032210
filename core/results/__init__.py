"""Results: one table of rows, whether they were trained here or elsewhere, and what the validation part chooses."""
