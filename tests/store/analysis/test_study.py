"""What is said about a study: intervals, the frontier, correlations and verdicts, on studies whose truth is known."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simko.store.analysis.ablations import ablation_claims
from simko.store.analysis.claims import ClaimPart, DecidedClaim, verdicts
from simko.store.analysis.correlation import checkpoints, correlations
from simko.store.analysis.frontier import Points, cross_fitted, frontier_at, matched, on_same_problems
from simko.store.analysis.outcomes import Outcomes
from simko.store.analysis.push_check import foretold, push_fits
from simko.store.analysis.seed_bootstrap import estimate, tails
from simko.store.analysis.tables import findings, number
from simko.store.errors import StudyNotFound
from simko.store.study import open_study
from synthetic import Made, write_study

SEEDS = (1, 2, 3, 4, 5)


def jitter(seed, size=0.004):
    return size * ((seed * 7) % 5 - 2)


def study_of(tmp_path, **shape):
    """GRPO, PSR, NSR and SimKO with final success and Λ(1) as asked: label=(success, lambda_1)."""
    made = []
    for label, (success, last) in shape.items():
        method = label.lower()
        for seed in SEEDS:
            p = np.clip([0.25, (0.25 + success) / 2 + jitter(seed), success + jitter(seed)], 0.001, 0.999)
            made.append(Made(label, method, seed, p, (-0.3, last + jitter(seed))))
    return write_study(tmp_path / "study", made)


# Intervals


def test_an_interval_widens_as_seeds_get_fewer():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(6, 200))
    values[:, :] += rng.normal(size=(6, 1))
    widths = [estimate(values[:n]).high - estimate(values[:n]).low for n in (3, 6)]
    assert widths[0] > widths[1]
    assert tails(5)[0] == pytest.approx(0.00096, rel=0.03)  # Φ(-√(5/4)·2.776)


def test_an_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    covered = 0
    for place in range(300):
        seeds = rng.normal(scale=0.5, size=(5, 1))
        problems = rng.normal(size=(1, 60))
        result = estimate(seeds + problems + rng.normal(size=(5, 60)), seed=place, resamples=500)
        covered += result.low <= 0 <= result.high
    assert 0.88 <= covered / 300 <= 0.995


def test_one_seed_has_no_interval_and_no_seed_no_mean():
    one, none = estimate([0.5]), estimate([])
    assert one.mean == 0.5 and np.isnan([one.low, one.high, one.deviation]).all() and one.sign == 0
    assert np.isnan(none.mean) and none.seeds == 0


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=6))
def test_an_interval_lies_within_the_values(values):
    result = estimate(values, resamples=200)
    assert min(values) - 1e-9 <= result.low <= result.high <= max(values) + 1e-9
    assert result.mean == pytest.approx(np.mean(values))


# The frontier

POINTS = np.array([[0.2, 1.0], [0.3, 0.9], [0.25, 0.5], [0.4, 0.6]])


def test_the_frontier_is_the_upper_hull_of_the_checkpoints():
    assert frontier_at(0.1, POINTS) == 1.0
    assert frontier_at(0.25, POINTS) == pytest.approx(0.95)  # not the .5 measured there
    assert frontier_at(0.35, POINTS) == pytest.approx(0.75)
    assert frontier_at(0.4, POINTS) == pytest.approx(0.6)
    assert np.isnan(frontier_at(0.41, POINTS))


@given(st.floats(0.15, 0.4), st.floats(0.15, 0.4), st.floats(0, 0.99))
def test_a_checkpoint_below_the_frontier_changes_nothing(at, x, share):
    below = np.array([[x, share * frontier_at(x, POINTS)]])
    assert frontier_at(at, np.vstack([POINTS, below])) == pytest.approx(frontier_at(at, POINTS), abs=1e-12)


@pytest.mark.parametrize(
    ("final", "expected"),
    [
        ("same", "on"),
        ("better", "above"),
        ("worse", "below"),
        ("far", "beyond"),
    ],
)
def test_a_method_is_placed_against_the_reference_at_its_own_pass_at_1(tmp_path, final, expected):
    """Two kinds of problems: raising the easy half buys pass@1, losing the hard half costs pass@256."""
    made = []
    for seed in SEEDS:

        def policy(easy, hard, seed=seed):
            return np.concatenate([np.full(20, easy), np.full(20, hard)]) + jitter(seed, 0.0004)

        path = [policy(0.3, 0.02), policy(0.5, 0.01), policy(0.7, 0.005)]
        made.append(Made("GRPO", "grpo", seed, np.array(path)))
        made.append(
            Made("GRPO", "grpo", seed, np.array([path[0], path[0], policy(0.6, 0.0075)]), role="frontier", scale=0.5)
        )
        end = {
            "same": policy(0.6, 0.0075),
            "better": policy(0.6, 0.03),
            "worse": policy(0.6, 0.001),
            "far": policy(0.95, 0.02),
        }
        made.append(Made("SimKO", "simko", seed, np.array([path[0], path[1], end[final]])))
    with open_study(write_study(tmp_path / "study", made)) as study:
        result = matched(Outcomes(study), "SimKO", "GRPO", 256)
    assert result.verdict == expected
    assert result.beyond == (5 if final == "far" else 0)


def noisy_checkpoints(rng, problems=80, checkpoints=17):
    """A run's last checkpoint and those of an equal run on one trade-off curve, each off by luck on its problems."""
    base = rng.beta(0.5, 1.5, size=problems)
    at = np.append(np.linspace(0, 1, checkpoints), 0.5)[:, None]
    success = np.where(base < 0.15, base * (1 - 0.9 * at), 0.9 * base ** (1 - 0.5 * at))
    success = success + 0.1 * rng.normal(size=success.shape) * np.sqrt(success * (1 - success))
    success = np.clip(success, 1e-4, 0.999)
    many = 1 - (1 - success) ** 256
    return Points(success[-1], many[-1], success[:-1], many[:-1])


def test_the_best_of_many_checkpoints_flatters_the_reference_and_cross_fitting_does_not():
    """Two equal methods: the truth is 0. Two hundred studies, so that the mean is known to about .0015."""
    rng = np.random.default_rng(0)
    values = []
    for _ in range(200):
        points = noisy_checkpoints(rng)
        values.append((on_same_problems(points, resamples=1)[0], cross_fitted(points, resamples=8, splits=8)[0]))
    same, crossed = np.nanmean(values, axis=0)
    error = np.nanstd([v[1] for v in values]) / np.sqrt(200)
    assert same < -0.012
    assert abs(crossed) < 0.003 + 2 * error < 0.01


def test_checkpoints_are_chosen_on_validation_problems_where_there_are_some(tmp_path):
    """On held-out problems one checkpoint is lucky; on validation problems it is not, so it is not chosen."""
    made = []
    for seed in SEEDS:
        usual = np.full(40, 0.02) + jitter(seed, 0.0004)
        lucky = np.array([usual, np.full(40, 0.08), usual])
        made.append(Made("GRPO", "grpo", seed, lucky, validation=np.array([usual, usual - 0.01, usual])))
        made.append(Made("SimKO", "simko", seed, np.array([usual] * 3), validation=np.array([usual] * 3)))
    with open_study(write_study(tmp_path / "study", made)) as study:
        result = matched(Outcomes(study), "SimKO", "GRPO", 64, "early-stopped")
        words = next(s.words for s in findings(Outcomes(study)).sections if s.title == "At equal pass@1")
    assert result.chosen_on == "validation problems" and "chosen on validation problems" in words
    assert result.same_problems.mean < -0.2
    assert result.cross_fitted.mean == pytest.approx(0, abs=1e-6) and result.verdict == "on"


