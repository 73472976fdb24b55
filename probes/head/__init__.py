"""The LM head that gives the statistics: found in a model, extended to rank, and evaluated in chunks."""
