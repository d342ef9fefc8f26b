# Sourced by demo.sh and test.sh: changes to the root, makes the virtual environment, installs into it.
# bash scripts/setup.sh [inspect|app]: makes it by itself; inspect leaves out what only trainings and chat models need,
# app adds what the page needs.
# EIAD_VENV names the environment to use or create (default .venv). Re-runs install only what changed.
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
venv=${EIAD_VENV:-.venv}
python=${PYTHON:-python3}
stamp="$venv/.installed" # SHA-256 and name of constraints.txt and of every requirement file that was installed under it

install() { # install FILE...: the requirement files, at the tested versions; uv where it works, else pip
  local wanted others="" said files=()
  wanted=$(sha256sum constraints.txt "$@") || return 1
  if [ -f "$stamp" ] && ! grep -qvxFf "$stamp" <<<"$wanted"; then
    echo "== environment $venv is up to date"
    return
  fi
  echo "== installing into $venv (up to 7 GB, 1 to 5 minutes)"
  if grep -qsxF "$(sha256sum constraints.txt)" "$stamp"; then # other sets stay installed
    others=$(awk 'NR == FNR { mine[$2]; next } !($2 in mine)' <(echo "$wanted") "$stamp")
  fi
  rm -f "$stamp" # an installation that is interrupted is none
  for file in "$@"; do files+=(-r "$file"); done
  local pip=("$venv/bin/python" -m pip install -qq --disable-pip-version-check)
  "$venv/bin/python" -m uv --version >/dev/null 2>&1 || "${pip[@]}" uv >/dev/null 2>&1 || true
  said=$(VIRTUAL_ENV="$venv" "$venv/bin/python" -m uv pip install --quiet -c constraints.txt "${files[@]}" 2>&1) ||
    "${pip[@]}" -c constraints.txt "${files[@]}" || { echo "$said" >&2; return 1; }
  printf '%s\n' "$wanted" ${others:+"$others"} >"$stamp.part" && mv "$stamp.part" "$stamp"
}

is_whole() { # a python that runs, and pip, which the making of an environment unpacks last; uv's environments have none
  "$venv/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || return 1
  [ -f "$stamp" ] || grep -qs '^uv = ' "$venv/pyvenv.cfg" || "$venv/bin/python" -m pip --version >/dev/null 2>&1
}

if ! is_whole; then
  echo "== creating the virtual environment $venv"
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    { echo "error: EIAD needs Python 3.11 or newer; set PYTHON=/path/to/python3.11" >&2; exit 2; }
  clear=()
  [ -f "$venv/pyvenv.cfg" ] && clear=(--clear) # half-made, or its Python is gone; any other folder is left alone
  "$python" -m venv "${clear[@]}" "$venv" ||
    { echo "error: cannot create $venv; set EIAD_VENV to another path" >&2; exit 2; }
fi
unset PYTHONDONTWRITEBYTECODE # a new environment holds no bytecode: without a cache every start compiles torch and all
export HF_HUB_OFFLINE=${HF_HUB_OFFLINE:-1} OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} TOKENIZERS_PARALLELISM=false

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  set -euo pipefail
  case "${1:-}" in
    "") install requirements.txt ;;
    inspect) install scripts/requirements/inspect.txt ;;
    app) install requirements.txt scripts/requirements/app.txt ;;
    *) echo "error: unknown set '$1'; give inspect or app, or nothing for all" >&2; exit 2 ;;
  esac
  echo "== $venv holds $(du -sh "$venv" | cut -f1), installed in $SECONDS s; activate it: source $venv/bin/activate"
fi
