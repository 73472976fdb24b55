"""TRL's own `GRPOTrainer`, unchanged, with the probe attached before `train()`."""

from simko.probes import Probe
from simko.trainers.models.base_policy import COUNTDOWN_BASE
from simko.trainers.tasks import task_for
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

task = task_for("countdown")


def right(completions: list[str], answer: list[list[str]], **_: object) -> list[float]:
    """1 for a right answer, 0 for a wrong one."""
    return [float(verdict == "right") for verdict in task.judge(completions, answer)]


tokenizer = AutoTokenizer.from_pretrained(COUNTDOWN_BASE)
trainer = GRPOTrainer(
    model=AutoModelForCausalLM.from_pretrained(COUNTDOWN_BASE),
    reward_funcs=right,
    args=GRPOConfig(
        output_dir="runs/stock-trl/checkpoints",
        max_steps=10,
        per_device_train_batch_size=64,
        num_generations=16,
        max_completion_length=task.max_completion_length,
        learning_rate=3e-4,
        report_to=[],
        bf16=False,
    ),
    train_dataset=task.train,
    processing_class=tokenizer,
)
with Probe.attach(trainer.model, "runs/stock-trl", tokenizer=tokenizer, info={"method": "grpo", "task": task.name}):
    trainer.train()
