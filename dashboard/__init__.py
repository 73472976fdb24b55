"""The Streamlit dashboard and the static report."""
