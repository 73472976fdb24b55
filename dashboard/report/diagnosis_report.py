"""A diagnosis as a report: the verdict, pass@k, Λ(k) and ranks on the same tokens, what changed most."""

from __future__ import annotations

import math

import pandas as pd
import plotly.graph_objects as go

from ...store.analysis.diagnosis import Diagnosis
from ...store.analysis.diagnosis_folder import BASE, CELLS, SIDES
from ...store.analysis.diagnosis_words import CAUTION, INTERVALS, OWN, shown_token
from ...store.analysis.verdict_on_pair import Change
from ..components import charts, panels
from .document import Block, Report

_MOST_PROBLEMS = 40
_LOOKS = {side: panels.look(place) for place, side in enumerate(SIDES)}


def diagnosis_report(diagnosis: Diagnosis) -> Report:
    """The report of a diagnosis."""
    content = diagnosis.content
    draws = content["draws"]
    subtitle = " · ".join(
        [
            f"base: {content[BASE]}",
            f"tuned: {content['tuned']}",
            f"{content['benchmark']}, {content['problems']} problems, {draws['samples']} responses each",
            f"T = {draws['temperature']:g}, top-p {draws['top_p']:g}; scored at T = 1",
        ]
    )
    blocks = [Block("Verdict", diagnosis.sentence)]
    if diagnosis.passes:
        blocks.append(
            Block("pass@k", INTERVALS, _passes(diagnosis), _curves(diagnosis), name="pass-at-k"),
        )
    blocks += [
        Block(
            "Λ(k) on the same tokens",
            "Whose responses, under whose probabilities. Λ(k), Λ sampled: mean over a response's tokens, then over "
            "responses, nats. Entropy and the share of rank 1: mean over tokens.",
            _cells(diagnosis),
        ),
        Block("What changed on the same tokens", f"{INTERVALS}. {OWN}.", _same_tokens(diagnosis)),
        Block(
            "Probability of the ranked candidates",
            "Mean over tokens, one panel for each model's responses.",
            figure=_profile(diagnosis),
            name="rank-probabilities",
        ),
    ]
    for whose in SIDES:
        words = f"Tokens of {whose}'s responses that add most to the change of their log-likelihood, by text."
        blocks.append(Block(f"Tokens that changed most: {whose}'s responses", words, _tokens(diagnosis, whose)))
    if diagnosis.problems:
        words = f"{diagnosis.problem_counts}; {CAUTION}. Fisher's exact test, two-sided; the most significant first."
        blocks.append(Block("Problems gained and lost", words, _problems(diagnosis)))
    return Report(f"Diagnosis of {content['tuned']}", "; ".join([subtitle, *diagnosis.warnings]), blocks)


def _passes(diagnosis: Diagnosis) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "": row.change.name,
                "source": row.source,
                "base": _interval(row.base, *row.base_interval),
                "tuned": _interval(row.tuned, *row.tuned_interval),
                "tuned − base": _change(row.change),
                "problems": row.problems,
            }
            for row in diagnosis.passes
        ]
    )


def _curves(diagnosis: Diagnosis) -> go.Figure:
    rows = []
    for row in diagnosis.passes:
        sides = zip(SIDES, (row.base, row.tuned), (row.base_interval, row.tuned_interval), strict=True)
        for side, value, (low, high) in sides:
            rows.append({"run": side, "panel": row.source, "k": row.k, "pass_at_k": value, "low": low, "high": high})
    frame = pd.DataFrame(rows).assign(when="latest", step=0)
    return charts.pass_curves(frame, _LOOKS)


def _cells(diagnosis: Diagnosis) -> pd.DataFrame:
    rows = []
    for whose, under in CELLS:
        row = diagnosis.cells[whose, under]
        rows.append(
            {
                "responses of": whose,
                "probabilities of": under,
                "responses": row.responses,
                "tokens": row.tokens,
                **{f"Λ({k})": f"{value:.3f}" for k, value in enumerate(row.lambdas, 1)},
                "Λ sampled": f"{row.lambda_sample:.3f}",
                "entropy": "" if row.entropy is None else f"{row.entropy:.3f}",
                "rank 1": f"{row.rank_1:.1%}",
                "mean rank": f"{row.mean_rank:.2f}",
            }
        )
    return pd.DataFrame(rows)


def _same_tokens(diagnosis: Diagnosis) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "": row.change.name,
                "responses of": row.whose,
                "base": f"{row.base:.3f}",
                "tuned": f"{row.tuned:.3f}",
                "tuned − base": _change(row.change),
            }
            for row in diagnosis.same_tokens
        ]
    )


def _profile(diagnosis: Diagnosis) -> go.Figure:
    """Mean probability by rank, one panel per model's responses and choice of tokens, one line per model."""
    titles = [f"{whose}'s responses, {which}" for whose in SIDES for which in ("all tokens", "forking tokens")]
    figure = panels.panels(titles, "mean probability", "rank k of the candidate")
    for place, whose in enumerate(SIDES):
        for under in SIDES:
            row = diagnosis.cells[whose, under]
            for panel, values in enumerate((row.probabilities, row.forking_probabilities)):
                shown = [math.nan if value is None else value for value in values]
                panels.line(
                    figure, 2 * place + panel, under, range(1, len(shown) + 1), shown, _LOOKS, markers=True,
                    hover="rank %{x}: %{y:.4f}",
                )  # fmt: skip
    figure.update_xaxes(dtick=1)
    figure.update_yaxes(type="log", dtick=1, minor={"showgrid": False}, exponentformat="power", tickfont={"size": 10})
    figure.update_layout(showlegend=True)
    return figure


def _tokens(diagnosis: Diagnosis, whose: str) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "token": shown_token(row.text, row.token_id),
                "times": row.n,
                "responses": row.responses,
                "p base": f"{row.p_base:.3f}",
                "p tuned": f"{row.p_tuned:.3f}",
                "mean Δ log p": f"{row.change:+.3f}",
                "sum": f"{row.total:+.1f}",
                "rank 1 base": f"{row.first_base:.0%}",
                "rank 1 tuned": f"{row.first_tuned:.0%}",
                "mean Δ rank": f"{row.rank_change:+.2f}",
            }
            for row in diagnosis.tokens[whose]
        ]
    )


def _problems(diagnosis: Diagnosis) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "problem": problem.prompt_id,
                "base": f"{problem.base[1]} of {problem.base[0]}",
                "tuned": f"{problem.tuned[1]} of {problem.tuned[0]}",
                "p": f"{problem.p:.2g}",
                "p, Holm": f"{problem.adjusted:.2g}",
            }
            for problem in diagnosis.problems[:_MOST_PROBLEMS]
        ]
    )


def _interval(mean: float, low: float, high: float) -> str:
    return f"{mean:.3f}" if low != low else f"{mean:.3f} [{low:.3f}, {high:.3f}]"


def _change(change: Change) -> str:
    return (
        f"{change.mean:+.3f}"
        if change.low != change.low
        else f"{change.mean:+.3f} [{change.low:+.3f}, {change.high:+.3f}]"
    )
