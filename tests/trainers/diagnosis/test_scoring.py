"""Scored responses against log_softmax in float64, token by token; what is counted apart; files and runs; a server."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from openai_server import OpenAIServer
from simko.probes.statistics.ranked_statistics import ranked_statistics
from simko.store import Catalog
from simko.store.analysis.scored_figures import scored_figures
from simko.store.errors import RunExists, UsageError
from simko.trainers.diagnosis.encoding import encode
from simko.trainers.diagnosis.responses import Response, read_responses
from simko.trainers.diagnosis.run_responses import Chosen, responses_of_run
from simko.trainers.diagnosis.scorer import ModelScorer
from simko.trainers.diagnosis.server_scorer import ServerScorer
from simko.trainers.errors import (
    ColumnsMissing,
    DatasetNotFound,
    DatasetUnreadable,
    ResponsesUnusable,
    ResponseTooLong,
    ServerUnusable,
)
from simko.trainers.evaluation.engines.server import ServerEngine, Service
from simko.trainers.models.loading import set_padding
from simko.trainers.score import Settings, score

RESPONSES = [
    Response("1 2 3", "4 5 6 7", "a", "right", truncated=False, ended=True),
    Response("1 2 3", "8", "a", "wrong"),
    Response("9", "10 11", "b", "right"),
    Response("9", "", "b", "wrong"),
    Response("4 5 6 7 8", "0 1 2 3 4 5", "c"),
]


def by_hand(model, tokenizer, response, temperature=1.0):
    """(T, V) log-probabilities in float64 and (T,) tokens: one unpadded forward per response."""
    prompt = tokenizer(response.prompt)["input_ids"]
    ids = tokenizer(response.completion, add_special_tokens=False)["input_ids"]
    ids = ids + [tokenizer.eos_token_id] * response.ended
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([[*prompt, *ids]])).logits[0, len(prompt) - 1 : -1]
    return torch.log_softmax(logits.double() / temperature, -1), torch.tensor(ids)


@pytest.fixture(scope="module")
def policy():
    import tiny

    model, tokenizer = tiny.llama().eval(), tiny.tokenizer()
    set_padding(model, tokenizer)
    return model, tokenizer


def opened(run):
    catalog = Catalog(run, views=("tokens", "responses", "rollups", "lambda_k"))
    assert catalog.problems == []
    return catalog.connection


def rows(run, sql):
    return opened(run).execute(sql).df()


@pytest.mark.parametrize(("temperature", "batch_tokens"), [(1.0, 16_384), (0.7, 9)])
def test_every_figure_is_that_of_the_whole_distribution_in_float64(policy, tmp_path, temperature, batch_tokens):
    settings = Settings(k=4, temperature=temperature, tau=0.5)
    scorer = ModelScorer(*policy, k=4, temperature=temperature, tau=0.5, batch_tokens=batch_tokens)
    try:
        result = score("tiny", scorer, RESPONSES, tmp_path / "run", settings, source="here")
    finally:
        scorer.close()
    assert (result.responses, result.tokens, result.empty, result.too_long) == (4, 14, 1, 0)
    tokens = rows(tmp_path / "run", "SELECT * FROM tokens ORDER BY response_id, position")
    sums = {}
    for number, response in enumerate(RESPONSES):
        logp, ids = by_hand(*policy, response, temperature)
        mine = tokens[tokens.response_id == number]
        assert list(mine.token_id) == ids.tolist() and list(mine.position) == list(range(len(ids)))
        if not len(ids):
            continue
        own = logp.gather(1, ids[:, None])
        entropy = -(logp.exp() * logp).sum(1)
        top = logp.topk(4)
        assert mine.logprob.to_numpy() == pytest.approx(own[:, 0].numpy(), abs=2e-5)
        assert mine.entropy.to_numpy() == pytest.approx(entropy.numpy(), abs=2e-5)
        assert list(mine["rank"]) == (1 + (logp > own).sum(1)).tolist()
        assert mine[[f"logp_{k}" for k in range(1, 5)]].to_numpy() == pytest.approx(top.values.numpy(), abs=2e-5)
        assert (mine[[f"id_{k}" for k in range(1, 5)]].to_numpy() == top.indices.numpy()).all()
        assert list(mine.forking) == (entropy > entropy.quantile(0.5)).tolist()
        sums[number] = top.values.mean(0).numpy()
    figures = {f.verdict: f for f in scored_figures(opened(tmp_path / "run"), "run")}
    assert list(figures) == ["all", "right", "wrong", "unjudged"]
    assert figures["all"].lambdas == pytest.approx(np.mean(list(sums.values()), 0), abs=2e-5)
    assert figures["right"].lambdas == pytest.approx((sums[0] + sums[2]) / 2, abs=2e-5)
    assert figures["wrong"].responses == 1  # the empty one is in no figure
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (info["kind"], info["probe"]["temperature"], info["scored"]["empty"]) == ("scored", temperature, 1)
    kept = rows(tmp_path / "run", "SELECT n_tokens, verdict, prompt FROM responses ORDER BY response_id")
    assert list(kept.n_tokens) == [5, 1, 2, 0, 6] and kept.prompt[0] == "1 2 3"
    with pytest.raises(RunExists, match="give another --output"):
        score("tiny", scorer, RESPONSES, tmp_path / "run", settings, source="here")


def test_a_model_that_the_ranked_head_cannot_stand_in_for_is_asked_for_its_logits(policy, monkeypatch):
    from simko.probes.errors import HeadMismatch
    from simko.trainers.diagnosis import scorer as module

    encoded = encode(policy[1], RESPONSES, context=None).scored

    def statistics():
        scorer = ModelScorer(*policy, k=3, temperature=0.8, tau=0.8)
        try:
            return next(scorer.batches(encoded))
        finally:
            scorer.close()

    def refuse(*_, **__):
        raise HeadMismatch("another head")

    ours = statistics()
    monkeypatch.setattr(module, "add_ranked_head", refuse)
    theirs = statistics()
    assert ours.top_logprob == pytest.approx(theirs.top_logprob, abs=1e-5)
    assert (ours.token_id == theirs.token_id).all() and ours.entropy == pytest.approx(theirs.entropy, abs=1e-5)


def test_what_is_longer_than_the_context_is_refused_or_counted(policy):
    long = Response("1", " ".join(["2"] * 64), "x")
    scorer = ModelScorer(*policy, k=3, temperature=1.0, tau=0.8)
    scorer.close()
    assert scorer.context == 64
    with pytest.raises(ResponseTooLong, match=r"response 6 and its prompt have 65 tokens, the model takes 64 \(1 of 6"):
        encode(policy[1], [*RESPONSES, long], context=scorer.context)
    assert encode(policy[1], [*RESPONSES, long], context=scorer.context, skip_long=True).too_long == 1


def test_where_nothing_can_be_scored_it_is_said(policy):
    with pytest.raises(ResponsesUnusable, match="of 1 responses 1 are empty and 0 too long"):
        encode(policy[1], [Response("1", "", "x")], context=None)
    with pytest.raises(ResponsesUnusable, match="its prompt has no token"):
        encode(policy[1], [Response("", "1", "x")], context=None)
    with pytest.raises(ResponsesUnusable, match="no chat template"):
        encode(policy[1], [Response([{"role": "user", "content": "1"}], "1", "x")], context=None)


LAYOUTS = [
    {"prompt": "1 2", "completion": "3", "verdict": "right", "prompt_id": "p"},
    {"prompt": "1 2", "response": "3", "reward": 1.0, "truncated": False},
    {"prompt": "1 2", "completion": [{"role": "assistant", "content": "3"}], "reward": 0.0, "finish_reason": "length"},
    {"prompt": [{"role": "user", "content": "1 2"}], "completion": "3"},
]


@pytest.mark.parametrize("row", LAYOUTS, ids=["verdict", "reward", "messages", "chat"])
def test_layouts_of_files(row, tmp_path):
    lines, table = tmp_path / "a.jsonl", tmp_path / "a.parquet"
    lines.write_text(json.dumps(row) + "\n")
    pd.DataFrame([row]).to_parquet(table)
    first, second = read_responses(lines), read_responses(table)
    assert first == second
    (response,) = first
    assert response.completion == "3"
    expected = {0: ("right", False), 1: ("right", True), 2: ("wrong", False), 3: ("unjudged", False)}
    assert (response.verdict, response.ended) == expected[LAYOUTS.index(row)]


BAD = [
    ('{"question": "1", "answer": "2"}', ColumnsMissing, "has the columns question, answer; wanted are `prompt`"),
    ('{"prompt": "1"}', ColumnsMissing, "`completion` or `response`"),
    ('{"prompt": "1", "completion": null}', ResponsesUnusable, "row 1: the response is no text"),
    ('{"prompt": 5, "completion": "1"}', ResponsesUnusable, "row 1: the prompt is neither text nor chat messages"),
    ('{"prompt": "1", "completion": "2", "verdict": "good"}', ResponsesUnusable, "no verdict 'good'; there are right"),
    ('{"prompt": "1", "completion": "2", "reward": "much"}', ResponsesUnusable, "the reward 'much' is no number"),
    ("not json", DatasetUnreadable, "line 1 is not valid JSON"),
    ("", DatasetUnreadable, "has no rows"),
]


@pytest.mark.parametrize(("text", "error", "words"), BAD, ids=[words for _, _, words in BAD])
def test_a_file_of_another_layout_is_refused_by_name(text, error, words, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(text)
    with pytest.raises(error, match=words.replace("`", ".")):
        read_responses(path)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DatasetNotFound, match=r"no file .*none\.jsonl"):
        read_responses(tmp_path / "none.jsonl")


def test_a_scored_run_is_scored_again_by_the_same_tokens(policy, tmp_path):
    scorer = ModelScorer(*policy, k=3, temperature=1.0, tau=0.8)
    try:
        score("tiny", scorer, RESPONSES, tmp_path / "first", Settings(k=3), source="here")
        again = responses_of_run(tmp_path / "first", policy[1], Chosen())
        score("tiny", scorer, again, tmp_path / "second", Settings(k=3), source="first")
    finally:
        scorer.close()
    assert again[0].token_ids is not None and again[0].token_ids[-1] == policy[1].eos_token_id
    sql = "SELECT response_id, position, token_id, logprob, rank FROM tokens ORDER BY ALL"
    pd.testing.assert_frame_equal(rows(tmp_path / "first", sql), rows(tmp_path / "second", sql))
    with pytest.raises(ResponsesUnusable, match="no responses of step 3"):
        responses_of_run(tmp_path / "first", policy[1], Chosen(step=3))


class PromptLogprobs(OpenAIServer):
    """Answers `prompt_logprobs` as vLLM does: the K best and the token sent, ranks by `>=`, ties in any order."""

    most = 20
    other = False
    refuses = False

    def unknown(self, body):
        return "prompt_logprobs" if self.refuses else super().unknown(body)

    def complete(self, body):
        k = body.get("prompt_logprobs")
        if k is None or self.most == 0:
            return super().complete({**body, "top_p": 1.0})
        ids = body["prompt"]
        with self.lock, torch.no_grad():
            logp = torch.log_softmax(self.model(input_ids=torch.tensor([ids])).logits[0].float(), -1)
        top = logp.topk(min(k, self.most))
        entries = [None]
        for t, token in enumerate(ids[1:]):
            sent = (token + 1) % logp.size(1) if self.other else token
            entry = {str(sent): {"logprob": float(logp[t, sent]), "rank": int((logp[t] >= logp[t, sent]).sum())}}
            for rank, (value, index) in enumerate(zip(top.values[t].tolist(), top.indices[t].tolist(), strict=True), 1):
                entry[str(index)] = {"logprob": value, "rank": rank, "decoded_token": str(index)}
            entries.append(entry)
        return {"choices": [{"index": 0, "text": "", "prompt_logprobs": entries}]}


def by_server(server, tokenizer, run, k=3):
    engine = ServerEngine([server.url], tokenizer=tokenizer, service=Service(concurrency=4, retries=1))
    scorer = ServerScorer(engine, k=k)
    try:
        return score("tiny", scorer, RESPONSES, run, Settings(k=k), source="here")
    finally:
        scorer.close()


def test_a_server_gives_the_same_ranks_and_no_entropy(policy, tmp_path):
    with PromptLogprobs(*policy) as server:
        result = by_server(server, policy[1], tmp_path / "served")
    assert (result.responses, result.empty) == (4, 1)
    scorer = ModelScorer(*policy, k=3, temperature=1.0, tau=0.8)
    try:
        score("tiny", scorer, RESPONSES, tmp_path / "local", Settings(k=3), source="here")
    finally:
        scorer.close()
    sql = "SELECT response_id, position, token_id, rank, logprob, logp_1, logp_2, logp_3, id_1 FROM tokens ORDER BY ALL"
    served, local = (rows(tmp_path / name, sql) for name in ("served", "local"))
    pd.testing.assert_frame_equal(served, local, atol=1e-5, rtol=0)
    sums = """
    SELECT (SELECT count(entropy) + count(collision) + count(forking) FROM tokens),
           (SELECT count(sum_entropy) + count(n_forking) + count(entropy_histogram) FROM rollups)
    """
    assert rows(tmp_path / "served", sums).iloc[0].tolist() == [0, 0]
    figures, exact = (scored_figures(opened(tmp_path / n), n)[0] for n in ("served", "local"))
    assert figures.entropy is None and figures.forking is None
    assert figures.lambdas == pytest.approx(exact.lambdas, abs=1e-5) and figures.mean_rank == exact.mean_rank
    assert json.loads((tmp_path / "served" / "run.json").read_text())["probe"]["entropy"] == "none"


def test_a_server_that_cannot_score_is_named(policy, tmp_path):
    with PromptLogprobs(*policy) as server:
        server.most = 0
        with pytest.raises(ServerUnusable, match="gives no prompt_logprobs"):
            by_server(server, policy[1], tmp_path / "a")
        server.most = 2
        with pytest.raises(ServerUnusable, match="gives 2 candidates per token, not 3; start it with --max-logprobs 3"):
            by_server(server, policy[1], tmp_path / "a")
        server.most, server.other = 20, True
        with pytest.raises(ServerUnusable, match="not of the tokens that were sent"):
            by_server(server, policy[1], tmp_path / "a", k=1)
        server.refuses = True
        with pytest.raises(ServerUnusable, match="refuses to give prompt_logprobs of 3 candidates: 400 unknown field"):
            by_server(server, policy[1], tmp_path / "a")
        engine = ServerEngine([server.url], tokenizer=policy[1])
        with pytest.raises(UsageError, match="temperature 1 alone"):
            ServerScorer(engine, k=3, temperature=0.5)
        engine.close()
    assert not (tmp_path / "a").exists()


def test_the_project_s_statistics_agree_with_the_scorer(policy):
    """The same rows as `ranked_statistics` gives for one response, so that scored and trained runs compare."""
    encoded = encode(policy[1], RESPONSES[:1], context=None).scored
    scorer = ModelScorer(*policy, k=3, temperature=1.0, tau=0.8)
    (batch,) = scorer.batches(encoded)
    scorer.close()
    logp, ids = by_hand(*policy, RESPONSES[0])
    expected = ranked_statistics(logp, ids, 3)
    assert batch.rank[0].tolist() == expected.rank.tolist()
    assert math.isclose(float(batch.entropy.sum()), float(expected.entropy.sum()), abs_tol=1e-4)
