#!/bin/bash
# MDLM on one node: sbatch scripts/launch/slurm_node.sh preset=paper run_dir=runs/paper data=real
# SLURM_GPUS_ON_NODE ranks, one a GPU. Submitted again after a time limit, it goes on from the last checkpoint.
#SBATCH --job-name=eiad-mdlm
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@120
#SBATCH --output=%x-%j.log
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-.}"
ranks="${SLURM_GPUS_ON_NODE:-2}"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-4}"
# `--signal=TERM@120` reaches torchrun two minutes before the limit; it passes it on, and the ranks save and stop.
exec srun --kill-on-bad-exit=1 \
    torchrun --standalone --nproc_per_node "$ranks" -m scripts.train_mdlm resume=auto "$@"
