#!/bin/bash
# MDLM on several nodes: sbatch --nodes 4 scripts/launch/slurm_nodes.sh preset=paper run_dir=runs/paper data=real
# The run directory must lie on a disk that all nodes see. One torchrun a node, which meet at the first node.
#SBATCH --job-name=eiad-mdlm
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@120
#SBATCH --output=%x-%j.log
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-.}"
ranks="${SLURM_GPUS_ON_NODE:-8}"
first="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-4}"
exec srun --kill-on-bad-exit=1 \
    torchrun --nnodes "$SLURM_NNODES" --nproc_per_node "$ranks" \
    --rdzv_backend c10d --rdzv_endpoint "$first:${EIAD_PORT:-29500}" --rdzv_id "$SLURM_JOB_ID" \
    -m scripts.train_mdlm resume=auto "$@"
