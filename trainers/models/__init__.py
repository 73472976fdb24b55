"""Policies to start from: hub ids, checkpoint folders, .gguf files, and the built-in ones."""
