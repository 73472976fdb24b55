#!/usr/bin/env bash
# SimKO and GRPO on GSM8K with verl, on one machine with eight GPUs; needs `pip install 'simko[verl]'` and vLLM.
#
#   examples/verl/gsm8k.sh simko runs/gsm8k-simko
#   examples/verl/gsm8k.sh grpo runs/gsm8k-grpo
#
# The data are verl's: `python examples/data_preprocess/gsm8k.py --local_save_dir data/gsm8k` in its repository.
# Rewards of verl's GSM8K are 1 for right and 0 for wrong, which is what the methods need.
set -euo pipefail
method=${1:-simko}
run=${2:-runs/gsm8k-$method}

python -m simko.trainers.verl --run "$run" --method "$method" --probe_response_fraction 0.1 -- \
  data.train_files=data/gsm8k/train.parquet \
  data.val_files=data/gsm8k/test.parquet \
  data.train_batch_size=256 \
  data.max_prompt_length=512 \
  data.max_response_length=1024 \
  actor_rollout_ref.model.path=Qwen/Qwen2.5-1.5B-Instruct \
  actor_rollout_ref.actor.strategy=fsdp2 \
  actor_rollout_ref.ref.strategy=fsdp2 \
  actor_rollout_ref.actor.optim.lr=1e-6 \
  actor_rollout_ref.actor.ppo_mini_batch_size=64 \
  actor_rollout_ref.actor.use_dynamic_bsz=True \
  actor_rollout_ref.actor.ppo_max_token_len_per_gpu=16384 \
  actor_rollout_ref.rollout.log_prob_use_dynamic_bsz=True \
  actor_rollout_ref.rollout.name=vllm \
  actor_rollout_ref.rollout.n=8 \
  actor_rollout_ref.rollout.temperature=1.0 \
  trainer.n_gpus_per_node=8 \
  trainer.nnodes=1 \
  trainer.total_epochs=5 \
  trainer.project_name=simko \
  trainer.experiment_name="gsm8k-$method"
