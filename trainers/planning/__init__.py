"""A run before it starts: its arithmetic, what it needs and writes, and what can be checked without starting it."""
