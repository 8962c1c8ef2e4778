#!/usr/bin/env bash
# Make the environment when it is missing, check the code, run the tests, a module on a core. Arguments go to pytest.
[ "${BASH_VERSION-}" ] || exec bash "$0" "$@"
set -euo pipefail
unset CDPATH
cd "$(dirname "$0")/.."
. ./path.sh
local/install.sh requirements.txt requirements-dev.txt
ruff check .
lint-imports --no-cache
mypy
shellcheck --external-sources -P . -P SCRIPTDIR run.sh path.sh cmd.sh local/*.sh local/run/*.sh steps/*.sh tests/*.sh tests/clusters/*.sh .ci/run
python -m pytest -q --numprocesses auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder "$@"
