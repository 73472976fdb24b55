"""REINFORCE with a group baseline in a plain PyTorch loop, probed: verdicts, rewards, Λ(k) and push in the log."""

import torch
from simko.probes import LogitGradient, Probe
from simko.trainers.models.base_policy import COUNTDOWN_BASE
from simko.trainers.tasks import task_for
from transformers import AutoModelForCausalLM, AutoTokenizer

PROMPTS, GROUP, STEPS = 8, 16, 10

torch.manual_seed(0)
model = AutoModelForCausalLM.from_pretrained(COUNTDOWN_BASE)
tokenizer = AutoTokenizer.from_pretrained(COUNTDOWN_BASE)
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
task = task_for("countdown")
info = {"method": "reinforce", "task": "countdown"}

with Probe.attach(model, "runs/plain-loop", tokenizer=tokenizer, info=info) as probe:
    for step in range(STEPS):
        problems = task.train.shuffle(seed=step)[:PROMPTS]
        repeated = {name: [value for value in values for _ in range(GROUP)] for name, values in problems.items()}
        prompts = tokenizer(repeated["prompt"], return_tensors="pt")
        ids = model.eval().generate(**prompts, do_sample=True, top_k=0, max_new_tokens=task.max_completion_length)
        width = prompts["input_ids"].size(1)
        verdicts = task.judge(tokenizer.batch_decode(ids[:, width:], skip_special_tokens=True), repeated["answer"])

        reward = torch.tensor([float(verdict == "right") for verdict in verdicts])
        advantage = (reward - reward.view(PROMPTS, GROUP).mean(1).repeat_interleave(GROUP)).unsqueeze(1)
        labels = ids.masked_fill(ids == tokenizer.pad_token_id, -100)
        labels[:, :width] = -100  # prompts are not trained on
        about = {"rewards": reward.tolist(), "prompt_ids": repeated["prompt_id"]}
        with probe.batch(verdicts=verdicts, **about) as scope:
            logits = model.train()(input_ids=ids, labels=labels).logits[:, :-1]
            logprob = logits.log_softmax(-1).gather(-1, ids[:, 1:, None]).squeeze(-1)
            scope.credit(LogitGradient(weight=advantage.expand_as(logprob), ratio=torch.ones_like(logprob)))
        counted = labels[:, 1:] != -100
        (-(advantage * logprob)[counted].mean()).backward()
        optimizer.step()
        optimizer.zero_grad()
        print(f"step {step + 1}: mean reward {reward.mean():.3f}")
