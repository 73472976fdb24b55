"""The dashboard, runnable by path: `streamlit run dashboard/app.py -- --runs FOLDER` (else $SIMKO_RUNS, else runs/)."""

from simko.dashboard.main import main

main()
