"""How does a run get there? From batches on a training thread to whole Parquet files and manifest lines."""
