#!/usr/bin/env bash
# bash scripts/demo.sh: the whole of EIAD on generated products, from an empty machine to a report.
#
#   EIAD_VENV     virtual environment to use or create   (default .venv)
#   EIAD_RUN_DIR  where everything is written            (default runs/demo)
#
# Further arguments go to scripts.run_all, e.g. seed=1, or base=train to make the tiny bases, too. Run it again after an interruption: finished stages are kept.
set -euo pipefail
source "$(dirname "$0")/setup.sh"
install requirements.txt
exec "$venv/bin/python" -m scripts.run_all "run_dir=${EIAD_RUN_DIR:-runs/demo}" "$@"
