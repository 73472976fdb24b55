"""A study as a report: verdicts first, then tables with their intervals and the figures of the paper."""

from __future__ import annotations

import math

import pandas as pd
import plotly.graph_objects as go

from ...store.analysis.correlation import checkpoints
from ...store.analysis.outcomes import Outcomes
from ...store.analysis.study_folder import Study
from ...store.analysis.tables import Findings, findings
from ..components import charts, panels
from . import study_charts
from .document import Block, Report
from .queries import Averages


def study_report(study: Study) -> tuple[Report, Findings]:
    """The report of a study, and the findings it shows."""
    outcomes = Outcomes(study)
    result = findings(outcomes)
    gone = len(study.missing) + len(outcomes.left_out)
    count = f"{len(outcomes.by_run)} finished runs" + (f", {gone} missing" if gone else "")
    subtitle = " · ".join(part for part in (study.description, f"task {study.task}", count) if part)
    tables = {section.title: Block(section.title, section.words, section.table) for section in result.sections}
    pictures = _figures(study, outcomes)
    first = [tables.pop(name) for name in ("Verdicts", "After training") if name in tables]
    blocks = [*first, *pictures, *tables.values()]
    return Report(f"Study {study.name}", subtitle, blocks), result


def _figures(study: Study, outcomes: Outcomes) -> list[Block]:
    labels = outcomes.labels
    if not labels:
        return []
    looks = {label: panels.look(place) for place, label in enumerate(labels)} | {"base": panels.Look("#7a7f87")}
    named = pd.DataFrame(
        [(o.planned.run, label) for label in labels for o in outcomes.of(label).values()], columns=["run", "name"]
    )
    averages = Averages(study.catalog.connection, named)
    passes, lambdas, profile = averages.passes(), averages.lambdas(), averages.profile()
    blocks = [
        Block("pass@k curves", _OVER_SEEDS, figure=_curves(outcomes, looks), name="pass-at-k"),
        Block(
            "Probability of the ranked candidates",
            f"After training. {_OVER_SEEDS}",
            figure=study_charts.rank_bars(_bars(profile), looks),
            name="rank-probabilities",
        ),
    ]
    claimed = [study.label_of(m) for m in ("grpo", "psr", "nsr")]
    methods = [label for label in claimed if label in labels] or labels[:3]
    blocks += [
        Block(
            "Λ(k) under each method",
            _OVER_SEEDS,
            figure=study_charts.lambda_by_method(lambdas, methods),
            name="lambda-by-method",
        ),
        Block("Λ(1..3) of all methods", _OVER_SEEDS, figure=charts.lambda_over_steps(lambdas, looks), name="lambda"),
    ]
    ends = [k for k in (1, outcomes.ks[-1]) if k in outcomes.ks] if outcomes.ks else []
    if ends:
        over = passes[passes["k"].isin(ends)].assign(low=math.nan, high=math.nan)
        blocks.append(
            Block(
                "pass@k over training",
                _OVER_SEEDS,
                figure=charts.pass_over_steps(over, looks),
                name="pass-over-steps",
            )
        )
        blocks += _against(outcomes, looks, k=ends[-1])
    histograms = averages.histograms()
    if len(histograms):
        figure = charts.entropy_heatmap(histograms, looks)
        blocks.append(
            Block(
                "Entropy of tokens over training", "Share of tokens, square-root scale.", figure=figure, name="entropy"
            )
        )
    return blocks + _pushes(study, outcomes, averages)


_OVER_SEEDS = "Means over seeds."


def _curves(outcomes: Outcomes, looks: panels.Looks) -> go.Figure:
    """pass@k over k, the base policy dotted; the intervals are in the tables, where they can be told apart."""
    rows = []
    for label in ["base", *outcomes.labels]:
        when = "first" if label == "base" else "latest"
        for k in outcomes.ks:
            at = outcomes.base(k) if label == "base" else outcomes.pass_at(label, k)
            rows.append({"run": label, "panel": "", "when": when, "step": 0, "k": k, "pass_at_k": at.mean})
    figure = charts.pass_curves(pd.DataFrame(rows).assign(low=math.nan, high=math.nan), looks)
    figure.for_each_trace(lambda trace: trace.update(showlegend=True) if trace.name == "base" else None)
    return figure


