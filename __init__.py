"""simko: training-dynamics diagnostics for RL with verifiable rewards; the code is in the folders beside this file."""
