"""simko: training-dynamics diagnostics for RL with verifiable rewards; the code is in the folders beside this file."""

__version__ = "0.1.0"
"""The version of the package: the one place where it is written."""
