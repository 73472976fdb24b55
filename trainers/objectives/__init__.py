"""Training objectives as pure tensor functions, one small file a method, importing torch and the forking rule alone.

An objective credits the responses of a group and maps a `ScoredBatch` to a `Surrogate`: log-probabilities whose value
is the sampled token's and whose *gradient* is the method's, their advantages, and perhaps an extra loss.
Any loss that consumes log-probabilities and advantages (TRL's `grpo`, `dapo`, `dr_grpo`, `cispo`, `gspo`, …) then
trains by the method, clipping included.
"""

from .clip_cov import ClipCov
from .entropy_advantage import EntropyAdvantage
from .forking_tokens import ForkingTokens
from .kl_cov import KLCov
from .objective import GroupObjective, Objective, ScoredBatch, Surrogate, TokenObjective
from .passk_training import PassAtKTraining
from .pkpo import PKPO
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
