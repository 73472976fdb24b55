"""`simko eval`: pass@k of checkpoints on benchmarks, beside training or after it, resumable to a block of samples.

    simko eval first --benchmarks math500,aime24         every checkpoint of a run, also while it trains
    simko eval first/checkpoint-20 ORG/MODEL --benchmarks countdown --samples 64
    simko eval --server http://127.0.0.1:8000/v1 --benchmarks aime24
    simko eval first --benchmarks aime24 --engine vllm --vllm_python venvs/vllm/bin/python

Called again, it does what is missing. Ctrl-C keeps what is done. Results go into the run's tables `evals` and
`samples`, or into a run of their own for a policy of no run (docs/evaluation.md).
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ..store.errors import UsageError
from ..store.extras import require
from .terminal.output import INTERRUPTED, printable
from .terminal.parser import Parser
from .terminal.run_addresses import add_runs_option, runs_of

if TYPE_CHECKING:
    from ..trainers.evaluation.work import Evaluation

ENGINES = ("transformers", "server", "vllm")


def parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="simko eval", description="pass@k of checkpoints on benchmarks.")
    parser.add_argument("checkpoints", nargs="*", help="runs, checkpoint folders, hub ids")
    parser.add_argument("--benchmarks", metavar="NAME,…", help="what is measured (--list)")
    parser.add_argument("--list", action="store_true", help="the benchmarks there are")
    add_runs_option(parser)
    parser.add_argument("--into", metavar="RUN", help="the run that takes the results (default: the checkpoint's own)")
    parser.add_argument(
        "--step", type=int, metavar="N", help="optimizer steps done, where the folder's name does not tell"
    )
    parser.add_argument("--base", action="store_true", help="also the model that each run started from, as step 0")
    draws = parser.add_argument_group("draws (default: the benchmark's own)")
    draws.add_argument("--samples", type=int, metavar="N", help="responses per problem, up to 1024")
    draws.add_argument("--temperature", type=float, metavar="T", help="what logits are divided by")
    draws.add_argument("--top_p", type=float, metavar="P", help="nucleus")
    draws.add_argument("--max_tokens", type=int, metavar="N", help="longest response")
    draws.add_argument("--seed", type=int, default=0, metavar="N", help="of the draws; another one measures anew")
    problems = parser.add_argument_group("problems")
    problems.add_argument("--limit", type=int, metavar="N", help="that many problems, drawn once and for all")
    problems.add_argument("--dataset", metavar="FILE", help="the benchmark's problems from a file or a hub id")
    problems.add_argument("--prompt_style", metavar="NAME", help="how problems are put")
    engine = parser.add_argument_group("engine")
    engine.add_argument(
        "--engine", choices=ENGINES, help="what draws (default: server with --server, else transformers)"
    )
    engine.add_argument("--server", metavar="URL", help="an OpenAI-compatible server, up to /v1")
    engine.add_argument("--model", metavar="NAME", help="the name it is served under")
    engine.add_argument("--tokenizer", metavar="PATH", help="of the served model (default: the checkpoint's)")
    engine.add_argument("--api_key_variable", default="OPENAI_API_KEY", metavar="NAME", help="holds the server's key")
    engine.add_argument("--concurrency", type=int, default=64, metavar="N", help="requests at a time")
    engine.add_argument("--per_request", type=int, default=16, metavar="N", help="responses asked for at once")
    engine.add_argument("--timeout", type=float, default=900.0, metavar="SECONDS", help="for one request")
    engine.add_argument("--unseeded", action="store_true", help="no seed in requests: one ends a vLLM server on a CPU")
    engine.add_argument(
        "--batch_tokens", type=int, default=65_536, metavar="N", help="transformers: tokens held at once"
    )
    engine.add_argument("--dtype", default="auto", help="transformers and vllm: of the weights")
    engine.add_argument("--vllm_python", default=sys.executable, metavar="PATH", help="the Python that has vLLM")
    engine.add_argument("--vllm_args", default="", metavar="ARGS", help="further arguments of vLLM's server: ='--…'")
    parser.add_argument("--per_unit", type=int, metavar="N", help="responses written at once, about")
    parser.add_argument("--anew", action="store_true", help="begin another evaluation beside an unfinished one")
    parser.add_argument("--all", action="store_true", help="every column of the table, however wide")
    return parser


def run(options: argparse.Namespace) -> int:
    """Run the command; returns the exit code.

    Raises:
        SimkoError: what was asked cannot be done; what was done is kept.
    """
    names = [name.strip() for name in (options.benchmarks or "").split(",") if name.strip()]
    _check(options, names)
    require("torch", "transformers", "datasets", "httpx2", extra="train")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.filterwarnings("ignore", category=FutureWarning)
    from ..trainers.evaluation.benchmarks import check_asked, check_benchmark, known_benchmarks

    if options.list:
        width = max(map(len, known_benchmarks()))
        print("\n".join(f"{name:<{width}}  {doc}" for name, doc in known_benchmarks().items()))
        return 0
    for name in names:
        check_benchmark(name)
    check_asked(_asked(options))
    before = signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        return _evaluate(options, list(dict.fromkeys(names)))
    finally:
        signal.signal(signal.SIGTERM, before)


def _check(options: argparse.Namespace, names: list[str]) -> None:
    """What can be seen to be wrong before anything is loaded.

    Raises:
        UsageError: something is.
    """
    if options.list:
        return
    if not names:
        raise UsageError("say what to measure: --benchmarks NAME,… (--list lists them)")
    if not options.checkpoints and not options.server:
        raise UsageError("say what to evaluate: a run, a checkpoint folder or a hub id, or --server URL")
    if options.server and options.engine not in (None, "server"):
        raise UsageError(f"--server and --engine {options.engine} exclude each other")
    if options.engine == "server" and not options.server:
        raise UsageError("--engine server needs --server URL")
    if options.server and len(options.checkpoints) > 1:
        raise UsageError("a server serves one model: give the one checkpoint that it serves, or none")
    if options.server and options.base:
        raise UsageError("--base evaluates a run in this process or by --engine vllm; leave out --server")
    if options.dataset is not None and len(names) > 1:
        raise UsageError("--dataset is of one benchmark; evaluate the others by a call of their own")
    for name in ("concurrency", "per_request", "batch_tokens", "per_unit", "timeout"):
        value = getattr(options, name)
        if value is not None and value <= 0:
            raise UsageError(f"--{name} {value}: above 0")
    if options.step is not None and options.step < 0:
        raise UsageError(f"--step {options.step}: 0 or more")


def _asked(options: argparse.Namespace) -> Any:
    from ..trainers.evaluation.benchmarks import Asked

    fields = ("samples", "temperature", "top_p", "max_tokens", "limit", "prompt_style", "dataset", "seed")
    return Asked(**{name: getattr(options, name) for name in fields})


def _evaluate(options: argparse.Namespace, names: list[str]) -> int:
    from ..trainers.evaluate import Destination, evaluate_all, planned, policies_of, served_policy
    from ..trainers.evaluation.units import UNIT_RESPONSES
    from .terminal.evaluation_engines import Engines

    runs = runs_of(options)
    into = None if options.into is None else _into(options.into, runs)
    where = Destination(runs, into, options.step)
    engines = Engines(options)
    if options.server:
        served = engines.connect()
        policies = [served_policy(served, next(iter(options.checkpoints), None), where)]
    else:
        policies, notes = policies_of(options.checkpoints, where, base=options.base)
        for note in notes:
            print(f"note: {printable(note)}", file=sys.stderr)
    evaluations = planned(
        policies,
        names,
        _asked(options),
        engine=engines.name,
        tokenizer_of=engines.tokenizer,
        per_unit=options.per_unit or UNIT_RESPONSES[engines.name],
        anew=options.anew,
    )
    _announce(evaluations)
    try:
        evaluate_all(evaluations, engines.engine)
    except KeyboardInterrupt:
        print("\ninterrupted; what is done is kept, the same command goes on with the rest", file=sys.stderr)
        return INTERRUPTED
    finally:
        engines.close()
    _report(evaluations, everything=options.all)
    return 0


def _into(address: str, runs: Path) -> Path:
    """The folder of the run that takes the results: a path, or a name in the folder of runs."""
    return Path(address) if "/" in address or Path(address).is_absolute() else runs / address


def _announce(evaluations: list[Evaluation]) -> None:
    """Say what is about to happen, and what of it was done before."""
    total = sum(item.responses for item in evaluations)
    missing = sum(unit.responses for item in evaluations for unit in item.missing)
    policies = {item.policy.name for item in evaluations}
    counts = f"{len(policies)} polic{'y' if len(policies) == 1 else 'ies'}, {len(evaluations)} evaluation"
    counts += "s" * (len(evaluations) != 1)
    before = f", {total - missing} of them drawn before" if missing < total else ""
    print(f"{counts}, {total} responses{before}", flush=True)


def _report(evaluations: list[Evaluation], *, everything: bool) -> None:
    from .terminal.evaluation_table import print_evaluations

    print_evaluations([(item.policy.run_dir, item.evaluation, item.policy.name) for item in evaluations], everything)


def _as_interrupt(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt
