"""Public name of `store/reading/named_queries.py`."""

from .reading.named_queries import NamedQuery, named_queries, named_query

__all__ = ["NamedQuery", "named_queries", "named_query"]
