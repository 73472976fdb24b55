"""Public name of `store/writing/row_sampling.py`."""

from .writing.row_sampling import LoggedRows

__all__ = ["LoggedRows"]
