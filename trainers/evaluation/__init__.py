"""pass@k of a policy: sampled, or exact where a task can enumerate its answers."""