def test_without_validation_problems_halves_are_chosen_on(tmp_path):
    with open_study(study_of(tmp_path, GRPO=(0.02, -0.1), SimKO=(0.1, -0.2))) as study:
        result = matched(Outcomes(study), "SimKO", "GRPO", 256)
        section = next(s for s in findings(Outcomes(study)).sections if s.title == "At equal pass@1")
    assert result.chosen_on == "halves of the held-out problems" and result.chosen_on in section.words
    assert {"pass@256, cross-fitted", "pass@256, same problems"} <= set(section.table.columns)
    assert result.cross_fitted.mean == pytest.approx(result.same_problems.mean, abs=1e-9)  # all problems are alike here


# Correlation


def test_a_shared_drift_is_told_from_a_relation(tmp_path):
    """Λ(1) rises and pass@256 falls in every run alike: pooled r is strong, nothing is left beside the step."""
    made = [
        Made("GRPO", "grpo", seed, [0.05, 0.02 + jitter(seed, 0.0005), 0.01 + jitter(seed * 3, 0.0005)], (-0.4, -0.1))
        for seed in SEEDS
    ]
    with open_study(write_study(tmp_path / "study", made)) as study:
        result = {c.kind: c for c in correlations(checkpoints(Outcomes(study)), rank=1, k=256)}
    assert result["pooled"].r < -0.8 and result["pooled"].high < 0
    assert not (result["partial"].high < 0)
    assert np.isnan(result["between methods"].r)  # of one method


# Verdicts


@pytest.mark.parametrize(
    ("low", "high", "wanted", "enough", "result"),
    [
        (0.1, 0.3, 1, True, "holds"),
        (0.1, 0.3, -1, True, "does not hold"),
        (-0.1, 0.3, 1, True, "undecided"),
        (-0.3, -0.1, -1, True, "holds"),
        (0.1, 0.3, 1, False, "undecided"),
        (np.nan, np.nan, 1, True, "undecided"),
    ],
)
def test_the_rule_of_a_part(low, high, wanted, enough, result):
    assert ClaimPart("p", 0.0, low, high, wanted, enough).result == result


def test_the_rule_of_a_claim():
    holds, fails, open_ = (ClaimPart("p", 0, *bounds, 1) for bounds in ((0.1, 0.2), (-0.2, -0.1), (-0.1, 0.1)))
    assert DecidedClaim(1, "c", (holds, holds)).result == "holds"
    assert DecidedClaim(1, "c", (holds, open_)).result == "undecided"
    assert DecidedClaim(1, "c", (holds, open_, fails)).result == "does not hold"
    assert DecidedClaim(1, "c", ()).result == "undecided"


def decided(folder):
    with open_study(folder) as study:
        outcomes = Outcomes(study)
        points = checkpoints(outcomes)
        return {v.number: v.result for v in verdicts(outcomes, correlations(points, rank=1, k=256))}


def test_verdicts_follow_the_data_and_not_the_paper(tmp_path):
    paper = study_of(tmp_path / "a", GRPO=(0.02, -0.1), PSR=(0.005, -0.05), NSR=(0.04, -0.2), SimKO=(0.05, -0.22))
    assert decided(paper) == {1: "holds", 2: "holds", 3: "holds", 4: "holds", 5: "holds"}
    opposite = study_of(tmp_path / "b", GRPO=(0.05, -0.5), PSR=(0.01, -0.6), NSR=(0.1, -0.4), SimKO=(0.03, -0.45))
    assert set(decided(opposite).values()) == {"does not hold"}


@pytest.mark.parametrize(
    ("pass_1", "result"),
    [(0.05, "holds"), (0.045, "holds"), (0.02, "does not hold"), (0.033, "undecided")],
)
def test_pass_at_1_is_not_lower_up_to_a_margin(tmp_path, pass_1, result):
    """GRPO has .05; a loss of more than .017 counts. The last one lies on the margin, seeds differing by as much."""
    made = []
    for seed in SEEDS:
        made.append(Made("GRPO", "grpo", seed, [0.25, 0.1, 0.05]))
        made.append(Made("SimKO", "simko", seed, [0.25, 0.1, pass_1 + jitter(seed, 0.002)]))
    with open_study(write_study(tmp_path / "study", made)) as study:
        claim = next(v for v in verdicts(Outcomes(study), []) if v.number == 4)
    part = claim.parts[1]
    assert part.statement == "SimKO does not have a lower pass@1 than GRPO, by more than 0.017"
    assert part.result == result


