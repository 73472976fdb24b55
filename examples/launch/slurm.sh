#!/bin/bash
# Two nodes of eight GPUs under Slurm: sbatch examples/launch/slurm.sh --config qwen2.5-math-7b --num_processes 16
# With twice the GPUs of the recipe, halve --gradient_accumulation_steps and --steps_per_generation to keep its batches.
#SBATCH --job-name=simko
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --exclusive
set -euo pipefail
export MASTER_ADDR MASTER_PORT=29500
MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
# One launcher per node; the run's folder must be on a file system that both share.
srun bash -c 'accelerate launch --config_file examples/launch/two_nodes.yaml \
  --machine_rank "$SLURM_NODEID" --main_process_ip "$MASTER_ADDR" --main_process_port "$MASTER_PORT" \
  -m simko.cli.train "$@"' launch "$@"
