"""How often intervals of pass@k from training rollouts hold the exact pass@k on the training problems.

    python benchmarks/rollout_pass_at_k.py collect FOLDER [--seeds 5] [--steps 80]    # train, and enumerate the truth
    python benchmarks/rollout_pass_at_k.py coverage FOLDER                            # real runs, five times each
    python benchmarks/rollout_pass_at_k.py synthetic [--draws 40]   # known distributions of success

`collect` trains the built-in Countdown policy by several methods and learning rates. A run is cut into five windows of
equal length. The truth of a window is the mean, over the problems sampled in it, of the exact pass@k by the policy that
sampled them, and so changes with the policy as the rollouts do. `all` is the exact pass@k over every training problem,
those just trained on included, at the first policy of the window and at the last.

`coverage` prints, per k, how many of the windows have the truth in the estimate's 90 % interval and in the bounds, how
far off the estimate is, and how wide both are.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

METHODS = ("grpo", "simko", "pkpo", "nsr")
LEARNING_RATES = ("1.5e-4", "6e-4")
TIMES = 5
STEPS_PER_BATCH = 4
KS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("collect", "coverage", "synthetic"))
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=80, help="optimizer steps per run, a multiple of 20")
    parser.add_argument("--draws", type=int, default=40, help="data sets per distribution")
    parser.add_argument("--redraws", type=int, default=0, help="also draw each window's rollouts anew, so many times")
    options = parser.parse_args()
    if options.action != "synthetic" and options.folder is None:
        parser.error(f"{options.action} needs a folder")
    if options.action == "collect":
        collect(options.folder, options.seeds, options.steps)
    elif options.action == "coverage":
        coverage(options.folder, options.redraws)
    else:
        synthetic(options.draws)


def collect(folder: Path, seeds: int, steps: int) -> None:
    """Train every configuration that is not there yet; one .npz per run."""
    from simko.cli.train import main as train

    folder.mkdir(parents=True, exist_ok=True)
    for seed, method, rate in itertools.product(range(1, seeds + 1), METHODS, LEARNING_RATES):
        file = folder / f"{method}-{rate}-{seed}.npz"
        if file.exists():
            continue
        started = time.process_time()
        run = folder / file.stem
        shutil.rmtree(run, ignore_errors=True)
        command = ["--task", "countdown", "--method", method, "--probe", "--seed", seed, "--learning_rate", rate]
        command += ["--max_steps", steps, "--output_dir", run, "--pass_at_k_steps", 0, "--probe_every", 1000]
        command += ["--save_steps", STEPS_PER_BATCH, "--save_total_limit", 1000, "--save_only_model", "true"]
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            if code := train(list(map(str, command))):
                raise SystemExit(f"{file.stem}: training ended with exit code {code}")
        np.savez(file, **measured(run, steps))
        shutil.rmtree(run)
        print(f"{file.stem}: {time.process_time() - started:.1f} CPU-seconds", flush=True)


def measured(run: Path, steps: int) -> dict[str, Any]:
    """What `coverage` reads: `step`, `problem`, `n`, `c`, `success` of each group; `all` (TIMES, 2, problems)."""
    from simko.store import open as open_runs
    from simko.trainers.tasks import task_for

    with open_runs(run) as connection:
        rows = connection.execute(
            "SELECT step, prompt_id, n, c FROM problems WHERE source = 'rollouts' ORDER BY step"
        ).df()
    task = task_for("countdown")
    place = {prompt_id: i for i, prompt_id in enumerate(task.train["prompt_id"])}
    rows["problem"] = [place[prompt_id] for prompt_id in rows.prompt_id]
    success = np.full(len(rows), np.nan)
    for step in sorted(set(rows.step)):
        own = (rows.step == step).to_numpy()
        success[own] = success_after(run, step - 1, task, rows.problem[own].tolist())
    window = steps // TIMES
    ends = [(first, first + window - STEPS_PER_BATCH) for first in range(0, steps, window)]
    everything = [[success_after(run, step, task, range(len(place))) for step in pair] for pair in ends]
    columns = {name: rows[name].to_numpy() for name in ("step", "problem", "n", "c")}
    return columns | {"success": success, "all": np.array(everything), "window": window}


def success_after(run: Path, step: int, task: Any, problems: Any) -> Any:
    """(P,) exact probability of a right response to training problems after that many steps."""
    from simko.trainers.evaluation.exact import exact_success
    from simko.trainers.models.base_policy import COUNTDOWN_BASE
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = run / f"checkpoint-{step}" if step else COUNTDOWN_BASE
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    chosen = task.train.select(list(problems))
    return exact_success(model.eval(), tokenizer, list(chosen["prompt"]), list(chosen["answer"]))


class Tally:
    """Estimates beside truths."""

    def __init__(self) -> None:
        self.rows: list[Any] = []

    def add(self, n: Any, c: Any, truth: Any) -> None:
        """One window: (P,) responses and right ones per problem, (len(KS),) true pass@k."""
        from simko.store.analysis.rollout_bounds import Counts, bounds
        from simko.store.analysis.rollout_prior import posterior_pass_at_k

        counts = Counts.of(n, c)
        draws = posterior_pass_at_k(counts, KS, seed=len(self.rows))
        low, high = np.quantile(draws, [0.05, 0.95], axis=0)
        least, most = np.array(bounds(counts, KS)).T
        held, allowed = (low <= truth) & (truth <= high), (least <= truth) & (truth <= most)
        error = draws.mean(0) - truth
        self.rows.append(np.stack([held, allowed, error, np.abs(error), high - low, most - least, truth]))

    def print(self, name: str) -> None:
        """One line per k."""
        means = np.mean(self.rows, axis=0).T
        print(f"\n{name}: {len(self.rows)} windows")
        print(f"{'k':>5}{'truth':>8}{'covered':>9}{'in bounds':>11}{'bias':>8}{'error':>8}{'width':>8}{'bounds':>8}")
        for k, (held, allowed, bias, error, width, wide, truth) in zip(KS, means, strict=True):
            print(
                f"{k:5d}{truth:8.3f}{held:9.0%}{allowed:11.0%}{bias:+8.3f}{error:8.3f}{width:8.3f}{wide:8.3f}",
                flush=True,
            )


def coverage(folder: Path, redraws: int) -> None:
    """Real rollouts, by learning rate and together; `redraws`: also drawn anew at each exact success."""
    tallies = {name: Tally() for name in (*LEARNING_RATES, "all runs", "drawn anew")}
    files, gap = sorted(folder.glob("*.npz")), []
    rng = np.random.default_rng(0)
    for file in files:
        data = np.load(file)
        for i in range(TIMES):
            own = (data["step"] > i * data["window"]) & (data["step"] <= (i + 1) * data["window"])
            problem, n, c, success = (data[name][own] for name in ("problem", "n", "c", "success"))
            truth = passes(success)
            gap.append(np.mean([passes(p) for p in data["all"][i]], axis=0) - truth)
            tallies["all runs"].add(np.bincount(problem, n), np.bincount(problem, c), truth)
            rate = next(rate for rate in LEARNING_RATES if f"-{rate}-" in file.stem)
            tallies[rate].rows.append(tallies["all runs"].rows[-1])
            for _ in range(redraws):
                drawn = rng.binomial(n, success)
                tallies["drawn anew"].add(np.bincount(problem, n), np.bincount(problem, drawn), truth)
    print(f"{len(files)} runs, {TIMES} windows each")
    for name, tally in tallies.items():
        if tally.rows:
            tally.print(name)
    print("\nall training problems, those just trained on included, less those sampled, as they were sampled:")
    print("  ".join(f"pass@{k} {value:+.3f}" for k, value in zip(KS, np.mean(gap, axis=0), strict=True)))


def passes(success: Any) -> Any:
    """(len(KS),) mean pass@k of problems with these exact probabilities."""
    return np.array([np.mean(1 - (1 - success) ** k) for k in KS])


def synthetic(draws: int, problems: int = 512, n: int = 8) -> None:
    """Known distributions of success, in and outside the assumed family."""

    def logit_normal(*parts: tuple[float, float, float], zero: float = 0.0) -> Any:
        def draw(rng: Any) -> Any:
            which = rng.choice(len(parts), problems, p=[weight for weight, *_ in parts])
            centre, spread = (np.array([part[i] for part in parts])[which] for i in (1, 2))
            return (rng.random(problems) >= zero) / (1 + np.exp(-rng.normal(centre, spread)))

        return draw

    def beta(a: float, b: float, zero: float = 0.0) -> Any:
        return lambda rng: rng.beta(a, b, problems) * (rng.random(problems) >= zero)

    distributions = {
        "logit normal -2, 2": logit_normal((1, -2, 2)),
        "logit normal -4, 2": logit_normal((1, -4, 2)),
        "logit normal -1, 1.5; 10 % impossible": logit_normal((1, -1, 1.5), zero=0.1),
        "two logit normals": logit_normal((0.6, 1.5, 1), (0.4, -4, 1)),
        "sharpened": logit_normal((0.7, 4, 2), (0.3, -6, 1.5)),
        "beta .5, .5": beta(0.5, 0.5),
        "beta .3, 1": beta(0.3, 1),
        "beta 1, 3; 20 % impossible": beta(1, 3, 0.2),
    }
    rng, together = np.random.default_rng(0), Tally()
    for name, draw in distributions.items():
        tally = Tally()
        for _ in range(draws):
            success = draw(rng)
            tally.add(np.full(problems, n), rng.binomial(n, success), passes(success))
        tally.print(name)
        together.rows += tally.rows
    together.print("together")


if __name__ == "__main__":
    main()
