"""What a study says: its runs compared over seeds, with intervals, controls and verdicts; read from the runs' own logs.

    study = open_study("runs/paper-laptop")
    sections = findings(Outcomes(study)).sections

Everything here is NumPy, SQL and `study.json`: no torch, no trainer, no figure.
"""

from .plan import PlannedRun, Study, is_study, open_study

__all__ = ["PlannedRun", "Study", "is_study", "open_study"]
