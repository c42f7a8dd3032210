"""Fine-tuning methods: what is trained, and which weights are frozen."""
