"""What the sidebar has chosen, and the frame every page lives in: its words, its refresh, its empty state.

    def show() -> None:                      # a page
        live(draw)

    def draw(view: View) -> None: ...        # runs again when something new was written, while Live is on

A page's drawing computes first and draws then, in a fixed order of elements, so that a refresh changes figures in
place.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from ...store.reading.lost_starts import StartTable, lost_start_in_words, lost_starts
from ..mirror import Mirror
from . import panels
from .live_chart import live_chart
from .names import literal

REFRESH_SECONDS = 2
_MOST_AT_START = 6
_RUNS_PAGE = "simko.dashboard.pages.runs"  # where the problems are spelled out
VERDICT_CHOICES = ("all", "right", "wrong", "unjudged")


@dataclass(frozen=True)
class View:
    """The choices a page draws by.

    Attributes:
        mirror: the runs.
        runs: those selected, in order of first appearance.
        verdict: which responses count where it matters.
        live: whether the page follows what is written.
    """

    mirror: Mirror
    runs: list[str]
    verdict: str
    live: bool

    @property
    def looks(self) -> dict[str, panels.Look]:
        """Run → how it is drawn, the same on every page and for as long as the server lives."""
        return {run: panels.look(place) for run, place in self.mirror.order.items()}

    def frame(self, sql: str, *parameters: object) -> pd.DataFrame:
        """Rows of a query whose first parameter, `$1`, is the list of selected runs."""
        return self.mirror.frame(sql, [self.runs, *parameters])


_BREAKS = "SELECT run, step, change FROM breaks WHERE run IN (SELECT unnest($1)) ORDER BY run, step"


def over_steps(view: View, figure: go.Figure, key: str) -> None:
    """Show a figure over steps, with a line where a run was resumed with figures that mean something else."""
    breaks = breaks_of(view)
    live_chart(panels.mark_breaks(figure, breaks, view.looks), key=key)
    tell_breaks(breaks)


def breaks_of(view: View) -> pd.DataFrame:
    """Where a run was resumed with figures that mean something else: run, step (the last one before), change."""
    return view.frame(_BREAKS)


def tell_breaks(breaks: pd.DataFrame) -> None:
    """A line for each of `breaks_of`."""
    for run, step, change in breaks.itertuples(index=False):
        st.caption(f"{plain(run)} was resumed after step {step} with another meaning of its figures: {plain(change)}.")


def told_ends(view: View, ends: pd.DataFrame, table: StartTable = "rollups") -> pd.DataFrame:
    """The rows of a figure of first and latest with `label`, what each is called; a lost start is said on the page.

    Args:
        view: as it stands.
        ends: run, when ('first' or 'latest'), step.
        table: of which the figures are.
    """
    with view.mirror.snapshot() as cursor:
        lost = lost_starts(cursor, view.mirror.runs, table)
    for run in dict.fromkeys(ends["run"]):
        if run in lost:
            st.caption(plain(lost_start_in_words(run, *lost[run])) + ".")
    rows = zip(ends["run"], ends["when"], ends["step"], strict=True)
    return ends.assign(
        label=[
            f"earliest left, not the first (step {step})"
            if when == "first" and run in lost
            else f"{when} (step {step})"
            for run, when, step in rows
        ]
    )


def tell_subset(view: View, *, applies: str = "", not_to: str = "") -> None:
    """Say what the choice of responses in the sidebar is applied to on this page, and what not; nothing if it is all.

    Args:
        view: as it stands.
        applies: what is of the chosen responses alone (`Λ(k) and the profile`).
        not_to: what is of all responses, whatever was chosen.
    """
    if view.verdict == "all":
        return
    lines = [f"Of responses judged {view.verdict} alone: {applies}."] if applies else []
    lines += [f"Of all responses, since the choice “{view.verdict}” does not apply: {not_to}."] if not_to else []
    st.caption(" ".join(lines))


def judged(view: View) -> str:
    """Which responses a step must have to be shown, in words after "step"; empty if any."""
    return "" if view.verdict == "all" else f" with responses judged {view.verdict}"


def runs_folder(arguments: Sequence[str] | None = None) -> Path:
    """The folder of runs: `--runs FOLDER`, else `SIMKO_RUNS`, else `runs`."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    for place, argument in enumerate(given):
        if argument == "--runs" and place + 1 < len(given):
            return Path(given[place + 1])
        if argument.startswith("--runs="):
            return Path(argument.removeprefix("--runs="))
    return Path(os.environ.get("SIMKO_RUNS") or "runs")


@st.cache_resource(show_spinner="Reading runs …")
def mirror_of(folder: str) -> Mirror:
    """The one mirror of a folder in this server."""
    return Mirror(Path(folder))


