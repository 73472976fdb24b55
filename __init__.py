"""simko: training-dynamics diagnostics for RL with verifiable rewards. The code lives in the folders beside this file."""
