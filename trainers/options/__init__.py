"""What a person can set: our own options, the methods by name, recipes, and how they become one configuration."""