def style(order: Mapping[str, int]) -> str:
    """CSS of the frame; a selected run wears its look in the sidebar too (`order` as of the mirror)."""
    tags = []
    for run, place in order.items():
        name = re.sub(r"[^A-Za-z0-9.-]", lambda sign: f"\\{ord(sign[0]):x} ", literal(run))
        look = panels.look(place)
        border = "" if look.dash == panels.DASHES[0] else " border: 2px dashed currentColor;"
        tags.append(f'[data-tag][aria-label="{name}"] {{ background: {look.css};{border} }}')
    return "\n".join(
        [
            ".stMainBlockContainer { padding: 3rem 3rem 4rem; max-width: 1500px; }",
            "@media (max-width: 640px) { .stMainBlockContainer { padding: 3rem 1rem 3rem; } }",
            # What is about to be replaced by the same thing does not fade.
            "[data-stale=true] { opacity: 1 !important; transition: none !important; }",
            ".stMultiSelect [data-tag], .stMultiSelect [data-tag] span[title] { max-width: 100%; }",
            *tags,
        ]
    )


def sidebar(mirror: Mirror) -> None:
    """Draw the sidebar and keep its choices in the session's state."""
    state = st.session_state
    known: list[str] = state.setdefault("known_runs", [])
    chosen = [run for run in state.get("runs", []) if run in mirror.names]
    new = [run for run in mirror.names if run not in known]
    state["runs"] = [*chosen, *(new if known else new[-_MOST_AT_START:])]
    state["known_runs"] = list(mirror.names)
    with st.sidebar:
        st.multiselect("Runs", mirror.names, key="runs", format_func=literal, placeholder="choose runs to compare")
        st.selectbox(
            "Responses",
            VERDICT_CHOICES,
            key="verdict",
            help="Which responses the figures are of; pages say where it does not apply",
        )
        st.toggle("Live", value=True, key="live", help=f"Look for new steps every {REFRESH_SECONDS} seconds")
        st.caption(f"Folder {plain(str(mirror.folder))}")


def current(mirror: Mirror) -> View:
    """The view as the sidebar stands."""
    state = st.session_state
    chosen = set(state.get("runs", []))
    runs = [run for run in mirror.order if run in chosen]
    return View(mirror, runs, state.get("verdict", "all"), bool(state.get("live", True)))


def live(draw: Callable[[View], None], *, ages: bool = False) -> None:
    """Draw a page, and while Live is on again as soon as something new was written; it is looked for every two seconds.

    Args:
        draw: draws the page.
        ages: it tells how long ago something was, so it is drawn every two seconds in any case.
    """
    mirror = mirror_of(str(runs_folder()))
    view = current(mirror)
    names = mirror.names
    version = mirror.version  # before the page asks: what comes meanwhile is drawn next time
    every = REFRESH_SECONDS if view.live else None

    def page() -> None:
        draw(view)
        if draw.__module__ != _RUNS_PAGE and (problems := len(mirror.problems)):
            st.caption(f"Not everything could be read ({problems} problem{'s' * (problems != 1)}): see the page Runs.")

    @st.fragment(run_every=every)
    def drawn_always() -> None:
        mirror.refresh(max_age=REFRESH_SECONDS / 2)
        if mirror.names != names:
            st.rerun()  # the sidebar, too
        page()

    passes = count()

    @st.fragment(run_every=every)
    def redrawn_if_new() -> None:
        if next(passes) == 0:
            return  # just drawn
        mirror.refresh(max_age=REFRESH_SECONDS / 2)
        if mirror.version != version:
            st.rerun()

    if ages:
        drawn_always()
    else:
        page()
        redrawn_if_new()


def heading(title: str, words: str) -> None:
    """A page's title, what one sees, and what a bad sign is."""
    st.header(title)
    st.markdown(words)


def plain(text: str) -> str:
    """Text as Markdown that shows it as it is."""
    return re.sub(r"([\\`*_\[\]<>~$:|])", r"\\\1", literal(text))


def every_nth(first: int, last: int, most: int) -> int:
    """The smallest n so that at most about `most` of the steps `first`..`last` are multiples of n."""
    return max(1, -(-(last - first + 1) // most))


def empty(view: View, what: str) -> None:
    """Say why there is nothing to draw and what to do."""
    if not view.mirror.names:
        st.info(
            f"No runs in {plain(str(view.mirror.folder))} yet. Start one with `simko-train --probe`"
            f"{' and it appears here by itself' if view.live else f' and {_TURN_LIVE_ON}'}, or point the dashboard "
            "elsewhere: `simko dashboard FOLDER`."
        )
    elif not view.runs:
        st.info("No run is selected. Choose one or more in the sidebar.")
    else:
        st.info(f"{what} {_what_follows(view)}")


_TURN_LIVE_ON = "turn Live on in the sidebar to see it"


def _what_follows(view: View) -> str:
    """Whether what is missing will appear, which is not so of a run that nobody writes."""
    if not any(run.manifest.running for run in view.mirror.runs if run.name in view.runs):
        return "No selected run is being written, so nothing will follow unless one is resumed."
    if not view.live:
        return f"A selected run is being written: {_TURN_LIVE_ON}."
    return "It appears here by itself once it is written."
