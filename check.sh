#!/usr/bin/env bash
# Every check that a change must pass, for people and for CI alike: install, lint, types, tests.
# The virtual environment is .venv unless FASA_VENV names another place.
set -euo pipefail
cd "$(dirname "$0")"

venv=${FASA_VENV:-.venv}
[ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --editable '.[test]'

"$venv/bin/python" -m ruff check .
"$venv/bin/python" -m ruff format --check .
"$venv/bin/python" -m mypy
"$venv/bin/python" -m pytest "$@"
