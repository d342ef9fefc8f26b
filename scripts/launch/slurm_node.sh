#!/bin/bash
# One node: sbatch scripts/launch/slurm_node.sh [train_mdlm|train_eddm] preset=paper run_dir=runs/paper …
# SLURM_GPUS_ON_NODE ranks, one a GPU. Submitted again after a time limit, it goes on from the last checkpoint.
#SBATCH --job-name=eiad
#SBATCH --nodes=1
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
ranks="${SLURM_GPUS_ON_NODE:-2}"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-4}"
# Three minutes before the limit torchrun gets SIGTERM and passes it on; the ranks save after the step at hand. torchrun
# kills them after this many seconds; without the variable it grants 30, too few for a checkpoint on a slow disk.
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT="${TORCH_ELASTIC_SHUTDOWN_TIMEOUT:-150}"
exec srun --kill-on-bad-exit=1 \
    torchrun --standalone --nproc_per_node "$ranks" -m "scripts.$training" resume=auto "$@"
