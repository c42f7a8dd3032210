"""Numbers and figures of the Learn page, which explains LoRA."""