def test_two_equal_methods_pass_the_test_of_not_lower():
    assert ClaimPart("p", 0.0, -0.01, 0.01, 1, margin=0.017).result == "holds"
    assert ClaimPart("p", 0.0, -0.01, 0.01, 1).result == "undecided"
    assert ClaimPart("p", -0.02, -0.03, -0.018, 1, margin=0.017).result == "does not hold"
    assert ClaimPart("p", 0.0, -0.03, 0.03, 1, margin=0.017).result == "undecided"


RECIPE = {"simko_alpha": 0.1, "simko_tau": 0.5, "simko_k": 3, "simko_terms": "both", "simko_lambda": 1.1}
ABLATIONS = {
    "SimKO": {},
    "alpha 0.05": {"simko_alpha": 0.05},
    "alpha 0.2": {"simko_alpha": 0.2},
    "tau 0": {"simko_tau": 0.0},
    "tau 0.8": {"simko_tau": 0.8},
    "K 1": {"simko_k": 1},
    "K 5": {"simko_k": 5},
    "positive": {"simko_terms": "positive"},
    "negative": {"simko_terms": "negative"},
    "two at once": {"simko_alpha": 0.4, "simko_k": 9},
}


def ablated(tmp_path, success, seeds=(1, 2, 3)):
    """Claim number → (result, statements) of a study with these final success probabilities, else .03."""
    made = [
        Made(label, "simko", seed, [0.25, 0.1, success.get(label, 0.03) + jitter(seed, 0.0002)], options=RECIPE | own)
        for label, own in ABLATIONS.items()
        for seed in seeds
    ]
    with open_study(write_study(tmp_path / "study", made)) as study:
        return {c.number: (c.result, [p.statement for p in c.parts]) for c in ablation_claims(Outcomes(study))}


def test_the_ablations_have_verdicts_by_the_data(tmp_path):
    paper = {"alpha 0.05": 0.02, "alpha 0.2": 0.05, "tau 0": 0.01, "K 5": 0.028, "positive": 0.02, "negative": 0.02}
    result = ablated(tmp_path / "a", paper)
    assert {number: verdict for number, (verdict, _) in result.items()} == dict.fromkeys((6, 7, 8, 9), "holds")
    assert result[6][1] == [
        "SimKO has a higher pass@256 than alpha 0.05",
        "alpha 0.2 has a higher pass@256 than SimKO",
    ]
    assert result[7][1] == ["SimKO has a higher pass@1 than tau 0", "tau 0.8 has a higher pass@1 than tau 0"]
    assert [s.split(", by")[0] for s in result[8][1]] == [
        "SimKO does not have a lower pass@1 than K 5",
        "SimKO does not have a lower pass@256 than K 5",
    ]
    assert result[9][1] == ["SimKO has a higher pass@256 than positive", "SimKO has a higher pass@256 than negative"]
    opposite = {"alpha 0.05": 0.05, "alpha 0.2": 0.02, "tau 0": 0.06, "K 5": 0.06, "positive": 0.04, "negative": 0.02}
    assert {v for v, _ in ablated(tmp_path / "b", opposite).values()} == {"does not hold"}


def test_equal_ablations_settle_only_that_a_small_k_suffices(tmp_path):
    result = {number: verdict for number, (verdict, _) in ablated(tmp_path, {}).items()}
    assert result == {6: "undecided", 7: "undecided", 8: "holds", 9: "undecided"}


def test_two_seeds_decide_nothing(tmp_path):
    made = [
        Made(m.upper(), m, s, [0.3, 0.3, p], (-0.3, -0.1)) for m, p in (("grpo", 0.1), ("simko", 0.2)) for s in (1, 2)
    ]
    assert set(decided(write_study(tmp_path / "s", made)).values()) <= {"undecided"}


