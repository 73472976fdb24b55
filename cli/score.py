"""`simko score`: how probable, and how concentrated, a checkpoint finds responses that are there already.

    simko score countdown-base --responses answers.jsonl
    simko score first/checkpoint-80 --responses first             the responses that the run trained on last
    simko score ORG/MODEL --responses answers.parquet --server http://127.0.0.1:8000/v1

The result is an ordinary run of kind `scored`, at step 0, and a table of it by verdict (docs/diagnose.md).
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from ..store.errors import UsageError
from ..store.extras import require
from .terminal.parser import Parser
from .terminal.run_addresses import add_runs_option, find_run, is_run, runs_of

_SECONDS = 10.0


def parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="simko score", description="Λ(k), ranks and entropy of given responses under a checkpoint.")
    parser.add_argument("checkpoint", nargs="?", help="a checkpoint folder, .gguf file, hub id or built-in policy")
    parser.add_argument("--responses", metavar="FILE|RUN", help="a .jsonl or .parquet file, or a run")
    add_runs_option(parser)
    parser.add_argument("--output", metavar="RUN", help="the run that is written, by name or path")
    chosen = parser.add_argument_group("which responses")
    chosen.add_argument("--limit", type=int, metavar="N", help="the first so many")
    chosen.add_argument("--step", type=int, metavar="N", help="of a run: of that step (default: the last)")
    chosen.add_argument("--benchmark", metavar="NAME", help="of a run: those that an evaluation drew")
    chosen.add_argument("--dataset", metavar="FILE", help="of the benchmark's problems, where the evaluation had one")
    chosen.add_argument("--skip_long", action="store_true", help="leave out what the model's context does not hold")
    statistics = parser.add_argument_group("statistics")
    statistics.add_argument("--k", type=int, default=5, metavar="K", help="ranked candidates (default 5)")
    statistics.add_argument("--temperature", type=float, default=1.0, metavar="T", help="what logits are divided by")
    statistics.add_argument("--tau", type=float, default=0.8, metavar="Q", help="quantile of the forking rule")
    model = parser.add_argument_group("model")
    model.add_argument("--dtype", default="auto", help="of the weights")
    model.add_argument("--batch_tokens", type=int, default=16_384, metavar="N", help="tokens in one forward")
    model.add_argument("--server", metavar="URL", help="a server that gives prompt_logprobs (vLLM), up to /v1")
    model.add_argument("--model", metavar="NAME", help="the name it is served under")
    model.add_argument("--tokenizer", metavar="PATH", help="of the served model (default: the checkpoint's)")
    model.add_argument("--api_key_variable", default="OPENAI_API_KEY", metavar="NAME", help="holds the server's key")
    model.add_argument("--concurrency", type=int, default=16, metavar="N", help="requests at a time")
    model.add_argument("--timeout", type=float, default=900.0, metavar="SECONDS", help="for one request")
    parser.add_argument("--all", action="store_true", help="every column of the table, however wide")
    return parser


def run(options: argparse.Namespace) -> int:
    """Run the command; returns the exit code.

    Raises:
        SimkoError: the checkpoint, the responses or the server cannot be used.
    """
    _check(options)
    require("torch", "transformers", "datasets", "httpx2", extra="train")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.filterwarnings("ignore", category=FutureWarning)
    from ..trainers.diagnosis.run_responses import Chosen
    from ..trainers.diagnosis.scored_run import check_output
    from ..trainers.score import Settings, responses_at, score

    settings = Settings(
        options.k, options.temperature, options.tau, options.dtype, options.batch_tokens, options.skip_long
    )
    settings.check()
    place = _place(options)
    output = _output(options, place)
    check_output(output)
    name, scorer = _server(options, settings) if options.server else _model(options, settings)
    try:
        chosen = Chosen(options.benchmark, options.step, options.dataset, options.limit)
        responses = responses_at(place, scorer.tokenizer, chosen)
        source = str(options.responses)
        result = score(name, scorer, responses, output, settings, source=source, progress=_Progress(len(responses)))
    finally:
        scorer.close()
    from .terminal.scored_table import print_scored

    print_scored(result.run_dir, name, empty=result.empty, too_long=result.too_long, everything=options.all)
    return 0


def _check(options: argparse.Namespace) -> None:
    """What can be seen to be wrong before anything is loaded.

    Raises:
        UsageError: something is.
    """
    if not options.responses:
        raise UsageError("say what to score: --responses FILE or RUN")
    if not options.checkpoint and not (options.server and options.tokenizer):
        raise UsageError("say what scores: a checkpoint folder or a hub id (or --server URL with --tokenizer PATH)")
    for name in ("limit", "concurrency", "timeout"):
        value = getattr(options, name)
        if value is not None and value <= 0:
            raise UsageError(f"--{name} {value:g}: above 0")


def _place(options: argparse.Namespace) -> Path:
    """The file, or the folder of the run, that holds the responses."""
    path = Path(options.responses)
    return path if path.is_file() or path.suffix in (".jsonl", ".parquet", ".json") else _run(options)


def _run(options: argparse.Namespace) -> Path:
    from ..store.errors import RunNotFound

    folder = find_run(options.responses, runs_of(options))
    if not is_run(folder):
        raise RunNotFound(f"{options.responses} is neither a file of responses nor a run")
    return folder


def _output(options: argparse.Namespace, place: Path) -> Path:
    runs = runs_of(options)
    if options.output is not None:
        given = Path(options.output)
        return given if "/" in options.output or given.is_absolute() else runs / given
    model = options.checkpoint or options.model or "server"
    parts = [part for part in Path(model).parts if part not in ("/", ".", "..", "~")][-2:]
    text = f"{'--'.join(parts)}-on-{place.stem}"
    return runs / (re.sub(r"[^\w.+-]+", "-", text).lstrip(".-") or "scored")


def _model(options: argparse.Namespace, settings: Any) -> tuple[str, Any]:
    from ..trainers.evaluate import Destination, single_policy
    from ..trainers.score import model_scorer

    runs = runs_of(options)
    policy = single_policy(options.checkpoint, Destination(runs, runs / "scored", 0))
    return policy.name, model_scorer(str(policy.where), settings)


def _server(options: argparse.Namespace, settings: Any) -> tuple[str, Any]:
    from ..trainers.diagnosis.server_scorer import ServerScorer
    from ..trainers.evaluation.engines.server import ServerEngine, Service
    from ..trainers.models.loading import load_tokenizer

    tokenizer = load_tokenizer(options.tokenizer or options.checkpoint)
    service = Service(
        concurrency=options.concurrency, timeout=options.timeout, api_key_variable=options.api_key_variable
    )
    engine = ServerEngine([options.server], model=options.model, tokenizer=tokenizer, service=service)
    try:
        scorer = ServerScorer(engine, k=settings.k, temperature=settings.temperature)
    except BaseException:
        engine.close()
        raise
    return options.checkpoint or engine.served, scorer


class _Progress:
    """A line on stderr every ten seconds."""

    def __init__(self, total: int) -> None:
        self._total, self._done, self._told = total, 0, time.monotonic()

    def __call__(self, responses: int) -> None:
        self._done += responses
        if time.monotonic() - self._told >= _SECONDS:
            self._told = time.monotonic()
            print(f"{self._done}/{self._total} responses scored", file=sys.stderr, flush=True)
