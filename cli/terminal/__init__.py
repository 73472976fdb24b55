"""How the commands speak with a person: options, names of runs, tables, errors, and what to type next."""
