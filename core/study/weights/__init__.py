"""What fine-tuning changed in the weights."""
