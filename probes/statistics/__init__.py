"""One token's distribution: log-prob, rank, entropy, top-K; defined once, computed by a backend of choice."""
