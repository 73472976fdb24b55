"""The data: schema, run folder, writer, manifest, SQL catalog and metrics. No torch, no trainer."""

from .batch import TokenBatch
from .catalog import Catalog, open
from .errors import SimkoError
from .recorder import Recorder
from .schema import SCHEMA_VERSION

__all__ = ["SCHEMA_VERSION", "Catalog", "Recorder", "SimkoError", "TokenBatch", "open"]
