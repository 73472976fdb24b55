"""`simko diagnose`: what training has done to a model, from samples of it and of the model it started from.

    simko diagnose countdown-base first/checkpoint-80 --task countdown --samples 16 --limit 40
    simko diagnose ORG/BASE ORG/TUNED --task math500 --engine vllm --vllm_python venvs/vllm/bin/python

Both are sampled and judged, each one's responses are scored by both, and a report says what differs beyond noise
(docs/diagnose.md). Called again, it does what is missing.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import warnings
from pathlib import Path
from typing import Any

from ..store.errors import ExtraMissing, UsageError
from ..store.extras import require
from .terminal.output import INTERRUPTED, printable
from .terminal.parser import Parser
from .terminal.run_addresses import add_runs_option, runs_of


def parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="simko diagnose", description="What training has done to a model, against where it started.")
    parser.add_argument("base", help="the model before: a checkpoint folder, hub id or built-in policy")
    parser.add_argument("tuned", help="the model after")
    parser.add_argument("--task", metavar="NAME", help="what is measured: a benchmark (`simko eval --list`)")
    add_runs_option(parser)
    parser.add_argument("--output", metavar="FOLDER", help="the diagnosis that is written or gone on with")
    draws = parser.add_argument_group("draws (default: the benchmark's own)")
    draws.add_argument("--samples", type=int, metavar="N", help="responses per problem of either model")
    draws.add_argument("--temperature", type=float, metavar="T", help="what logits are divided by")
    draws.add_argument("--top_p", type=float, metavar="P", help="nucleus")
    draws.add_argument("--max_tokens", type=int, metavar="N", help="longest response")
    draws.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of the base model's draws; the other's is N + 1"
    )
    problems = parser.add_argument_group("problems")
    problems.add_argument("--limit", type=int, metavar="N", help="that many problems, drawn once and for all")
    problems.add_argument("--dataset", metavar="FILE", help="the benchmark's problems from a file or a hub id")
    problems.add_argument("--prompt_style", metavar="NAME", help="how problems are put")
    statistics = parser.add_argument_group("statistics")
    statistics.add_argument("--k", type=int, default=5, metavar="K", help="ranked candidates, 3 or more (default 5)")
    statistics.add_argument("--tau", type=float, default=0.8, metavar="Q", help="quantile of the forking rule")
    engine = parser.add_argument_group("engine")
    engine.add_argument("--engine", choices=("transformers", "vllm"), default="transformers", help="what draws")
    engine.add_argument("--dtype", default="auto", help="of the weights")
    engine.add_argument("--batch_tokens", type=int, default=65_536, metavar="N", help="tokens held at once in drawing")
    engine.add_argument("--vllm_python", default=sys.executable, metavar="PATH", help="the Python that has vLLM")
    engine.add_argument("--vllm_args", default="", metavar="ARGS", help="further arguments of vLLM's server, in quotes")
    parser.add_argument("--per_unit", type=int, metavar="N", help="responses written at once, about")
    parser.add_argument("--all", action="store_true", help="every column of the tables, however wide")
    return parser


def run(options: argparse.Namespace) -> int:
    """Run the command; returns the exit code.

    Raises:
        SimkoError: a model, the benchmark or an option cannot be used; what was done is kept.
    """
    if not options.task:
        raise UsageError("say what to measure: --task NAME (`simko eval --list` lists benchmarks)")
    if options.k < 3:
        raise UsageError(f"--k {options.k}: 3 or more, for Λ(1), Λ(2) and Λ(3)")
    for name in ("batch_tokens", "per_unit"):
        value = getattr(options, name)
        if value is not None and value <= 0:
            raise UsageError(f"--{name} {value}: above 0")
    require("torch", "transformers", "datasets", "httpx2", extra="train")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.filterwarnings("ignore", category=FutureWarning)
    from ..trainers.diagnose import carry_out, plan_pair
    from ..trainers.evaluation.benchmarks import Asked, check_asked, check_benchmark
    from ..trainers.evaluation.units import UNIT_RESPONSES
    from ..trainers.score import Settings
    from .terminal.evaluation_engines import Engines

    check_benchmark(options.task)
    names = ("samples", "temperature", "top_p", "max_tokens", "limit", "prompt_style", "dataset", "seed")
    asked = Asked(**{name: getattr(options, name) for name in names})
    check_asked(asked)
    output = _output(options)
    pair = plan_pair(
        (options.base, options.tuned),
        options.task,
        asked,
        output=output,
        runs=runs_of(options),
        settings=Settings(k=options.k, tau=options.tau, dtype=options.dtype),
        engine=options.engine,
        per_unit=options.per_unit or UNIT_RESPONSES[options.engine],
    )
    if len({policy.weights for policy in pair.policies.values()}) == 1:
        print("note: both are the same weights", file=sys.stderr)
    engines = Engines(_engine_options(options))
    try:
        carry_out(pair, engines.engine, lambda line: print(line, flush=True))
    except KeyboardInterrupt:
        print("\ninterrupted; what is done is kept, the same command goes on with the rest", file=sys.stderr)
        return INTERRUPTED
    finally:
        engines.close()
    _report(output, everything=options.all)
    return 0


def _report(output: Path, *, everything: bool) -> None:
    from ..store.analysis.diagnosis import diagnosis_of
    from .terminal.diagnosis_tables import print_diagnosis

    diagnosis = diagnosis_of(output)
    for warning in diagnosis.warnings:
        print(f"warning: {printable(warning)}", file=sys.stderr)
    print_diagnosis(diagnosis, output, everything=everything)
    try:
        require("plotly", "streamlit", extra="dashboard")
    except ExtraMissing as error:
        print(f"no report.html: {error}", file=sys.stderr)
        return
    from ..dashboard.report import diagnosis_report, to_html
    from ..dashboard.report.document import ReportFailed

    path = output / "report.html"
    try:
        path.write_text(to_html(diagnosis_report(diagnosis)), encoding="utf-8")
    except OSError as error:
        raise ReportFailed(f"cannot write {path}: {error.strerror}") from error
    print(f"report:     {printable(str(path))}")


def _output(options: argparse.Namespace) -> Path:
    runs = runs_of(options)
    if options.output is not None:
        given = Path(options.output)
        return given if "/" in options.output or given.is_absolute() else runs / given
    parts = [_slug(name) for name in (options.base, options.tuned)]
    return runs / f"diagnosis-{parts[0]}-{parts[1]}-{_slug(options.task)}"


def _slug(name: str) -> str:
    parts = [part for part in Path(name).parts if part not in ("/", ".", "..", "~")][-2:]
    return re.sub(r"[^\w.+-]+", "-", "--".join(parts)).strip(".-") or "model"


def _engine_options(options: argparse.Namespace) -> argparse.Namespace:
    """The options as `simko eval` has them, without a server that runs already."""
    fixed: dict[str, Any] = {"server": None, "model": None, "tokenizer": None, "concurrency": 64, "per_request": 16}
    fixed |= {"timeout": 900.0, "api_key_variable": "OPENAI_API_KEY"}
    return argparse.Namespace(**{**vars(options), **fixed})
