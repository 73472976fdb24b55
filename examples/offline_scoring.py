"""Score responses that exist already, without training: how concentrated is a checkpoint on the answers at hand?"""

import sys

import torch
from simko.probes import ranked_statistics
from simko.trainers.models.base_policy import COUNTDOWN_BASE
from simko.trainers.tasks import task_for
from transformers import AutoModelForCausalLM, AutoTokenizer

checkpoint = sys.argv[1] if len(sys.argv) > 1 else COUNTDOWN_BASE
model = AutoModelForCausalLM.from_pretrained(checkpoint).eval()
tokenizer = AutoTokenizer.from_pretrained(checkpoint)
sums = torch.zeros(3, dtype=torch.float64)
responses = 0
for problem in task_for("countdown").heldout.select(range(50)):
    prompt = tokenizer(problem["prompt"], return_tensors="pt")["input_ids"]
    for answer in problem["answer"]:
        ids = tokenizer(answer, add_special_tokens=False, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            logits = model(torch.cat([prompt, ids], 1)).logits[0, prompt.size(1) - 1 : -1]
        stats = ranked_statistics(logits, ids[0], k=3)  # logprob, rank, entropy (T,); top_logprob, top_id (T, 3)
        sums += stats.top_logprob.mean(0)
        responses += 1
        if not (stats.rank == 1).all():
            where = int((stats.rank > 1).nonzero()[0])
            chosen, best = tokenizer.decode(ids[0, where]), tokenizer.decode(stats.top_id[where, 0])
            print(f"{problem['prompt']} | {answer}: leaves rank 1 at {chosen!r}, rank 1 is {best!r}")
print(f"{responses} right answers:", ", ".join(f"Λ({k}) = {v:.3f}" for k, v in enumerate(sums / responses, 1)))
