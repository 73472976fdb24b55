"""The app: its pages, the sidebar, and nothing else. Run through `app.py`, by path."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from .components import live_chart
from .components.lost_server import watch_server
from .components.view import mirror_of, runs_folder, sidebar, style
from .pages import concentration as page_concentration
from .pages import console as page_console
from .pages import entropy as page_entropy
from .pages import health as page_health
from .pages import lambda_k as page_lambda_k
from .pages import pass_at_k as page_pass_at_k
from .pages import push as page_push
from .pages import response as page_response
from .pages import runs as page_runs


def main(script: str) -> None:
    """One run of the script: refresh the runs, draw the sidebar, then the page.

    Args:
        script: path of the file Streamlit runs; it serves `static/` beside that file.
    """
    st.set_page_config(page_title="simko", layout="wide")
    live_chart.serve_from(Path(script).parent / "static")
    mirror = mirror_of(str(runs_folder()))
    mirror.refresh(max_age=0.5)
    # The first page has no path of its own: the address /runs leads to it.
    runs = st.Page(page_runs.show, title="Runs", default=True)
    page = st.navigation(
        [
            runs,
            st.Page(lambda: st.switch_page(runs), title="Runs", url_path="runs", visibility="hidden"),
            st.Page(page_lambda_k.show, title="Λ(k) over steps", url_path="lambda"),
            st.Page(page_pass_at_k.show, title="pass@K", url_path="pass"),
            st.Page(page_concentration.show, title="Concentration", url_path="concentration"),
            st.Page(page_entropy.show, title="Entropy", url_path="entropy"),
            st.Page(page_push.show, title="Push", url_path="push"),
            st.Page(page_health.show, title="Health", url_path="health"),
            st.Page(page_response.show, title="One response", url_path="response"),
            st.Page(page_console.show, title="SQL", url_path="sql"),
        ]
    )
    st.html(f"<style>{style(mirror.order)}</style>")
    sidebar(mirror)
    watch_server(str(mirror.folder))
    page.run()
