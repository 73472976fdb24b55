"""The probe on TRL's own `GRPOTrainer`, which knows nothing of it."""

import pyarrow.parquet as pq
import pytest
import torch
from datasets import Dataset
from simko.probes import HeadMismatch, Probe
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from trl import GRPOConfig, GRPOTrainer


@pytest.fixture(scope="module")
def tokenizer():
    vocabulary = {"<pad>": 0, "<bos>": 1, "<eos>": 2} | {f"w{i}": i for i in range(3, 61)}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", padding_side="left"
    )


def length_reward(completions, **_):
    return [float(len(set(text.split()))) for text in completions]


def trainer(model, tokenizer, folder, **options):
    config = GRPOConfig(
        output_dir=str(folder),
        max_steps=2,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        num_generations=4,
        max_completion_length=6,
        learning_rate=1e-2,
        temperature=0.9,
        logging_steps=1,
        report_to=[],
        use_cpu=True,
        bf16=False,
        save_strategy="no",
        disable_tqdm=True,
        **options,
    )
    prompts = Dataset.from_dict({"prompt": ["w3 w4", "w5 w6 w7", "w8", "w9 w10"]})
    return GRPOTrainer(
        model=model, reward_funcs=length_reward, args=config, train_dataset=prompts, processing_class=tokenizer
    )


def losses(of):
    return [entry["loss"] for entry in of.state.log_history if "loss" in entry]


@pytest.mark.parametrize(
    "options", [{"gradient_checkpointing": False}, {"gradient_checkpointing": True, "num_iterations": 2}]
)
def test_stock_trainer(llama, tokenizer, tmp_path, options):
    stock = trainer(llama(), tokenizer, tmp_path / "stock", **options)
    stock.train()

    probed = trainer(llama(), tokenizer, tmp_path / "probed", **options)
    with Probe.attach(probed.model, tmp_path / "run", k=4, tokenizer=tokenizer) as probe:
        probed.train()
        assert probe.active
    assert losses(probed) == pytest.approx(losses(stock), abs=1e-5)
    for result, expected in zip(probed.model.parameters(), stock.model.parameters(), strict=True):
        torch.testing.assert_close(result, expected, atol=2e-4, rtol=0)
    assert not torch.allclose(stock.model.lm_head.weight, llama().lm_head.weight, atol=1e-3)

    tokens, responses, rollups = (
        pq.ParquetDataset(tmp_path / "run" / table).read().to_pylist() for table in ("tokens", "responses", "rollups")
    )
    # 2 steps of 2 micro-batches of 4, each once: neither rollouts nor passes for old log-probabilities
    assert [(row["step"], row["n_responses"]) for row in rollups] == [(1, 8), (2, 8)]
    assert sorted(row["response_id"] for row in responses) == list(range(16))
    assert len(tokens) == sum(row["n_tokens"] for row in responses)
    assert {row["position"] for row in tokens} <= set(range(6))
    words = dict(enumerate(tokenizer.convert_ids_to_tokens(list(range(61)))))
    for row in responses:
        scored = [t for t in tokens if t["response_id"] == row["response_id"]]
        text = [words[t["token_id"]] for t in scored if t["token_id"] > 2]
        assert row["completion"].split() == text
        assert row["prompt"] in {"w3 w4", "w5 w6 w7", "w8", "w9 w10"}


def test_the_trainers_temperature_is_followed_and_a_different_one_refused(llama, tokenizer, tmp_path):
    of = trainer(llama(), tokenizer, tmp_path / "out")
    with pytest.raises(HeadMismatch, match=r"0\.9"):
        Probe.attach(of.model, tmp_path / "run", temperature=1.0)
    with Probe.attach(of.model, tmp_path / "run"):
        pass
    assert '"temperature": 0.9' in (tmp_path / "run/run.json").read_text()


def test_lora(llama, tokenizer, tmp_path):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=2, target_modules=["q_proj"])
    of = trainer(peft.get_peft_model(llama(), config), tokenizer, tmp_path / "out")
    with Probe.attach(of.model, tmp_path / "run"):
        of.train()
    rollups = pq.ParquetDataset(tmp_path / "run/rollups").read().to_pylist()
    assert [(row["step"], row["n_responses"]) for row in rollups] == [(1, 8), (2, 8)]
