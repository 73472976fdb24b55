"""SimKO on a LoRA adapter: the objective and the probe read the distribution of base model and adapter together."""

from peft import LoraConfig
from simko.probes import Probe
from simko.trainers.engine import RankedGRPOTrainer
from simko.trainers.models.base_policy import COUNTDOWN_BASE
from simko.trainers.objectives import SimKO
from simko.trainers.tasks import task_for
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig

task = task_for("countdown")


def right(completions: list[str], answer: list[list[str]], **_: object) -> list[float]:
    """1 for a right answer, 0 for a wrong one."""
    return [float(verdict == "right") for verdict in task.judge(completions, answer)]


tokenizer = AutoTokenizer.from_pretrained(COUNTDOWN_BASE)
trainer = RankedGRPOTrainer(
    model=AutoModelForCausalLM.from_pretrained(COUNTDOWN_BASE),
    reward_funcs=right,
    args=GRPOConfig(
        output_dir="runs/lora/checkpoints", max_steps=10, per_device_train_batch_size=64, num_generations=16,
        max_completion_length=task.max_completion_length, learning_rate=1e-3, report_to=[], bf16=False,
    ),
    train_dataset=task.train,
    processing_class=tokenizer,
    peft_config=LoraConfig(r=8, target_modules="all-linear"),
    objective=SimKO(alpha=0.1),
)  # fmt: skip
info = {"method": "simko", "task": task.name, "smoothing": {"k": 3}}
with Probe.attach(trainer.model, "runs/lora", tokenizer=tokenizer, info=info) as probe:
    trainer.attach(probe)
    trainer.train()