# What is there and what is not


def test_runs_that_are_not_there_are_missing_with_the_reason(tmp_path):
    made = [Made("GRPO", "grpo", s, [0.3, 0.2, 0.1]) for s in SEEDS]
    made += [Made("SimKO", "simko", 1, [0.3, 0.2, 0.1], status="failed"), Made("NSR", "nsr", 1, np.full((3, 7), 0.2))]
    folder = write_study(tmp_path / "study", made, planned_only=("later",))
    (folder / "logs").mkdir()
    (folder / "logs" / f"{made[5].name}.log").write_text("step 3\nsimko-train: disk full\n\n")
    with open_study(folder) as study:
        outcomes = Outcomes(study)
        rows = next(s.table for s in findings(outcomes).sections if s.title == "Missing runs")
        assert study.labels == ["GRPO", "NSR"] and outcomes.labels == ["GRPO"]
    why = dict(zip(rows["run"], rows["why"], strict=True))
    assert why == {
        made[5].name: "failed: simko-train: disk full",
        "later": "not started",
        made[6].name: "evaluated on other problems than most runs: it cannot be paired with them",
    }


@pytest.mark.parametrize("content", [None, "{", "[]", '{"runs": [{"run": 3}]}'])
def test_a_folder_without_a_readable_study_says_so(tmp_path, content):
    if content is not None:
        (tmp_path / "study.json").write_text(content)
    with pytest.raises(StudyNotFound, match="simko study"):
        open_study(tmp_path)


def test_a_study_of_nothing_finished_has_no_tables_but_that_of_the_missing(tmp_path):
    folder = write_study(tmp_path / "study", [], planned_only=("a", "b"))
    with open_study(folder) as study:
        result = findings(Outcomes(study))
    assert [s.title for s in result.sections] == ["Missing runs"] and not result.verdicts


# The push


def test_a_push_that_comes_true_correlates_fully_with_its_shift(tmp_path):
    with open_study(study_of(tmp_path, GRPO=(0.05, -0.1), PSR=(0.02, -0.05), NSR=(0.06, -0.2))) as study:
        outcomes = Outcomes(study)
        fits = {(f.label, f.rank, f.kind): f for f in push_fits(outcomes)}
        available = foretold(outcomes, "GRPO", every=1)
    for rank in (1, 2, 3, None):
        same = fits["GRPO", rank, "same tokens"]
        assert same.r.mean == pytest.approx(1, abs=1e-6) and same.agreement.mean == 1
        if rank is not None:  # the entropy of these runs never changes
            assert abs(fits["GRPO", rank, "next step, other tokens"].r.mean) < 0.5  # noise here
    assert [(f.method, f.rank) for f in available] == [(m, r) for m in ("psr", "nsr") for r in (1, 2, 3)]


def test_numbers_read_as_in_a_paper():
    assert [number(v) for v in (0.123456, -0.5, 2.345, float("nan"))] == [".123", "\N{MINUS SIGN}.500", "2.35", "–"]
    assert number(0.02, signed=True) == "+.020"


def test_tables_are_complete(tmp_path):
    with open_study(study_of(tmp_path, GRPO=(0.05, -0.1), PSR=(0.02, -0.05), SimKO=(0.06, -0.2))) as study:
        sections = {s.title: s.table for s in findings(Outcomes(study)).sections}
    assert list(sections["After training"][""]) == ["base", "GRPO", "PSR", "SimKO"]
    assert {"pass@1", "pass@256", "Λ(3)"} <= set(sections["After training"].columns)
    assert list(sections["Against GRPO"][""]) == ["PSR", "SimKO"]
    assert list(sections["pass@k for every k"].columns)[1:] == [str(2**i) for i in range(9)]
    assert "Chosen on validation problems" not in sections
    assert json.dumps({k: v.to_dict() for k, v in sections.items()})
