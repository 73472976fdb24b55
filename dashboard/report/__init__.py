"""The static report: a study, a run or a diagnosis as one HTML file that needs no network, and its figures as PNGs.

    simko report runs/paper-laptop --png

The queries are those of the dashboard's views, the charts its charts.
"""

from .diagnosis_report import diagnosis_report
from .document import Block, Report, to_html, write_images
from .run_report import run_report
from .study_report import study_report

__all__ = ["Block", "Report", "diagnosis_report", "run_report", "study_report", "to_html", "write_images"]
