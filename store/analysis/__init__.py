"""What does a run say? Estimators, a run's summary, two runs compared, and a study's claims with intervals.

    study = open_study("runs/paper-laptop")
    sections = findings(Outcomes(study)).sections

Everything here is NumPy, SQL and `study.json`: no torch, no trainer, no figure, and nothing is written.
"""
