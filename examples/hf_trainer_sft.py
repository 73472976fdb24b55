"""Supervised fine-tuning with the Hugging Face `Trainer`: Λ(k) and entropy before RL begins."""

from simko.probes import Probe
from simko.trainers.models.base_policy import COUNTDOWN_BASE
from simko.trainers.tasks import task_for
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments

model = AutoModelForCausalLM.from_pretrained(COUNTDOWN_BASE)
tokenizer = AutoTokenizer.from_pretrained(COUNTDOWN_BASE)


def encode(problem: dict) -> dict:
    """Prompt and first right answer; labels of -100 leave the prompt out of the loss and of the log."""
    prompt = tokenizer(problem["prompt"])["input_ids"]
    answer = tokenizer(problem["answer"][0], add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
    return {"input_ids": prompt + answer, "labels": [-100] * len(prompt) + answer}


train = task_for("countdown").train
trainer = Trainer(
    model=model,
    args=TrainingArguments(
        output_dir="runs/sft/checkpoints",
        max_steps=20,
        per_device_train_batch_size=32,
        learning_rate=1e-3,
        report_to=[],
    ),
    train_dataset=train.map(encode, remove_columns=train.column_names),
)
with Probe.attach(model, "runs/sft", tokenizer=tokenizer, info={"method": "sft", "task": "countdown"}):
    trainer.train()
