"""A probed SimKO step against stock TRL's GRPO step on a Llama of 135M parameters: time and peak memory.

    python benchmarks/training_step.py [--rounds 3] [--steps 2]

Each measurement is a process of its own, so that its peak memory is its own; variants take turns. The model is
SmolLM2-135M's shape (30 layers, 576 wide, vocabulary 49152, tied head, float32) with random weights: responses then
have all 64 tokens, and the sampled token is hardly ever among the top five, which is the probe's dearest case. A step
is 16 responses: generation, scoring, backward, AdamW. Time is CPU time, without the first step.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measure import Pages, ratio

STOCK = "stock GRPOTrainer"
VARIANTS = {
    STOCK: {"probe": False, "simko": False},
    "simko": {"probe": False, "simko": True},
    "grpo --probe": {"probe": True, "simko": False},
    "simko --probe": {"probe": True, "simko": True},
}
RESPONSES, TOKENS = 16, 64


def tokenizer() -> Any:
    """A word-level tokenizer of SmolLM2's size."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "<bos>", "<eos>", *(str(number) for number in range(49_149))]
    model = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<pad>"))
    model.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = {"pad_token": "<pad>", "bos_token": "<bos>", "eos_token": "<eos>"}
    return PreTrainedTokenizerFast(tokenizer_object=model, padding_side="left", **special)


def train(variant: str, steps: int) -> dict[str, float]:
    """Mean CPU seconds of a step, with and without its generation, and the process's peak memory in MB."""
    import torch
    from datasets import Dataset
    from simko.probes.probe import Probe
    from simko.trainers.engine.trainer import RankedGRPOTrainer
    from simko.trainers.objectives import SimKO
    from transformers import LlamaConfig, LlamaForCausalLM
    from trl import GRPOConfig, GRPOTrainer

    torch.set_num_threads(1)
    torch.manual_seed(0)
    shape = {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9}
    config = LlamaConfig(
        vocab_size=49_152, num_key_value_heads=3, tie_word_embeddings=True, pad_token_id=0, eos_token_id=2, **shape
    )
    model = LlamaForCausalLM(config)
    probed, simko = VARIANTS[variant]["probe"], VARIANTS[variant]["simko"]
    with tempfile.TemporaryDirectory() as folder:
        settings = GRPOConfig(
            output_dir=folder,
            max_steps=steps + 1,
            per_device_train_batch_size=RESPONSES,
            num_generations=8,
            max_completion_length=TOKENS,
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
            logging_steps=steps + 1,
            bf16=False,
            gradient_checkpointing=False,
            loss_type="grpo",
            beta=0.0,
            use_cpu=True,
        )
        kind = RankedGRPOTrainer if probed or simko else GRPOTrainer
        more = {"objective": SimKO(0.1, 3, 0.5, 1.1)} if simko else {}

        def reward(completions: list[str], **_: Any) -> list[float]:
            return [float(completion.split()[0] < "5") for completion in completions]

        data = Dataset.from_dict({"prompt": [f"{a} {a + 1} {a + 2}" for a in range(64)]})
        trainer = kind(model, reward, settings, data, processing_class=tokenizer(), **more)
        probe = Probe.attach(trainer.model, Path(folder) / "run", k=5, tau=0.5) if probed else None
        if probe is not None:
            trainer.attach(probe)
        generating, whole = _timed(trainer, "_generate_and_score_completions"), _timed(trainer, "training_step")
        trainer.train()
        if probe is not None:
            probe.close()
    # Of this program alone: getrusage would tell the parent's as well.
    peak = int(Path("/proc/self/status").read_text(encoding="ascii").split("VmHWM:")[1].split()[0]) / 1024
    step, rollout = sum(whole[1:]) / steps, sum(generating[1:]) / steps
    return {"step": step, "scoring and backward": step - rollout, "peak MB": peak}


def _timed(trainer: Any, name: str) -> list[float]:
    """CPU seconds of every call of a method of the trainer from now on."""
    method, took = getattr(trainer, name), []

    def timed(*args: Any, **kwargs: Any) -> Any:
        began = time.process_time()
        try:
            return method(*args, **kwargs)
        finally:
            took.append(time.process_time() - began)

    setattr(trainer, name, timed)
    return took


def report(pages: Pages, rounds: int, steps: int) -> None:
    measured: dict[str, list[dict[str, float]]] = {variant: [] for variant in VARIANTS}
    for _ in range(rounds):
        for variant, result in measured.items():
            done = subprocess.run(
                [sys.executable, __file__, "--variant", variant, "--steps", str(steps)],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            result.append(json.loads(done.stdout.splitlines()[-1]))
    table = []
    for variant, result in measured.items():
        row = [variant, f"{sum(each['step'] for each in result) / rounds:.1f} s"]
        figures = ("step", "scoring and backward", "peak MB")
        row += [
            ratio([each[figure] for each in result], [each[figure] for each in measured[STOCK]]) for figure in figures
        ]
        table.append(row)
    heads = ["", "per step", "× the step", "× scoring and backward", "× peak memory"]
    note = f"{RESPONSES} responses of {TOKENS} tokens, generation included, without the optimizer's step."
    pages.table("A training step of a Llama with 135M parameters", heads, table, note)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--variant", choices=VARIANTS, help="measure one, print it as JSON")
    options = parser.parse_args()
    if options.variant:
        print(json.dumps(train(options.variant, options.steps)))
    else:
        report(Pages(), options.rounds, options.steps)


if __name__ == "__main__":
    main()
