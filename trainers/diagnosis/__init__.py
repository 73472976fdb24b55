"""Scoring responses that are there already: how probable, and how concentrated, a checkpoint finds them."""
