"""A base model and a tuned one, from sampling to four scored runs: the door of `simko diagnose`.

1. Both are evaluated on one benchmark, by the units of `simko eval`: what is there already is not drawn again. The
   tuned model's draws have the next seed, so that the two models' counts are independent.
2. Each model's responses are scored by both models, at temperature 1 (`diagnosis/scored_run`): four runs. A run that
   was finished before is left as it is.

Whatever ends the process, the same call goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..store.analysis.diagnosis_folder import BASE, SIDES, TUNED, cell, is_diagnosis, read_diagnosis, write_diagnosis
from ..store.errors import EvaluationChanged
from ..store.layout.manifest import ManifestReader
from ..store.layout.run import RUN_FILE, check_name, create_or_resume, unwritable
from .diagnosis.encoding import EncodedResponses, encode
from .diagnosis.run_responses import evaluated_responses
from .diagnosis.scored_run import description, score_into
from .diagnosis.vocabularies import check_same_vocabulary
from .evaluate import Destination, evaluate_all, planned, single_policy
from .evaluation.benchmarks import Asked
from .evaluation.engines.base import Engine
from .evaluation.policies import Policy
from .evaluation.work import Evaluation
from .models.loading import load_tokenizer
from .score import Settings, model_scorer


@dataclass(frozen=True)
class Pair:
    """What is compared.

    Attributes:
        output: the folder of the diagnosis.
        policies, tokenizers, evaluations: of either side.
        settings: how responses are scored.
    """

    output: Path
    policies: dict[str, Policy]
    tokenizers: dict[str, Any]
    evaluations: dict[str, Evaluation]
    settings: Settings


def plan_pair(
    addresses: tuple[str, str],
    benchmark: str,
    asked: Asked,
    *,
    output: Path,
    runs: Path,
    settings: Settings,
    engine: str,
    per_unit: int,
) -> Pair:
    """Everything that can be found out to be wrong before anything is drawn.

    Args:
        addresses: of the base model and the tuned one: checkpoints, hub ids, built-in policies.
        benchmark: on which they are compared.
        asked: how responses are drawn; the tuned model's seed is one more.
        output: the folder that takes the diagnosis.
        runs: where names of runs are looked up.
        settings: how responses are scored.
        engine: that draws, `transformers` or `vllm`.
        per_unit: responses written at once, about.

    Raises:
        TokenizersDiffer: the models have different vocabularies.
        EvaluationChanged: the folder holds a diagnosis of something else.
        SimkoError: a model, the benchmark or an option cannot be used.
    """
    settings.check()
    check_name(output.name)
    policies, tokenizers, evaluations = {}, {}, {}
    for side, address in zip(SIDES, addresses, strict=True):
        policy = single_policy(address, Destination(runs, output / side, 0))
        policies[side] = replace(policy, begins=None)
        tokenizers[side] = load_tokenizer(str(policy.where))
    check_same_vocabulary(tokenizers[BASE], tokenizers[TUNED], (policies[BASE].name, policies[TUNED].name))
    for place, side in enumerate(SIDES):
        evaluations[side] = planned(
            [policies[side]],
            [benchmark],
            replace(asked, seed=asked.seed + place),
            engine=engine,
            tokenizer_of=lambda _, side=side: tokenizers[side],  # type: ignore[misc]
            per_unit=per_unit,
            anew=True,
        )[0]
    pair = Pair(output, policies, tokenizers, evaluations, settings)
    _begin(pair, _content(pair, engine))
    return pair


def carry_out(pair: Pair, engine_for: Callable[[Policy], Engine], say: Callable[[str], None]) -> None:
    """Draw, judge and score what is missing.

    Raises:
        KeyboardInterrupt: what was drawn and scored whole is kept.
        SimkoError: something fails; what was done is kept.
    """
    evaluate_all([pair.evaluations[side] for side in SIDES], engine_for)
    missing = [(whose, under) for under in SIDES for whose in SIDES if not _is_scored(pair.output / cell(whose, under))]
    for under in SIDES:
        cells = [place for place in missing if place[1] == under]
        if not cells:
            continue
        scorer = model_scorer(str(pair.policies[under].where), pair.settings)
        try:
            for whose, _ in cells:
                encoded = _responses(pair, whose, scorer.context)
                say(f"scoring {len(encoded.scored)} responses of {whose} under {under}{_apart(encoded)}")
                run_dir = pair.output / cell(whose, under)
                config = {"responses": f"{whose}: {pair.policies[whose].name}", "scored_by": under}
                score_into(run_dir, scorer, encoded, _described(pair, whose, under), config=config)
        finally:
            scorer.close()


def _begin(pair: Pair, content: dict[str, Any]) -> None:
    """Make the folder, or see that it is the same diagnosis.

    Raises:
        EvaluationChanged: it is another one.
        RunUnwritable: the folder cannot be written.
    """
    if is_diagnosis(pair.output):
        before = read_diagnosis(pair.output)
        differing = [name for name in content if before.get(name) != content[name]]
        if differing:
            told = ", ".join(f"{name} {_short(before.get(name))}, not {_short(content[name])}" for name in differing)
            raise EvaluationChanged(f"{pair.output} holds another diagnosis ({told}); give another --output")
    elif (pair.output / RUN_FILE).exists() or any((pair.output / side / RUN_FILE).exists() for side in SIDES):
        raise EvaluationChanged(f"{pair.output} holds runs that are no diagnosis; give another --output")
    else:
        try:
            write_diagnosis(pair.output, content)
        except OSError as error:
            raise unwritable(pair.output, error) from error
    for side in SIDES:
        create_or_resume(pair.output / side, _described(pair, side, side), resume=True)


def _content(pair: Pair, engine: str) -> dict[str, Any]:
    """What is compared, as it is kept: the same content is the same diagnosis."""
    base = pair.evaluations[BASE].benchmark
    return {
        **{side: pair.policies[side].name for side in SIDES},
        "weights": {side: pair.policies[side].weights for side in SIDES},
        "benchmark": base.name,
        "engine": engine,
        "draws": base.described,
        "problems": len(base.prompts),
        "digest": {side: pair.evaluations[side].benchmark.digest for side in SIDES},
        "evaluations": {side: pair.evaluations[side].evaluation for side in SIDES},
        "scored": {"k": pair.settings.k, "tau": pair.settings.tau, "temperature": 1.0},
    }


def _described(pair: Pair, whose: str, under: str) -> dict[str, Any]:
    settings, policy = pair.settings, pair.policies[under]
    info = {
        "model": policy.name,
        "task": pair.evaluations[whose].benchmark.name,
        "scored": {"responses_of": pair.policies[whose].name, "by": "transformers"},
    }
    return description(
        pair.output / cell(whose, under),
        pair.tokenizers[under],
        k=settings.k,
        temperature=settings.temperature,
        tau=settings.tau,
        entropy="exact",
        info=info,
    )


def _responses(pair: Pair, whose: str, context: int | None) -> EncodedResponses:
    evaluation = pair.evaluations[whose]
    tokenizer = pair.tokenizers[whose]
    drawn = evaluated_responses(pair.output / whose, tokenizer, evaluation.evaluation, evaluation.benchmark)
    return encode(tokenizer, drawn, context=context, skip_long=True)


def _is_scored(run_dir: Path) -> bool:
    attempts = ManifestReader(run_dir).read().attempts
    return bool(attempts) and attempts[-1].status == "finished" and attempts[-1].logged


def _apart(encoded: EncodedResponses) -> str:
    """What is not scored, in words."""
    parts = [
        f"{count} {what}"
        for count, what in ((len(encoded.empty), "empty"), (encoded.too_long, "longer than its context"))
        if count
    ]
    return f" ({', '.join(parts)} left out)" if parts else ""


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
