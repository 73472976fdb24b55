"""The code of docs/probe.md runs as it stands."""

import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from trl import GRPOConfig

PAGE = Path(__file__).parents[2] / "docs/probe.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("code", BLOCKS, ids=range(len(BLOCKS)))
def test_code_runs(code, llama, batch, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(61)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    model = llama()
    names = {
        "model": model,
        "optimizer": torch.optim.AdamW(model.parameters()),
        "batches": [batch, batch],
        "judged_batches": [(batch, ["right", "wrong", "unjudged"], [1.0, 0.0, None])],
        "tokenizer": PreTrainedTokenizerFast(tokenizer_object=words, pad_token="w0", eos_token="w2"),
        "reward": lambda completions, **_: [float("w5" in text) for text in completions],
        "dataset": Dataset.from_dict({"prompt": ["w3 w4", "w5 w6 w7"]}),
        "config": GRPOConfig(
            output_dir="out",
            max_steps=1,
            per_device_train_batch_size=4,
            num_generations=4,
            max_completion_length=5,
            report_to=[],
            use_cpu=True,
            bf16=False,
            save_strategy="no",
            disable_tqdm=True,
        ),
    }
    before = model.lm_head.weight.detach().clone()
    exec(compile(code, str(PAGE), "exec"), names)
    if "Probe.attach" in code:
        run = re.search(r'"(runs/\w+)"', code)[1]
        verdicts = {row["verdict"] for row in pq.ParquetDataset(f"{run}/rollups").read().to_pylist()}
        assert verdicts
        if "judged" in run:
            assert verdicts == {"right", "wrong", "unjudged"}
        if "simko" in run:
            assert verdicts <= {"right", "wrong"}
    else:
        assert not torch.equal(model.lm_head.weight, before)
