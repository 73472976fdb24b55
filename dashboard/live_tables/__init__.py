"""How does the server follow what is written? Parts read once, and sums that grow with each step."""
