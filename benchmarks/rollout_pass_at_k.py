"""How often intervals of pass@k from training rollouts hold the exact pass@k on the training problems.

    python benchmarks/rollout_pass_at_k.py collect FOLDER [--seeds 5] [--steps 160]   # train, and enumerate the truth
    python benchmarks/rollout_pass_at_k.py coverage FOLDER                            # real runs, five times each
    python benchmarks/rollout_pass_at_k.py synthetic [--draws 40]                     # known distributions of difficulty

`collect` trains the built-in Countdown policy with several methods and learning rates. A run is cut into five windows of
equal length. The rollouts of a window come from several policies, one per rollout batch; the truth is the mean over
these policies of the exact pass@k over all training problems, whether sampled in the window or not. Two of the policies
stand for all of them, as in two-point Gaussian quadrature. About half a minute of one core per run.

`coverage` prints, per k, how many of the windows have the truth in the estimate's 90 % interval and in the bounds, how
far off the estimate is, and how wide both are.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import subprocess
import sys
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
    parser.add_argument("--steps", type=int, default=160, help="optimizer steps per run, a multiple of 20")
    parser.add_argument("--draws", type=int, default=40, help="data sets per distribution")
    options = parser.parse_args()
    if options.action == "collect":
        collect(options.folder, options.seeds, options.steps)


def collect(folder: Path, seeds: int, steps: int) -> None:
    """Train every configuration that is not there yet; one .npz per run."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, method, rate in itertools.product(range(1, seeds + 1), METHODS, LEARNING_RATES):
        file = folder / f"{method}-{rate}-{seed}.npz"
        if file.exists():
            continue
        started = time.process_time()
        run = folder / file.stem
        shutil.rmtree(run, ignore_errors=True)
        command = [sys.executable, "-m", "simko.cli.train", "--task", "countdown", "--method", method, "--probe"]
        command += ["--seed", seed, "--learning_rate", rate, "--max_steps", steps, "--output_dir", run]
        command += ["--save_steps", STEPS_PER_BATCH, "--save_total_limit", 1000, "--save_only_model", "true"]
        command += ["--pass_at_k_steps", 0, "--probe_every", 1000]
        subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        np.savez(file, **measured(run, steps))
        shutil.rmtree(run)
        print(f"{file.stem}: {time.process_time() - started:.1f} CPU-seconds to measure it", flush=True)


def measured(run: Path, steps: int) -> dict[str, Any]:
    """Rollouts and truth by window: `step`, `problem`, `n`, `c` of each group, `truth` (TIMES, 2, problems)."""
    from simko.store import open as open_runs

    with open_runs(run) as connection:
        rows = connection.execute(
            "SELECT step, prompt_id, n, c FROM problems WHERE source = 'rollouts' ORDER BY step"
        ).df()
    window = steps // TIMES
    middle, apart = (window - STEPS_PER_BATCH) / 2, (window**2 - STEPS_PER_BATCH**2) ** 0.5 / 12**0.5
    truth = []
    for first in range(0, steps, window):
        places = [round((first + middle + side * apart) / STEPS_PER_BATCH) * STEPS_PER_BATCH for side in (-1, 1)]
        places = [max(place, STEPS_PER_BATCH) for place in places]
        truth.append([success_after(run, place) for place in places])
    columns = {name: rows[name].to_numpy() for name in ("step", "n", "c")}
    return columns | {"problem": rows.prompt_id.factorize()[0], "truth": np.array(truth), "window": window}


def success_after(run: Path, step: int) -> Any:
    """(problems,) exact probability of a right response to each training problem after that many steps."""
    from simko.trainers.evaluation.exact import exact_success
    from simko.trainers.tasks import task_for
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = run / f"checkpoint-{step}"
    model = AutoModelForCausalLM.from_pretrained(folder)
    problems = task_for("countdown").train
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return exact_success(model.eval(), tokenizer, list(problems["prompt"]), list(problems["answer"]))


if __name__ == "__main__":
    main()
