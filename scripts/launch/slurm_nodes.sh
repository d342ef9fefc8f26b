#!/bin/bash
# Several nodes: sbatch --nodes 4 scripts/launch/slurm_nodes.sh [train_mdlm|train_eddm] preset=paper run_dir=runs/paper …
# The run directory must lie on a disk that all nodes see. One torchrun a node, which meet at the first node.
#SBATCH --job-name=eiad
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@180
#SBATCH --output=%x-%j.log
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-.}"
training=train_mdlm
case "${1:-}" in train_*) training="$1" && shift ;; esac
ranks="${SLURM_GPUS_ON_NODE:-8}"
first="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-4}"
# How long torchrun waits after SIGTERM before it kills its ranks: see slurm_node.sh.
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT="${TORCH_ELASTIC_SHUTDOWN_TIMEOUT:-150}"
exec srun --kill-on-bad-exit=1 \
    torchrun --nnodes "$SLURM_NNODES" --nproc_per_node "$ranks" \
    --rdzv_backend c10d --rdzv_endpoint "$first:${EIAD_PORT:-29500}" --rdzv_id "$SLURM_JOB_ID" \
    -m "scripts.$training" resume=auto "$@"
