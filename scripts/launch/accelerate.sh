#!/bin/bash
# MDLM by accelerate: EIAD_RANKS=8 bash scripts/launch/accelerate.sh preset=paper run_dir=runs/paper data=paper
# Batch size, precision and strategy come from the configuration (launch.strategy=ddp|zero2|zero3), not from accelerate's.
set -euo pipefail
ranks="${EIAD_RANKS:-2}"
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT="${TORCH_ELASTIC_SHUTDOWN_TIMEOUT:-150}" # see slurm_node.sh
exec accelerate launch --multi_gpu --num_machines 1 --num_processes "$ranks" --mixed_precision no --dynamo_backend no \
    --main_process_port "${EIAD_PORT:-29500}" -m scripts.train_mdlm resume=auto "$@"
