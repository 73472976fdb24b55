"""How often intervals of pass@k from training rollouts hold the exact pass@k on the training problems.

    python benchmarks/rollout_pass_at_k.py collect FOLDER [--seeds 5] [--steps 80]    # train, and enumerate the truth
    python benchmarks/rollout_pass_at_k.py coverage FOLDER                            # real runs, five times each
    python benchmarks/rollout_pass_at_k.py synthetic [--draws 40]                     # known distributions of difficulty

`collect` trains the built-in Countdown policy with several methods and learning rates. A run is cut into five windows of
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
    options = parser.parse_args()
    if options.action == "collect":
        collect(options.folder, options.seeds, options.steps)


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


if __name__ == "__main__":
    main()
