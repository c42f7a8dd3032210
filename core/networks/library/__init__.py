"""The library of brought networks: files of transformers that people bring, checked and kept once under the home."""
