"""The probe in somebody else's environment: torch and the core, but none of the libraries that train."""

from __future__ import annotations

from blocked import run_blocked

LOOP = """
import torch
from simko.probes import NullProbe, Probe, add_ranked_head, ranked_statistics
from simko.store import open

class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.head = torch.nn.Embedding(11, 8), torch.nn.Linear(8, 11)
    def forward(self, input_ids):
        return self.head(self.embedding(input_ids))

model = Model().train()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
ids = torch.randint(0, 11, (2, 7))
with Probe.attach(model, "run", k=3) as probe:
    for _ in range(2):
        logits = model(ids)[:, :-1]
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).backward()
        optimizer.step()
assert probe.errors == 0
print(open("run").execute("SELECT step, sum(n_tokens)::INT FROM all_rollups GROUP BY step ORDER BY step").fetchall())
"""


def test_a_plain_torch_model_is_probed_without_transformers_or_trl(tmp_path):
    done = run_blocked(LOOP, without={"transformers", "trl", "accelerate", "streamlit", "plotly"}, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "[(1, 12), (2, 12)]", done.stderr


def test_without_torch_the_line_to_type_is_named(tmp_path):
    done = run_blocked("import simko.probes", without={"torch"}, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(
        "ExtraMissing: simko.probes needs the probe extra: pip install 'simko[probe]'"
    )