def _bars(profile: pd.DataFrame) -> pd.DataFrame:
    """The base policy (what every run looked like at its start, on average) and every label after training."""
    start = (
        profile[profile["when"] == "first"].groupby("k", as_index=False)[["probability", "forking_probability"]].mean()
    )
    return pd.concat([start.assign(run="base"), profile[profile["when"] == "latest"]])


def _against(outcomes: Outcomes, looks: panels.Looks, *, k: int) -> list[Block]:
    """Concentration against pass@k, and pass@1 against pass@k."""
    points = checkpoints(outcomes)
    points = points[points["k"] == k]
    blocks = []
    if len(points):
        means = points.groupby(["label", "step"], as_index=False)[["lambda_1", "pass_at_k"]].mean()
        means = means.sort_values("label", key=lambda column: column.map(outcomes.labels.index), kind="stable")
        frame = means.rename(columns={"label": "run", "lambda_1": "x", "pass_at_k": "y"})
        figure = charts.concentration_scatter(frame, looks, x_title="Λ(1) (nats)", y_title=f"pass@{k}")
        words = "One point an evaluation, means over seeds; the last one is large. Correlations are in the table below."
        blocks.append(Block("Concentration and pass@k", words, figure=figure, name="concentration"))
    reference = outcomes.study.label_of("grpo")
    if reference in outcomes.labels:
        runs = [o for o in outcomes.by_run.values() if o.planned.label == reference or o.planned.role == "frontier"]
        lines = pd.concat([pd.DataFrame({"run": o.planned.run, "x": o.mean(1), "y": o.mean(k)}) for o in runs])
        finals = pd.DataFrame(
            [
                {"run": label, "x": float(o.final(1).mean()), "y": float(o.final(k).mean())}
                for label in outcomes.labels
                for o in outcomes.of(label).values()
            ]
        )
        words = (
            f"Grey: every checkpoint of {reference} at every learning rate. "
            "A method that only walks the same trade-off more slowly lies among them."
        )
        blocks.append(
            Block("pass@1 and pass@k", words, figure=study_charts.frontier(lines, finals, looks, k=k), name="frontier")
        )
    return blocks


def _pushes(study: Study, outcomes: Outcomes, averages: Averages) -> list[Block]:
    pushes = averages.pushes()
    if pushes.empty:
        return []
    blocks = [
        Block(
            "What pushes Λ(k)",
            "First-order push of the losses trained on, mean over steps and seeds, by the verdict of the answer.",
            figure=study_charts.push_bars(pushes),
            name="push",
        )
    ]
    reference, simko = study.label_of("grpo"), study.label_of("simko")
    if reference in outcomes.labels and simko is not None:
        runs = [o.planned.run for o in outcomes.of(str(reference)).values()]
        options = _simko_options(study, simko)
        under = averages.pushes_under(
            runs, alpha=options["alpha"], smoothed=int(options["k"]), penalty=options["lambda"]
        )
        names = {"grpo": str(reference), "simko": simko}
        frame = under.assign(run=under["method"].map(names))
        words = (
            f"On the rollouts of {reference}: what its own loss pushes, and what {simko} would have pushed "
            f"(α {options['alpha']:g}, K {int(options['k'])}, λ {options['lambda']:g})."
        )
        blocks.append(
            Block(
                "The same rollouts under another loss",
                words,
                figure=study_charts.push_bars(frame),
                name="push-counterfactual",
            )
        )
    return blocks


def _simko_options(study: Study, label: str) -> dict[str, float]:
    """α, K and λ of a label's first run, as its `run.json` has them."""
    run = next(iter(study.compared(label).values()))
    info = next(r.info for r in study.catalog.runs if r.name == run.run)
    result = info.get("hyperparameters") or {}
    return {
        name: float(result.get(f"simko_{name}") or default)
        for name, default in (("alpha", 0.01), ("k", 3), ("lambda", 1.1))
    }
