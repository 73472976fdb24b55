"""What is a run on disk? Columns, `run.json`, manifests and merges; these modules know no other folder."""
