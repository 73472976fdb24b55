"""How is a run kept? Merging small files, removing what is no longer needed, and reporting what was lost."""
