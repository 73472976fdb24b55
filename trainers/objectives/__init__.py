"""Training objectives as pure tensor functions, one small file a method; importing torch and the forking rule alone.

An objective maps a `ScoredBatch` to a `Surrogate`: log-probabilities whose *value* is the sampled token's and whose
*gradient* is the method's, and the advantages that go with them. Any loss that consumes log-probabilities and
advantages (TRL's `grpo`, `dapo`, `dr_grpo`, `cispo`, `gspo`, …) then trains by the method, clipping included.
"""

from .batch import Objective, ScoredBatch, Surrogate
from .simko import SimKO

__all__ = ["Objective", "ScoredBatch", "SimKO", "Surrogate"]
