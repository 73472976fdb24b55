"""Many runs: methods × learning rates × seeds × base policies, planned from a YAML file, run on worker processes."""
