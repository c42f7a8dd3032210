"""The numbers of the Learn page: what LoRA trains, what merging changes, and a program that adds adapters."""
