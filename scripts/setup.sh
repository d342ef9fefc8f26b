# Sourced by demo.sh and test.sh: changes to the root, makes the virtual environment, installs into it.
# EIAD_VENV names the environment to use or create (default .venv). Re-runs install only what changed.
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
venv=${EIAD_VENV:-.venv}
python=${PYTHON:-python3}

install() { # install FILE...: the requirement files, at the tested versions; uv where it works, else pip
  local stamp="$venv/.installed-$(cat "$@" constraints.txt | sha256sum | cut -c1-16)"
  [ -f "$stamp" ] && { echo "== environment $venv is up to date"; return; }
  echo "== installing into $venv (about 7 GB, 1 to 5 minutes)"
  local files=()
  for file in "$@"; do files+=(-r "$file"); done
  "$venv/bin/python" -m pip install --quiet uv || true
  VIRTUAL_ENV="$venv" "$venv/bin/python" -m uv pip install --quiet -c constraints.txt "${files[@]}" ||
    "$venv/bin/python" -m pip install --quiet -c constraints.txt "${files[@]}" || return 1
  touch "$stamp"
}

if ! "$venv/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  echo "== creating the virtual environment $venv"
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    { echo "error: EIAD needs Python 3.11 or newer; set PYTHON=/path/to/python3.11" >&2; exit 2; }
  "$python" -m venv "$venv" || { echo "error: cannot create $venv; set EIAD_VENV to another path" >&2; exit 2; }
fi
unset PYTHONDONTWRITEBYTECODE # a new environment holds no bytecode: without a cache every start compiles torch and all
export HF_HUB_OFFLINE=${HF_HUB_OFFLINE:-1} OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} TOKENIZERS_PARALLELISM=false
