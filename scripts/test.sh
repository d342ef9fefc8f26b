#!/usr/bin/env bash
# bash scripts/test.sh [pytest arguments]: lint, type check and the fast tests, in an environment of its own.
# EIAD_VENV: virtual environment to use or create (default .venv). EIAD_TEST_DATA: real datasets, if at hand.
set -euo pipefail
source "$(dirname "$0")/setup.sh"
install requirements.txt scripts/requirements/dev.txt scripts/requirements/app.txt
echo "== ruff"
"$venv/bin/ruff" check .
"$venv/bin/ruff" format --check .
echo "== mypy"
"$venv/bin/mypy"
echo "== pytest"
if [ $# -eq 0 ]; then set -- -m "not slow" -n 2; fi
exec "$venv/bin/python" -m pytest "$@"
