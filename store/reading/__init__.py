"""How is a run asked? DuckDB over the files the manifests name: views (`sql/`), named queries, untrusted SQL."""
