"""Runs without a model: made-up policies that are consistent with themselves, small or of any size."""
