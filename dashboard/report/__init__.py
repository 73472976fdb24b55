"""The static report: a study or a run as one HTML file with interactive figures that needs no network, and as PNGs.

    simko report runs/paper-laptop --png

The queries are those of the dashboard's views, the charts its charts.
"""

from .document import Block, Report, to_html, write_images
from .run_report import run_report
from .study_report import study_report

__all__ = ["Block", "Report", "run_report", "study_report", "to_html", "write_images"]
