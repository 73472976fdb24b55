"""The dashboard, runnable by path: `streamlit run dashboard/app.py -- --runs FOLDER` (else $SIMKO_RUNS, else runs/)."""

import streamlit as st

try:
    from simko.dashboard.main import main
except ModuleNotFoundError as missing:
    if not str(missing.name).startswith("simko"):
        raise
    st.error("simko is not installed for this Python: run `pip install .` in its folder, then start Streamlit again.")
    st.stop()

main(__file__)
