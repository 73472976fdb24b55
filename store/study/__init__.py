"""What a study says, under its public name; the code is in `store/analysis/`.

from simko.store.study import open_study
from simko.store.study.outcomes import Outcomes
from simko.store.study.tables import findings
"""

from ..analysis.study_folder import Study, StudyRun, is_study, open_study

__all__ = ["Study", "StudyRun", "is_study", "open_study"]
