"""Training objectives as pure tensor functions, one small file a method, importing torch and the forking rule alone.

An objective credits the responses of a group and maps a `ScoredBatch` to a `Surrogate`: log-probabilities whose value
is the sampled token's and whose *gradient* is the method's, their advantages, and perhaps an extra loss.
Any loss that consumes log-probabilities and advantages (TRL's `grpo`, `dapo`, `dr_grpo`, `cispo`, `gspo`, …) then
trains by the method, clipping included.
"""

from .covariance import ClipCov, KLCov
from .entropy import EntropyAdvantage, ForkingTokens
from .objective import GroupObjective, Objective, ScoredBatch, Surrogate, TokenObjective
from .pass_at_k import PKPO, PassAtKTraining
from .reinforce import Reinforce, nsr, psr, w_reinforce
from .simko import SimKO

__all__ = [
    "PKPO",
    "ClipCov",
    "EntropyAdvantage",
    "ForkingTokens",
    "GroupObjective",
    "KLCov",
    "Objective",
    "PassAtKTraining",
    "Reinforce",
    "ScoredBatch",
    "SimKO",
    "Surrogate",
    "TokenObjective",
    "nsr",
    "psr",
    "w_reinforce",
]
