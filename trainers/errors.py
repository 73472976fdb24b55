"""What a person can get wrong about models, data sets and evaluation, each named by its fault."""

from __future__ import annotations

from ..store.errors import SimkoError


class ModelNotFound(SimkoError):
    """No model at the path, or none that can be reached under the hub id."""


class ModelUnreadable(SimkoError):
    """The checkpoint is incomplete, corrupt, or of a kind that cannot be trained."""


class TokenizerMissing(SimkoError):
    """The checkpoint has no tokenizer, or none that can be read."""


class PackageMissing(SimkoError):
    """An optional package is needed for this input."""


class DatasetNotFound(SimkoError):
    """No data set at the path, or none that can be reached under the hub id."""


class DatasetUnreadable(SimkoError):
    """A data file is corrupt, empty, or of an unknown kind."""


class ColumnsMissing(SimkoError):
    """A data set lacks the columns a task needs."""


class TaskUnknown(SimkoError):
    """There is no task of that name."""


class TaskOptionRefused(SimkoError):
    """An option does not fit the task."""


class ChatTemplateUnusable(SimkoError):
    """A tokenizer's chat template fails, or loses what the user says."""


class HeldoutMissing(SimkoError):
    """Held-out problems are needed and none were given."""


class EvaluationImpossible(SimkoError):
    """What was asked of an evaluation contradicts itself or the task."""


class ServerUnusable(SimkoError):
    """An inference server does not answer, answers too slowly, serves another model, or refuses what is asked."""


class GraderFailed(SimkoError):
    """The process that judges answers cannot be started."""


class RankLost(SimkoError):
    """Another process of the run died, and this one cannot go on without it."""


class SamplerMismatch(SimkoError):
    """Rollouts are drawn from another distribution than the one that is trained; training has ended."""


class SaveFailed(SimkoError):
    """The model or a checkpoint cannot be written; training has ended."""
